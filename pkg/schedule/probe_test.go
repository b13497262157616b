package schedule

import (
	"fmt"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
)

// One probe speaks for all targets behind an address, well or not.
func TestProbeIsShared(t *testing.T) {
	bubble(t, func(r *rig) {
		r.answers("192.0.2.1", 50*time.Millisecond, refused())
		r.answers("192.0.2.2", 50*time.Millisecond, nil)
		r.on(func(s *Scheduler) {
			for n := range 20 {
				s.Want(at("192.0.2.1", n))
				s.Want(at("192.0.2.2", 100+n))
			}
		})
		r.pass(500 * time.Millisecond)
		if len(r.probed) != 2 {
			t.Errorf("%d probes, want one for each of two addresses", len(r.probed))
		}
		for n := range 20 {
			if st := r.status(at("192.0.2.1", n)); st.State != Waiting || st.Attempts != 1 || st.LastErr == nil {
				t.Errorf("target %d: %+v", n, st)
			}
			r.expect(at("192.0.2.2", 100+n), Up)
		}
		if len(r.connecting) != 20 {
			t.Errorf("%d connects; an address that refuses must not reach the kernel", len(r.connecting))
		}
	})
}

// Other parameters, such as TLS or a source address, make another way to the same address.
func TestWaysAreProbedApart(t *testing.T) {
	bubble(t, func(r *rig) {
		a, b := at("192.0.2.1", 1), at("192.0.2.1", 2)
		b.TID.HostIface = "eth1"
		c := at("192.0.2.1", 3)
		c.TID.HostTraddr = "192.0.2.99"
		r.on(func(s *Scheduler) { s.Want(a); s.Want(b); s.Want(c) })
		r.pass(time.Second)
		if len(r.probed) != 3 {
			t.Errorf("%d probes, want 3", len(r.probed))
		}
	})
}

// Addresses that swallow packets do not stand in the way of those that answer: 64 are begun at
// a time, and one that is silent makes room after a tenth of a second.
func TestSilentAddressesDelayNobody(t *testing.T) {
	bubble(t, func(r *rig) {
		r.on(func(s *Scheduler) {
			for n := range 200 {
				tg := at(fmt.Sprintf("198.51.100.%d", n), n)
				r.answers(tg.TID.Traddr, time.Hour, nil)
				s.Want(tg)
			}
			for n := range 50 {
				tg := at(fmt.Sprintf("192.0.2.%d", n), 1000+n)
				r.answers(tg.TID.Traddr, 10*time.Millisecond, nil)
				s.Want(tg)
			}
		})
		if r.widest != probeWidth {
			t.Errorf("%d probes at once at the beginning, want %d", r.widest, probeWidth)
		}
		r.pass(500 * time.Millisecond)
		for n := range 50 {
			r.expect(at(fmt.Sprintf("192.0.2.%d", n), 1000+n), Up)
		}
		if r.widest > probeMost {
			t.Errorf("%d probes at once", r.widest)
		}
		r.pass(2 * time.Second)
		if st := r.status(at("198.51.100.1", 1)); st.State != Waiting || Classify(st.LastErr) != kernel.Timeout {
			t.Errorf("a silent address: %+v", st)
		}
	})
}

// However many are silent, the number of sockets is bounded.
func TestProbesAreBounded(t *testing.T) {
	bubble(t, func(r *rig) {
		r.on(func(s *Scheduler) {
			for n := range 4000 {
				tg := at(fmt.Sprintf("10.0.%d.%d", n>>8, n&255), n)
				r.answers(tg.TID.Traddr, time.Hour, nil)
				s.Want(tg)
			}
		})
		r.pass(1900 * time.Millisecond)
		if r.widest > probeMost || r.widest < probeMost/2 {
			t.Errorf("%d probes at once, want many and no more than %d", r.widest, probeMost)
		}
		r.on(func(s *Scheduler) {
			for n := range 4000 {
				s.Drop(at(fmt.Sprintf("10.0.%d.%d", n>>8, n&255), n).TID)
			}
		})
		r.pass(3 * time.Second)
		r.on(func(s *Scheduler) {
			if len(s.endpoints)+len(s.items)+len(s.queue)+s.probing+s.fresh != 0 {
				t.Errorf("left: %d endpoints, %d items, %d queued, %d probing", len(s.endpoints), len(s.items), len(s.queue), s.probing)
			}
		})
	})
}

// An answer vouches for its address for five seconds, and no longer: what stands in line longer is
// probed again before it goes into the kernel.
func TestAnswersAge(t *testing.T) {
	bubble(t, func(r *rig) {
		hold := target(1)
		r.connectsAs(hold, 20*time.Second, nil)
		late := target(2)
		r.on(func(s *Scheduler) { s.Want(hold) })
		r.pass(time.Second)
		r.on(func(s *Scheduler) { s.Want(late) })
		r.pass(time.Second)
		r.expect(late, Ready)
		r.answers(late.TID.Traddr, 0, refused())
		r.pass(18*time.Second + 500*time.Millisecond)
		r.expect(hold, Up)
		r.expect(late, Waiting)
		if len(r.connecting) != 1 {
			t.Errorf("connects %v; the address had gone meanwhile", r.connecting)
		}
		// A fresh answer lets others go straight to the lane.
		n := len(r.probed)
		r.on(func(s *Scheduler) { s.Want(at("192.0.2.1", 7)) })
		r.expect(at("192.0.2.1", 7), Up)
		if len(r.probed) != n {
			t.Error("probed although a connect has just succeeded there")
		}
	})
}

// A connect that fails in a way that speaks against the address takes its answer back.
func TestFailedConnectTakesAnswerBack(t *testing.T) {
	for class, again := range map[kernel.Class]int{kernel.Refused: 2, kernel.Unreachable: 2, kernel.Timeout: 2, kernel.Auth: 1, kernel.Rejected: 1, kernel.Other: 1} {
		bubble(t, func(r *rig) {
			a, b := at("192.0.2.1", 1), at("192.0.2.1", 2)
			r.connectsAs(a, 100*time.Millisecond, classed(class))
			r.on(func(s *Scheduler) { s.Want(a) })
			r.pass(200 * time.Millisecond)
			r.on(func(s *Scheduler) { s.Want(b) })
			r.pass(100 * time.Millisecond)
			if len(r.probed) != again {
				t.Errorf("%s: %d probes, want %d", class, len(r.probed), again)
			}
		})
	}
}

// Nothing is kept of addresses that nobody wants any more.
func TestAddressesAreForgotten(t *testing.T) {
	bubble(t, func(r *rig) {
		for n := range 5000 {
			tg := at(fmt.Sprintf("10.1.%d.%d", n>>8, n&255), n)
			r.on(func(s *Scheduler) { s.Want(tg) })
			r.on(func(s *Scheduler) { s.Drop(tg.TID) })
			r.pass(100 * time.Millisecond)
		}
		r.on(func(s *Scheduler) {
			if len(s.endpoints) > 4*probeWidth {
				t.Errorf("%d addresses are remembered", len(s.endpoints))
			}
		})
	})
}
