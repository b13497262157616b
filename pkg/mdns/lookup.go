package mdns

import (
	"fmt"
	"time"

	"github.com/holoplot/go-avahi"
)

// maxLookups is how many lookups may wait for Avahi at a time. Avahi allows a client 1024
// objects by default (objects-per-client-max in avahi-daemon.conf).
const maxLookups = 16

// lookup is the outcome of one.
type lookup struct {
	in  instance
	svc Service
	err error
	// answered says that Avahi did answer, and that err, if any, is about the content.
	answered bool
	nowhere  bool // Avahi did answer, and the answer leads nowhere
}

// lookAll looks up every announcement again.
func (e *epoch) lookAll() {
	now := time.Now()
	e.b.set.each(func(in instance) { e.queue.want(in, now) })
}

// schedule starts the lookups that are due and sets the timer for the next one.
func (e *epoch) schedule() {
	if !e.b.live {
		return
	}
	now := time.Now()
	wake := time.Time{}
	if e.rechecking {
		if wake = e.lastRecheck.Add(e.b.t.recheck); !now.Before(wake) {
			e.rechecking, e.lastRecheck, wake = false, now, time.Time{}
			e.lookAll()
		}
	}
	for e.queue.running < maxLookups {
		in, fails, ok := e.queue.next(now)
		if !ok {
			break
		}
		if e.queue.running == 1 {
			e.stall.Reset(e.b.t.call)
		}
		go e.look(in, fails)
	}
	if due, ok := e.queue.due(); ok && e.queue.running < maxLookups && (wake.IsZero() || due.Before(wake)) {
		wake = due
	}
	if wake.IsZero() {
		e.retry.Stop()
	} else {
		e.retry.Reset(time.Until(wake))
	}
}

// look resolves one announcement. It asks for an address of the family that carried the
// announcement and, every other time after a failure, of any family.
func (e *epoch) look(in instance, fails int) {
	family := in.proto
	if fails%2 == 1 {
		family = avahi.ProtoUnspec
	}
	r := lookup{in: in}
	answer, err := e.server.ResolveService(in.ifindex, in.proto, in.name, in.typ, in.domain, family, 0)
	if err != nil {
		r.err = fmt.Errorf("cannot look up the service: %s", clean(err.Error()))
	} else {
		var on iface
		if on, r.err = ifaceByIndex(in.ifindex); r.err == nil {
			r.answered = true
			r.svc, r.err = serviceOf(in, answer, on)
		}
		r.nowhere = r.err != nil
	}
	e.lookups <- r
}

// looked takes in an outcome. A failure leaves what was known.
func (e *epoch) looked(r lookup) {
	now := time.Now()
	fails := e.queue.done(r.in, r.answered, now)
	if e.queue.running == 0 {
		e.stall.Stop()
	} else {
		e.stall.Reset(e.b.t.call)
	}
	known := e.b.set.entries[r.in]
	if known == nil {
		return
	}
	if r.nowhere && !known.unusable {
		known.unusable = true
		e.dirty()
	}
	switch {
	case r.err == nil:
		delete(e.complain, r.in)
		if e.b.set.resolve(r.in, r.svc) {
			e.dirty()
		}
	case r.answered || fails > 1: // one failure is common while a peer starts
		if text := r.err.Error(); e.complain[r.in] != text {
			e.complain[r.in] = text
			e.b.log.Warn("announced discovery controller is not usable", "service", r.in.String(), "err", r.err)
		}
	}
}
