package fabric

import (
	"sync"
	"testing"
	"time"
)

// Stalls holds when this machine did not run a process that was due. An emulated machine on a busy host does that, and a
// bound on time that is below it would say nothing about the program under test.
type Stalls struct {
	heartbeat time.Duration
	mu        sync.Mutex
	all       []stall
}

type stall struct {
	from time.Time
	took time.Duration
}

// WatchStalls notes stalls until the end of the test.
func WatchStalls(t testing.TB) *Stalls {
	t.Helper()
	s, end := watch(5 * time.Millisecond)
	t.Cleanup(end)
	return s
}

// watch notes stalls that are longer than a heartbeat until end is called.
func watch(heartbeat time.Duration) (s *Stalls, end func()) {
	s = &Stalls{heartbeat: heartbeat}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTimer(heartbeat)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			now := time.Now()
			if late := now.Sub(last) - heartbeat; late > heartbeat {
				s.mu.Lock()
				s.all = append(s.all, stall{last, late})
				s.mu.Unlock()
			}
			last = now
			tick.Reset(heartbeat)
		}
	}()
	return s, func() {
		close(stop)
		<-done
	}
}

// Between is the sum of the stalls in a span of time.
func (s *Stalls) Between(from, to time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum time.Duration
	for _, one := range s.all {
		if one.from.Before(to) && one.from.Add(one.took+s.heartbeat).After(from) {
			sum += one.took
		}
	}
	return sum
}
