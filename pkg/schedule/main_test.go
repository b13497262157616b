package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
	"github.com/stas-go/stas/pkg/tid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target is the n-th subsystem at an address of its own.
func target(n int) Target { return at(fmt.Sprintf("192.0.2.%d", n), n) }

// at is the n-th subsystem behind addr.
func at(addr string, n int) Target {
	return Target{TID: tid.TID{Transport: nvme.TCP, Traddr: addr, Trsvcid: "4420", NQN: fmt.Sprintf("nqn.2026-01.test:s%d", n)}}
}

// outcome is how long something takes and how it ends.
type outcome struct {
	takes time.Duration
	err   error
}

// world stands in for the kernel and the network. Its fields may be changed between
// the steps of a test.
type world struct {
	mu          sync.Mutex
	probes      map[string]outcome // by address
	connects    map[tid.TID]outcome
	disconnects map[string]outcome // by device name
	up          map[tid.TID]bool

	lane                 chan struct{} // the kernel takes one connect at a time; the others wait
	probing, widest      int
	probed               []string
	handed               []tid.TID // what the kernel was asked for, begun or not
	made                 []*tid.Params
	connecting           []tid.TID // in the order of their begin
	inside               int
	twice                bool                 // two connects at a time
	busy                 map[tid.TID]struct{} // operations of a TID under way
	overlapped           []tid.TID
	removing, mostRemove int
}

func (w *world) Probe(ctx context.Context, t tid.TID, _ bool) error {
	w.mu.Lock()
	o := w.probes[t.Traddr]
	w.probing++
	w.widest = max(w.widest, w.probing)
	w.probed = append(w.probed, t.Traddr)
	w.mu.Unlock()
	err := pause(ctx, o)
	w.mu.Lock()
	w.probing--
	w.mu.Unlock()
	return err
}

func pause(ctx context.Context, o outcome) error {
	if o.takes > 0 {
		t := time.NewTimer(o.takes)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	return o.err
}

func (w *world) enter(id tid.TID) {
	if _, is := w.busy[id]; is {
		w.overlapped = append(w.overlapped, id)
	}
	w.busy[id] = struct{}{}
}

func (w *world) Connect(ctx context.Context, r kernel.ConnectRequest) (kernel.Connection, error) {
	w.mu.Lock()
	w.handed = append(w.handed, r.TID)
	w.mu.Unlock()
	select {
	case <-r.Withdrawn: // which the worker looks at first
		return kernel.Connection{}, kernel.ErrNotBegun
	default:
	}
	select {
	case w.lane <- struct{}{}:
		defer func() { <-w.lane }()
		r.Queued()
	case <-r.Withdrawn:
		return kernel.Connection{}, kernel.ErrNotBegun
	case <-ctx.Done():
		return kernel.Connection{}, ctx.Err()
	}
	w.mu.Lock()
	o := w.connects[r.TID]
	w.connecting = append(w.connecting, r.TID)
	w.made = append(w.made, &r.Params)
	w.inside++
	w.twice = w.twice || w.inside > 1
	w.enter(r.TID)
	w.mu.Unlock()
	err := pause(ctx, o)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inside--
	delete(w.busy, r.TID)
	if err == nil {
		w.up[r.TID] = true
	}
	return kernel.Connection{Instance: len(w.connecting)}, err
}

func (w *world) Disconnect(ctx context.Context, r kernel.DisconnectRequest) error {
	id := tid.TID{Transport: r.Expect.Transport, Traddr: r.Expect.Traddr, Trsvcid: r.Expect.Trsvcid, NQN: r.Expect.NQN}
	w.mu.Lock()
	o := w.disconnects[r.Name]
	w.enter(id)
	w.removing++
	w.mostRemove = max(w.mostRemove, w.removing)
	w.mu.Unlock()
	err := pause(ctx, o)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.removing--
	delete(w.busy, id)
	if err == nil {
		delete(w.up, id)
	}
	return err
}

// removal is the request to disconnect t.
func request(t tid.TID) kernel.DisconnectRequest {
	return kernel.DisconnectRequest{Name: t.NQN, Expect: kernel.Identity{Transport: t.Transport, Traddr: t.Traddr, Trsvcid: t.Trsvcid, NQN: t.NQN}}
}

// rig is a scheduler on a loop of its own, in a world.
type rig struct {
	*world
	t     *testing.T
	s     *Scheduler
	loop  *loop.Loop
	done  []Result
	of    []tid.TID // whose results
	freed []error
	first func(tid.TID) bool
	veto  func(Target) error
}

// bubble runs f in a synctest bubble and checks what always holds afterwards.
func bubble(t *testing.T, f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) { inBubble(t, f) })
}

func inBubble(t *testing.T, f func(r *rig)) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{t: t, loop: loop.New(), world: &world{lane: make(chan struct{}, 1), probes: map[string]outcome{}, connects: map[tid.TID]outcome{},
		disconnects: map[string]outcome{}, up: map[tid.TID]bool{}, busy: map[tid.TID]struct{}{}}}
	r.s = New(ctx, Options{Kernel: r, Prober: r, Post: r.loop.Post,
		Done:  func(t Target, result Result) { r.done, r.of = append(r.done, result), append(r.of, t.TID) },
		Freed: func(_ tid.TID, err error) { r.freed = append(r.freed, err) },
		First: func(id tid.TID) bool { return r.first == nil || r.first(id) },
		Veto: func(t Target) error {
			if r.veto != nil {
				return r.veto(t)
			}
			return nil
		}})
	go r.loop.Run(ctx, func() {})
	defer func() {
		cancel()
		synctest.Wait()
	}()
	f(r)
	r.settle()
	r.on(func(s *Scheduler) { consistent(t, s) })
	if r.twice {
		t.Error("two connects were in the kernel at a time")
	}
	if len(r.overlapped) > 0 {
		t.Errorf("operations overlapped for %v", r.overlapped)
	}
}

// on runs f on the loop and waits until nothing moves any more without time passing.
func (r *rig) on(f func(*Scheduler)) {
	r.seen()
	done := make(chan struct{})
	r.loop.Post(func() { f(r.s); close(done) })
	<-done
	synctest.Wait()
}

func (r *rig) settle() { synctest.Wait() }

// seen orders what the test has read of the world before what happens in it from now on.
func (w *world) seen() {
	w.mu.Lock()
	//lint:ignore SA2001 it is a barrier
	w.mu.Unlock() //nolint:staticcheck // it is a barrier
}

// answers has probes of addr end so.
func (w *world) answers(addr string, takes time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probes[addr] = outcome{takes, err}
}

// connectsAs has connects of t end so.
func (w *world) connectsAs(t Target, takes time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.connects[t.TID] = outcome{takes, err}
}

func (r *rig) pass(d time.Duration) {
	r.seen()
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) status(t Target) Status {
	var st Status
	r.on(func(s *Scheduler) { st = s.Status(t.TID) })
	return st
}

func (r *rig) expect(t Target, want State) {
	r.t.Helper()
	if st := r.status(t); st.State != want {
		r.t.Errorf("%s is %s, want %s", t.TID, st.State, want)
	}
}

// consistent checks the invariants of a scheduler's books.
func consistent(t interface{ Errorf(string, ...any) }, s *Scheduler) {
	fresh, probing := 0, 0
	for e, a := range s.endpoints {
		if a.endpoint != e || a.queued != slices.Contains(s.queue, a) {
			t.Errorf("address %v is misfiled", e)
		}
		if a.probing {
			probing++
		}
		if a.fresh {
			fresh++
		}
		if len(a.waiting) > 0 && !a.probing && !a.queued {
			t.Errorf("%d items wait for a probe of %v that nobody makes", len(a.waiting), e)
		}
		for it := range a.waiting {
			if s.items[it.TID] != it || it.state != Probing || it.endpoint() != e {
				t.Errorf("%s in state %s waits for a probe of %v", it.TID, it.state, e)
			}
		}
	}
	if fresh != s.fresh || probing != s.probing {
		t.Errorf("%d probes of which %d fresh; the books say %d and %d", probing, fresh, s.probing, s.fresh)
	}
	for id, it := range s.items {
		_, ready := s.ready[it]
		a := s.endpoints[it.endpoint()]
		ok := it.TID == id && ready == (it.state == Ready) && (s.lane == it) == (it.state == Connecting) && (s.next == it) == (it.state == next) &&
			(it.retry != nil) == (it.state == Waiting) && (it.flight != nil) == (it == s.lane || it == s.next)
		if it.state == Probing {
			waits := false
			if a != nil {
				_, waits = a.waiting[it]
			}
			ok = ok && waits
		}
		if !ok || it.state == Unknown {
			t.Errorf("%s in state %s is misfiled (key %v, ready %v, lane %v, timer %v, address %+v)", id, it.state, it.TID == id, ready, s.lane == it, it.retry != nil, a)
		}
	}
	if s.next != nil && (s.lane == nil || s.lane == s.next || s.items[s.next.TID] != s.next) {
		t.Errorf("%s is the next behind nothing", s.next.TID)
	}
	for it := range s.ready {
		if s.items[it.TID] != it {
			t.Errorf("%s stands in line and is not known", it.TID)
		}
	}
}

func refused() error { return fmt.Errorf("cannot probe: %w", nvmetcp.ErrRefused) }

func classed(c kernel.Class) error { return &kernel.ConnectError{Class: c} }

var errOther = errors.New("something else")

// instant is a world in which everything succeeds at once.
type instant struct{}

func (instant) Probe(context.Context, tid.TID, bool) error { return nil }
func (instant) Connect(context.Context, kernel.ConnectRequest) (kernel.Connection, error) {
	return kernel.Connection{}, nil
}
func (instant) Disconnect(context.Context, kernel.DisconnectRequest) error { return nil }
