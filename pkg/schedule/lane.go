package schedule

import (
	"time"

	"github.com/stas-go/stas/pkg/kernel"
)

// connect gives the lane to the best of the ready items, if it is free.
func (s *Scheduler) connect() {
	for s.lane == nil && !s.held {
		it := s.best()
		if it == nil {
			return
		}
		if a := s.endpoints[it.endpoint()]; a == nil || time.Since(a.okAt) >= probeValid {
			s.set(it) // its answer has aged while it stood in line
			continue
		}
		delete(s.ready, it)
		it.state = Connecting
		s.lane = it
		s.moved(it)
		t := it.Target
		go func() {
			var r Result
			start := time.Now()
			if r.Err = s.opts.Veto(t); r.Err == nil {
				r.Connection, r.Err = s.opts.Kernel.Connect(s.ctx, t.request())
			}
			took := time.Since(start)
			if r.Err == nil && r.Connection.Took > 0 {
				took = r.Connection.Took
			}
			s.opts.Post(func() { s.connected(it, t, r, took) })
		}()
	}
}

// best is the ready item that goes first. A linear search: the connect that
// follows takes thousands of times longer.
func (s *Scheduler) best() *item {
	var best *item
	var bestFirst bool
	for it := range s.ready {
		if s.deletes.has(it.TID) {
			continue // the old connection is still being removed
		}
		first := s.opts.First(it.TID)
		if best == nil || before(it, best, first, bestFirst) {
			best, bestFirst = it, first
		}
	}
	return best
}

// connected deals with the outcome of an attempt that was made with t; it may be wanted otherwise by now.
func (s *Scheduler) connected(it *item, t Target, r Result, took time.Duration) {
	s.lane = nil
	if took > slowConnect {
		it.slow = true
	}
	r.Dropped = it.dropped
	switch {
	case it.dropped:
		s.park(it)
		delete(s.items, it.TID)
		s.opts.Done(t, r)
	case r.Err == nil:
		it.state, it.failures, it.lastErr, it.upAt = Up, 0, nil, time.Now()
		if took <= slowConnect {
			it.slow = false
		}
		if a := s.endpoints[it.endpoint()]; a != nil {
			a.okAt = time.Now()
		}
		s.opts.Done(t, r)
	default:
		if a := s.endpoints[it.endpoint()]; a != nil && loses(Classify(r.Err)) {
			a.okAt = time.Time{} // the address does not keep what its probe promised
		}
		it.probed = false
		s.failed(it, r)
	}
	s.connect()
}

// loses says whether a failure of this class speaks against the address and not
// only against the one controller behind it.
func loses(c kernel.Class) bool {
	return c == kernel.Refused || c == kernel.Unreachable || c == kernel.Timeout
}
