package schedule

import (
	"context"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/tid"
)

const (
	probeWidth     = 64                     // probes that are begun at a time
	probePatience  = 100 * time.Millisecond // how long a probe keeps others from being begun
	probeMost      = 1024                   // probes under way at a time, silent ones too
	probeDeadline  = 2 * time.Second        // for one address to accept and to answer ICReq
	probeValid     = 5 * time.Second        // how long an answer vouches for an address
	slowConnect    = time.Second            // a connect that took longer goes last from then on
	nextPatience   = time.Second            // how long what is handed over waits for the one before it, and then goes back into line
	steady         = time.Minute            // a connection that lasted this long has no bad history
	disconnectWide = 16                     // deletes under way at a time
)

// Connector makes and removes kernel connections. Its calls may take minutes.
type Connector interface {
	Connect(context.Context, kernel.ConnectRequest) (kernel.Connection, error)
	Disconnect(context.Context, kernel.DisconnectRequest) error
}

// Prober tries in user space whether an NVMe-oF controller may be expected behind
// t's address. It gives nil at once for transports that cannot be probed.
type Prober interface {
	Probe(ctx context.Context, t tid.TID, tls bool) error
}

// Result is the outcome of an attempt that went into the kernel, or failed before.
type Result struct {
	Connection kernel.Connection
	Err        error
	Dropped    bool // the target was dropped while the attempt ran
}

// Options say whom a Scheduler works for. All are required but Veto and FirstPath.
type Options struct {
	Kernel Connector
	Prober Prober
	Post   func(func())         // hands a function to the owner's loop
	Done   func(Target, Result) // called on the loop after every attempt; one that was taken back has the error kernel.ErrNotBegun
	Veto   func(Target) error   // called off the loop right before each attempt; an error wrapping ErrVetoed stops it
	First  func(tid.TID) bool   // called on the loop: would this be the first path of its subsystem?
	Freed  func(tid.TID, error) // called on the loop after every disconnect
	Moved  func(tid.TID)        // called on the loop when a target has begun a step on its way; nil: nobody wants to know
}

// Scheduler tries targets. See the package comment for locking and lifetime.
type Scheduler struct {
	ctx       context.Context
	opts      Options
	items     map[tid.TID]*item
	endpoints map[endpoint]*address
	ready     map[*item]struct{}
	queue     []*address // addresses to probe, in order
	probing   int        // probes under way
	fresh     int        // those of them that are not known to be slow
	sweepAt   int        // number of endpoints at which those nobody needs are looked for
	lane      *item      // inside the kernel now
	next      *item      // handed over, and goes into the kernel when that is through
	held      bool       // what is ready waits for the end of Batch
	deletes   deletes
}

// address is what is known of an endpoint.
type address struct {
	endpoint
	tid     tid.TID // any target behind it, to probe with
	probing bool
	fresh   bool // its probe is counted in Scheduler.fresh
	queued  bool
	okAt    time.Time
	waiting map[*item]struct{}
}

// New gives a Scheduler whose goroutines end with ctx.
func New(ctx context.Context, o Options) *Scheduler {
	if o.Veto == nil {
		o.Veto = func(Target) error { return nil }
	}
	if o.First == nil {
		o.First = func(tid.TID) bool { return true }
	}
	return &Scheduler{ctx: ctx, opts: o,
		items: map[tid.TID]*item{}, endpoints: map[endpoint]*address{}, ready: map[*item]struct{}{},
		deletes: deletes{busy: map[tid.TID]struct{}{}}}
}

// Want has t tried until it is connected or dropped. For a target that is known
// already only what the next attempt uses is replaced.
func (s *Scheduler) Want(t Target) {
	it := s.items[t.TID]
	if it == nil {
		it = &item{Target: t, since: time.Now()}
		s.items[t.TID] = it
		s.begin(it)
		return
	}
	it.dropped = false // wanted again while the attempt for it still runs
	if it.state == next && !t.same(it.Target) {
		s.withdraw(it) // what has not begun is made with what is wanted now
	}
	if t.endpoint() == it.endpoint() || it.state != Probing && it.state != Ready {
		it.Target = t
		return
	}
	s.park(it) // on its way to another address
	it.Target = t
	s.begin(it)
}

// Batch calls f, which may want and drop many: what goes into the kernel first is chosen when all of them are known.
func (s *Scheduler) Batch(f func()) {
	s.held = true
	f()
	s.held = false
	s.connect()
}

// Connected notes that t has a connection, however it came about.
func (s *Scheduler) Connected(t Target) {
	it := s.items[t.TID]
	if it == nil {
		it = &item{Target: t, since: time.Now()}
		s.items[t.TID] = it
	}
	if it.state == Up {
		it.Target = t
		return
	}
	if it.flight != nil {
		it.Target, it.dropped, it.found = t, false, true // what is in the lane may have been withdrawn, and not come back yet
		if it.state == next {
			s.withdraw(it)
		}
		return
	}
	s.park(it)
	it.Target = t
	it.state, it.upAt, it.failures, it.lastErr, it.again = Up, time.Now(), 0, nil, false
}

// Lost notes that the connection of id is gone; the target is tried again, at once
// if the connection was a steady one. One that comes and goes is tried less and less often.
func (s *Scheduler) Lost(id tid.TID) {
	it := s.items[id]
	if it == nil {
		return
	}
	it.found = false
	if it.state != Up {
		return
	}
	it.since, it.probed = time.Now(), false
	if time.Since(it.upAt) >= steady {
		it.failures, it.flaps = 0, 0
		s.begin(it)
		return
	}
	it.flaps++
	it.failures = it.flaps
	s.wait(it, kernel.Other)
}

// Drop ends the attempts for id. An attempt that is inside the kernel cannot be
// recalled; its end is reported with Dropped set, as is that of one that was only handed over and had not begun.
func (s *Scheduler) Drop(id tid.TID) {
	it := s.items[id]
	if it == nil {
		return
	}
	if it == s.lane || it == s.next {
		it.dropped, it.found = true, false
		s.withdraw(it)
		return
	}
	s.park(it)
	delete(s.items, id)
}

// Kick has every waiting target that match accepts tried at once and with
// a clean history: something has changed that may let it succeed. A nil match accepts all.
func (s *Scheduler) Kick(match func(Target) bool) {
	for _, it := range s.items {
		if match != nil && !match(it.Target) {
			continue
		}
		switch it.state {
		case Waiting:
			it.failures, it.flaps = 0, 0
			s.set(it)
		case Probing, next, Connecting: // the kernel may have begun with the next
			it.again = true
		}
	}
	s.connect() // the best of all whose address has just answered goes first
}

// Status tells how it stands with id.
func (s *Scheduler) Status(id tid.TID) Status {
	it := s.items[id]
	if it == nil {
		return Status{}
	}
	st := Status{State: it.state.told(), Attempts: it.failures, LastErr: it.lastErr, FailedAt: it.failedAt}
	if r := it.retry; r != nil {
		st.Next, st.Delay = r.next, r.delay
	}
	return st
}

// Busy says whether a connect or a disconnect of id is under way. One that is only handed over is not.
func (s *Scheduler) Busy(id tid.TID) bool {
	return s.lane != nil && s.lane.TID == id || s.deletes.has(id)
}

// Connecting says whether match holds for what is inside the kernel now, or is the next to be, wanted still or not.
func (s *Scheduler) Connecting(match func(tid.TID) bool) bool {
	return s.lane != nil && match(s.lane.TID) || s.next != nil && match(s.next.TID)
}

// begin puts it on its way and gives the lane away if it is free.
func (s *Scheduler) begin(it *item) {
	s.set(it)
	s.connect()
}

// set puts it on its way: through a probe, or straight to the lane where the address
// has answered a moment ago; the caller calls connect when it has set all.
func (s *Scheduler) set(it *item) {
	s.park(it)
	it.again = false
	e := it.endpoint()
	a := s.endpoints[e]
	if a == nil {
		s.sweep()
		a = &address{endpoint: e, tid: it.TID}
		s.endpoints[e] = a
	}
	if !a.probing && time.Since(a.okAt) < probeValid {
		s.admit(it)
		return
	}
	it.state = Probing
	s.moved(it)
	if a.waiting == nil {
		a.waiting = map[*item]struct{}{}
	}
	a.waiting[it] = struct{}{}
	if !a.queued && !a.probing {
		a.queued = true
		s.queue = append(s.queue, a)
	}
	s.probe()
}

// admit has it stand in line; the caller calls connect when it has admitted all.
func (s *Scheduler) admit(it *item) {
	it.state = Ready
	s.ready[it] = struct{}{}
	s.moved(it)
}

func (s *Scheduler) moved(it *item) {
	if s.opts.Moved != nil {
		s.opts.Moved(it.TID)
	}
}

// park takes it out of wherever it waits.
func (s *Scheduler) park(it *item) {
	if it.retry != nil {
		it.retry.timer.Stop()
		it.retry = nil
	}
	delete(s.ready, it)
	if a := s.endpoints[it.endpoint()]; a != nil {
		delete(a.waiting, it)
		s.forget(a)
	}
	it.state = Unknown
}

// forget drops an address that nobody waits for once its answer has aged.
func (s *Scheduler) forget(a *address) {
	if len(a.waiting) == 0 && !a.probing && !a.queued && time.Since(a.okAt) >= probeValid && s.endpoints[a.endpoint] == a {
		delete(s.endpoints, a.endpoint)
	}
}

// sweep drops the addresses whose answers have aged without anybody asking again, each time
// their number has doubled: the map stays as small as the work.
func (s *Scheduler) sweep() {
	if len(s.endpoints) < s.sweepAt {
		return
	}
	for _, a := range s.endpoints {
		s.forget(a)
	}
	s.sweepAt = max(2*probeWidth, 2*len(s.endpoints))
}

// wait plans the next attempt for an item that has failed.
func (s *Scheduler) wait(it *item, c kernel.Class) {
	s.park(it)
	it.state = Waiting
	r := &retry{delay: s.delay(it, c)}
	r.next = time.Now().Add(r.delay)
	it.retry = r
	r.timer = time.AfterFunc(r.delay, func() {
		s.opts.Post(func() {
			if it.retry == r && it.state == Waiting {
				s.begin(it)
			}
		})
	})
}
