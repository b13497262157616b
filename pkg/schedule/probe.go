package schedule

import (
	"context"
	"slices"
	"time"
)

// probe starts as many of the waiting probes as there is room for. A probe that is not through
// after probePatience no longer keeps others from being begun: addresses that swallow
// packets must not stand in the way of those that answer at once.
func (s *Scheduler) probe() {
	for s.fresh < probeWidth && s.probing < probeMost && len(s.queue) > 0 {
		a := s.queue[0]
		s.queue = s.queue[1:]
		a.queued = false
		if len(a.waiting) == 0 {
			s.forget(a)
			continue
		}
		a.probing, a.fresh = true, true
		s.probing++
		s.fresh++
		go func() {
			ctx, cancel := context.WithTimeout(s.ctx, probeDeadline)
			defer cancel()
			patience := time.AfterFunc(probePatience, func() { s.opts.Post(func() { s.lingers(a) }) })
			defer patience.Stop()
			err := s.opts.Prober.Probe(ctx, a.tid, a.tls)
			s.opts.Post(func() { s.probed(a, err) })
		}()
	}
}

// lingers makes room for another probe beside the one of a.
func (s *Scheduler) lingers(a *address) {
	if a.fresh {
		a.fresh = false
		s.fresh--
		s.probe()
	}
}

// probed deals with the outcome of a probe for everything behind the address, oldest first.
func (s *Scheduler) probed(a *address, err error) {
	s.lingers(a)
	a.probing = false
	s.probing--
	waiting := make([]*item, 0, len(a.waiting))
	for it := range a.waiting {
		waiting = append(waiting, it)
	}
	slices.SortFunc(waiting, func(a, b *item) int {
		if before(a, b, false, false) {
			return -1
		}
		return 1
	})
	a.waiting = nil
	if err == nil {
		a.okAt = time.Now()
	}
	for _, it := range waiting {
		switch {
		case it.state != Probing || s.items[it.TID] != it: // dropped by the owner meanwhile
		case err == nil:
			s.admit(it)
		default:
			it.probed = true
			s.failed(it, Result{Err: err})
		}
	}
	s.forget(a)
	s.probe()
	s.connect()
}

// failed notes a failure, plans the next attempt and tells the owner.
func (s *Scheduler) failed(it *item, r Result) {
	it.failures++
	it.lastErr, it.failedAt = r.Err, time.Now()
	if it.again {
		it.failures = 0
		s.begin(it)
	} else {
		s.wait(it, Classify(r.Err))
	}
	s.opts.Done(it.Target, r)
}
