package schedule

import (
	"context"
	"time"
)

// probe starts as many of the waiting probes as there is room for.
func (s *Scheduler) probe() {
	for s.probing < probeWidth && len(s.queue) > 0 {
		a := s.queue[0]
		s.queue = s.queue[1:]
		a.queued = false
		if len(a.waiting) == 0 {
			s.forget(a)
			continue
		}
		a.probing = true
		s.probing++
		go func() {
			ctx, cancel := context.WithTimeout(s.ctx, probeDeadline)
			defer cancel()
			err := s.opts.Prober.Probe(ctx, a.tid, a.tls)
			s.opts.Post(func() { s.probed(a, err) })
		}()
	}
}

// probed deals with the outcome of a probe for everything behind the address.
func (s *Scheduler) probed(a *address, err error) {
	a.probing = false
	s.probing--
	waiting := a.waiting
	a.waiting = map[*item]struct{}{}
	if err == nil {
		a.okAt = time.Now()
	}
	for it := range waiting {
		switch {
		case it.state != Probing || s.items[it.TID] != it: // dropped by the owner meanwhile
		case err == nil:
			s.admit(it)
		default:
			s.failed(it, Result{Err: err})
		}
	}
	s.forget(a)
	s.probe()
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
