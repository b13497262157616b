package mdns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holoplot/go-avahi"
)

var browsed = [...]string{TypeTCP, TypeUDP}

var errOwnerChanged = errors.New("the Avahi daemon has left the bus")

// epoch is the time with one owner of Avahi's name on one connection. Its run method is the
// pump: it drains go-avahi's channels until the server is closed and never calls the server,
// as the dispatcher of go-avahi holds the server's mutex while it waits for the pump.
type epoch struct {
	b     *Browser
	link  *link
	owner string

	server   *avahi.Server // set when opening has ended
	opened   chan opening
	open     bool
	browsers [len(browsed)]*avahi.ServiceBrowser
	started  chan started

	queue    *queue
	complain map[instance]string // what was last logged about an announcement
	lookups  chan lookup
	handled  uint64 // items taken from go-avahi

	flush, retry, settle, refresh, stall *time.Timer
	lastRecheck                          time.Time
	rechecking, flushing                 bool
}

type opening struct {
	server *avahi.Server
	host   []string
	err    error
}

type started struct {
	i int
	b *avahi.ServiceBrowser
}

func newEpoch(b *Browser, l *link, owner string) *epoch {
	return &epoch{
		b: b, link: l, owner: owner,
		opened:   make(chan opening, 1),
		started:  make(chan started, len(browsed)),
		queue:    newQueue(b.t.retryMin*4, 6*b.t.retryMax),
		complain: make(map[instance]string),
		lookups:  make(chan lookup, maxLookups),
		flush:    stopped(),
		retry:    stopped(),
		settle:   stopped(),
		refresh:  time.NewTimer(b.t.refresh),
		stall:    time.NewTimer(b.t.call),
	}
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// start makes the server and the browsers. It runs beside the pump, since the first browser
// may be talking while the second one is being made.
func (e *epoch) start() {
	o := opening{host: hostWarnings("/")}
	o.server, o.err = avahi.ServerNew(e.link.conn)
	for i, typ := range browsed {
		if o.err != nil {
			break
		}
		var br *avahi.ServiceBrowser
		br, o.err = o.server.ServiceBrowserNew(avahi.InterfaceUnspec, avahi.ProtoUnspec, typ, domain, 0)
		if o.err != nil {
			o.err = fmt.Errorf("cannot browse for %s: %w", typ, o.err)
			break
		}
		e.started <- started{i, br}
	}
	e.opened <- o
}

// run works until ctx ends or the epoch is over, and returns why.
func (e *epoch) run(ctx context.Context) error {
	b := e.b
	b.set.begin()
	b.truncated = false
	go e.start()
	err := e.pump(ctx)
	b.live, b.settled = false, false
	b.publish()
	e.shut()
	return err
}

func (e *epoch) pump(ctx context.Context) error {
	for {
		add0, rem0 := e.channels(0)
		add1, rem1 := e.channels(1)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.link.conn.Context().Done():
			return errBusGone
		case <-e.link.gate.changed:
			if err := e.gateChanged(); err != nil {
				return err
			}
		case s := <-e.started:
			e.browsers[s.i] = s.b
		case o := <-e.opened:
			e.server, e.open = o.server, true
			e.stall.Stop()
			if o.err != nil {
				return o.err
			}
			e.b.host, e.b.live = o.host, true
			e.b.note(slog.LevelInfo, "browsing for discovery controllers by mDNS", nil)
			e.dirty()
		case s := <-add0:
			e.add(s)
		case s := <-add1:
			e.add(s)
		case s := <-rem0:
			e.remove(s)
		case s := <-rem1:
			e.remove(s)
		case r := <-e.lookups:
			e.looked(r)
		case <-e.flush.C:
			e.flushing = false
			e.b.publish()
		case <-e.retry.C:
		case <-e.settle.C:
			e.settleNow()
		case <-e.refresh.C:
			e.refresh.Reset(e.b.t.refresh)
			e.b.host = hostWarnings("/")
			e.lookAll()
			e.dirty()
		case <-e.b.recheck:
			e.rechecking = true
		case <-e.stall.C:
			return fmt.Errorf("the Avahi daemon has not answered within %v", e.b.t.call)
		}
		if e.b.set.full() && len(e.b.set.entries) < e.b.set.limit*3/4 {
			return errors.New("there is room again for announcements that were left out")
		}
		e.schedule()
	}
}

func (e *epoch) channels(i int) (add, remove <-chan avahi.Service) {
	if e.browsers[i] == nil {
		return nil, nil
	}
	return e.browsers[i].AddChannel, e.browsers[i].RemoveChannel
}

// gateChanged looks at what the gate saw beside the items.
func (e *epoch) gateChanged() error {
	if e.link.gate.currentOwner() != e.owner {
		return errOwnerChanged
	}
	answers, _, failure := e.link.gate.browse()
	if failure != "" {
		return fmt.Errorf("the Avahi daemon stopped browsing: %s", failure)
	}
	if answers == len(browsed) && !e.b.settled {
		e.settle.Reset(e.b.t.settle)
	}
	return nil
}

// settleNow ends the first look around, unless items wait that Avahi sent before its end.
func (e *epoch) settleNow() {
	if _, items, _ := e.link.gate.browse(); e.handled < items {
		e.settle.Reset(e.b.t.settle)
		return
	}
	for _, in := range e.b.set.settle() {
		e.b.log.Info("discovery controller is no longer announced", "service", in.String())
	}
	e.b.settled = !e.b.set.full() // what was left out is unknown, not absent
	e.dirty()
}

func (e *epoch) add(s avahi.Service) {
	e.handled++
	if !acceptable(s) {
		return
	}
	in := instanceOf(s)
	if !e.b.set.add(in) {
		e.b.truncated = true
		e.dirty()
		return
	}
	e.queue.want(in, time.Now())
	e.dirty()
}

func (e *epoch) remove(s avahi.Service) {
	e.handled++
	in := instanceOf(s)
	e.b.set.remove(in)
	e.queue.forget(in)
	delete(e.complain, in)
	e.dirty()
}

// dirty has the snapshot made soon, however long a burst goes on. A large one costs more to
// make, so it is made less often.
func (e *epoch) dirty() {
	if !e.flushing {
		e.flushing = true
		e.flush.Reset(e.b.t.flush + time.Duration(len(e.b.set.entries))*20*time.Microsecond)
	}
}

// shut frees everything of the epoch. The raw connection goes first, which frees every call
// that hangs; the channels are drained until the server is closed.
func (e *epoch) shut() {
	for _, t := range []*time.Timer{e.flush, e.retry, e.settle, e.refresh, e.stall} {
		t.Stop()
	}
	e.link.cut()
	closed := make(chan struct{})
	finish := func() {
		go func() {
			defer close(closed)
			if e.server != nil {
				e.server.Close()
			}
		}()
	}
	if e.open {
		finish()
	}
	for done := false; !done || e.queue.running > 0; {
		add0, rem0 := e.channels(0)
		add1, rem1 := e.channels(1)
		select {
		case <-add0:
		case <-add1:
		case <-rem0:
		case <-rem1:
		case s := <-e.started:
			e.browsers[s.i] = s.b
		case o := <-e.opened:
			e.server, e.open = o.server, true
			finish()
		case r := <-e.lookups:
			e.queue.done(r.in, true, time.Now())
		case <-closed:
			done, closed = true, nil
		}
	}
}
