package schedule

import (
	"errors"
	"fmt"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
)

// connect gives the lane to the best of the ready items, if it is free, and hands the next best to the kernel, too, where
// it waits until the lane is: between two connects there is no pause.
func (s *Scheduler) connect() {
	for !s.held && s.next == nil {
		it := s.best()
		if it == nil || s.lane != nil && !s.mayFollow(it) {
			return
		}
		if a := s.endpoints[it.endpoint()]; a == nil || time.Since(a.okAt) >= probeValid {
			s.set(it) // its answer has aged while it stood in line
			continue
		}
		delete(s.ready, it)
		it.flight = &flight{withdrawn: make(chan struct{})}
		if s.lane == nil {
			s.begins(it)
		} else {
			s.next, it.state = it, next
		}
		s.attempt(it)
	}
	if !s.held && s.next != nil {
		s.overtake()
	}
}

// mayFollow says whether it may be handed over while another is in the lane.
func (s *Scheduler) mayFollow(it *item) bool {
	f := s.lane.flight
	return f.queued && time.Since(f.began) < nextPatience && it.promising()
}

// promising says whether nothing speaks against waiting behind it.
func (it *item) promising() bool { return !it.slow && it.failures == 0 }

// begins notes that the kernel is at it.
func (s *Scheduler) begins(it *item) {
	s.lane, it.state, it.flight.began = it, Connecting, time.Now()
	s.moved(it)
}

// attempt has the kernel connect it when its turn comes.
func (s *Scheduler) attempt(it *item) {
	t, f := it.Target, it.flight
	var patience *time.Timer
	if it == s.next {
		patience = time.AfterFunc(nextPatience, func() {
			s.opts.Post(func() {
				if it == s.next {
					s.withdraw(it)
				}
			})
		})
	}
	go func() {
		var r Result
		if r.Err = s.opts.Veto(t); r.Err == nil {
			request := t.request()
			request.Withdrawn = f.withdrawn
			request.Queued = func() {
				s.opts.Post(func() {
					f.queued = true
					s.connect()
				})
			}
			r.Connection, r.Err = s.opts.Kernel.Connect(s.ctx, request)
		}
		if errors.Is(r.Err, kernel.ErrExcluded) {
			r.Err = fmt.Errorf("%w: %w", ErrVetoed, r.Err)
		}
		end := time.Now()
		if patience != nil {
			patience.Stop()
		}
		s.opts.Post(func() { s.connected(it, t, r, end) })
	}()
}

// withdraw takes back what was handed to the kernel, if that has not begun with it.
func (s *Scheduler) withdraw(it *item) {
	if !it.flight.recalled {
		it.flight.recalled = true
		close(it.flight.withdrawn)
	}
}

// overtake makes room for an item that is better than the next one, and was not there when that was chosen.
func (s *Scheduler) overtake() {
	if it := s.best(); it != nil && it.promising() && before(it, s.next, s.first(it), s.first(s.next)) {
		s.withdraw(s.next)
	}
}

// first says whether it would be the first path of its subsystem. The one in the lane counts as made.
func (s *Scheduler) first(it *item) bool {
	return s.opts.First(it.TID) && (s.lane == nil || s.lane.TID.NQN != it.TID.NQN)
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
		first := s.first(it)
		if best == nil || before(it, best, first, bestFirst) {
			best, bestFirst = it, first
		}
	}
	return best
}

// connected deals with the outcome of an attempt that was made with t; it may be wanted otherwise by now.
func (s *Scheduler) connected(it *item, t Target, r Result, end time.Time) {
	f := it.flight
	it.flight = nil
	took := r.Connection.Took
	if it == s.next {
		s.next = nil
	} else {
		if took == 0 || r.Err != nil {
			took = end.Sub(f.began)
		}
		s.lane = nil
		if n := s.next; n != nil {
			s.next = nil
			s.begins(n)
		}
	}
	if took > slowConnect {
		it.slow = true
	}
	r.Dropped = it.dropped
	found := it.found
	it.found = false
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
	case f.recalled && errors.Is(r.Err, kernel.ErrNotBegun):
		if found {
			it.state, it.upAt, it.failures, it.lastErr = Up, time.Now(), 0, nil
		} else {
			s.set(it)
		}
		s.opts.Done(t, r)
	default:
		if a := s.endpoints[it.endpoint()]; a != nil && loses(Classify(r.Err)) {
			a.okAt = time.Time{} // the address does not keep what its probe promised
		}
		it.probed = false
		s.failed(it, r)
	}
	s.disconnect() // what waited for this attempt to come back
	s.connect()
}

// loses says whether a failure of this class speaks against the address and not
// only against the one controller behind it.
func loses(c kernel.Class) bool {
	return c == kernel.Refused || c == kernel.Unreachable || c == kernel.Timeout
}
