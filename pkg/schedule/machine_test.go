package schedule

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvmetcp"
	"github.com/stas-go/stas/pkg/tid"
)

// TestScheduleAnySequence drives a scheduler with any sequence of calls, of networks that
// answer, refuse and stay silent, and of kernels that fail and take their time. Its books
// must agree after every step; in the end, when everything is reachable, what is
// wanted is up and what is not wanted is gone.
func TestScheduleAnySequence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// rapid fails by panicking, which must not happen in the bubble; and it keeps an eye
		// on the clock, which must not be that of the bubble.
		var failure any
		synctest.Test(t, func(t *testing.T) {
			defer func() { failure = recover() }()
			inBubble(t, func(r *rig) { sequence(rt, r) })
		})
		if failure != nil {
			panic(failure)
		}
	})
}

// machineTargets are six: three behind one address, one of these in another way.
func machineTargets() []Target {
	ts := []Target{at("192.0.2.1", 1), at("192.0.2.1", 2), at("192.0.2.1", 3), target(4), target(5), target(6)}
	ts[2].Params = &tid.Params{TLS: tid.On}
	ts[4].Configured = true
	return ts
}

func sequence(rt *rapid.T, r *rig) {
	targets := machineTargets()
	wanted := map[tid.TID]bool{}
	addresses := []string{"192.0.2.1", "192.0.2.4", "192.0.2.5", "192.0.2.6"}
	takes := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 700 * time.Millisecond, 1500 * time.Millisecond, 10 * time.Second})
	failures := rapid.SampledFrom([]error{nil, nil, errOther, classed(kernel.Timeout), classed(kernel.Auth), classed(kernel.AlreadyConnected), kernel.ErrNoFabrics})
	probeFailures := rapid.SampledFrom([]error{nil, nil, nvmetcp.ErrRefused, nvmetcp.ErrTimeout, nvmetcp.ErrUnreachable})
	pick := func() Target { return rapid.SampledFrom(targets).Draw(rt, "target") }
	step := func(f func(*Scheduler)) {
		r.on(func(s *Scheduler) {
			f(s)
			consistent(rt, s)
		})
	}
	rt.Repeat(map[string]func(*rapid.T){
		"want": func(*rapid.T) {
			tg := pick()
			if rapid.Bool().Draw(rt, "another way") {
				tg.Params = &tid.Params{TLS: tid.On}
			}
			wanted[tg.TID] = true
			step(func(s *Scheduler) { s.Want(tg) })
		},
		"drop": func(*rapid.T) {
			tg := pick()
			delete(wanted, tg.TID)
			step(func(s *Scheduler) { s.Drop(tg.TID) })
		},
		"connected": func(*rapid.T) {
			tg := pick()
			if !wanted[tg.TID] || !r.up[tg.TID] {
				rt.Skip("its owner would not say so")
			}
			step(func(s *Scheduler) { s.Connected(tg) })
		},
		"lost": func(*rapid.T) {
			tg := pick()
			r.mu.Lock()
			delete(r.up, tg.TID)
			r.mu.Unlock()
			step(func(s *Scheduler) { s.Lost(tg.TID) })
		},
		"disconnect": func(*rapid.T) {
			tg := pick()
			step(func(s *Scheduler) { s.Disconnect(tg.TID, request(tg.TID)) })
		},
		"kick": func(*rapid.T) {
			tg := pick()
			all := rapid.Bool().Draw(rt, "all")
			step(func(s *Scheduler) { s.Kick(func(t Target) bool { return all || t.TID == tg.TID }) })
		},
		"address": func(*rapid.T) {
			r.answers(rapid.SampledFrom(addresses).Draw(rt, "address"), takes.Draw(rt, "takes"), probeFailures.Draw(rt, "ends"))
		},
		"kernel": func(*rapid.T) { r.connectsAs(pick(), takes.Draw(rt, "takes"), failures.Draw(rt, "ends")) },
		"removal": func(*rapid.T) {
			tg := pick()
			o := outcome{takes.Draw(rt, "takes"), failures.Draw(rt, "ends")}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.disconnects[tg.TID.NQN] = o
		},
		"time": func(*rapid.T) {
			r.pass(rapid.SampledFrom([]time.Duration{time.Millisecond, 300 * time.Millisecond, 3 * time.Second, time.Minute}).Draw(rt, "passes"))
			step(func(*Scheduler) {})
		},
	})

	// Everything becomes reachable and nothing fails any more.
	r.mu.Lock()
	clear(r.probes)
	clear(r.connects)
	clear(r.disconnects)
	r.mu.Unlock()
	r.pass(15 * time.Minute)
	step(func(s *Scheduler) {
		for _, tg := range targets {
			if st := s.Status(tg.TID); (st.State == Up) != wanted[tg.TID] || st.State != Up && st.State != Unknown {
				rt.Errorf("%s is %s (%+v), wanted %v", tg.TID, st.State, st, wanted[tg.TID])
			}
		}
		if s.lane != nil || s.next != nil || len(s.ready) > 0 || s.probing > 0 || s.deletes.n > 0 {
			rt.Errorf("something is still under way")
		}
		if len(s.items) != len(wanted) {
			rt.Errorf("%d items for %d wanted", len(s.items), len(wanted))
		}
	})
	if r.twice || len(r.overlapped) > 0 {
		rt.Fatalf("two connects at a time: %v; overlapping: %v", r.twice, r.overlapped)
	}
	// A dropped attempt that went through was told as such, so that its owner can end it.
	for n, result := range r.done {
		if result.Dropped && slices.Index(r.of, r.of[n]) < 0 {
			rt.Fatal("a result of nothing")
		}
	}
}

// BenchmarkTenThousand has 10 000 targets connected, a thousand addresses of ten each.
func BenchmarkTenThousand(b *testing.B) {
	posts := make(chan func(), 1024)
	k := instant{}
	targets := make([]Target, 10000)
	for n := range targets {
		targets[n] = at(fmt.Sprintf("10.0.%d.%d", n/10>>8, n/10&255), n)
	}
	for b.Loop() {
		up := 0
		s := New(b.Context(), Options{Kernel: k, Prober: k, Post: func(f func()) { posts <- f }, Done: func(Target, Result) { up++ }})
		for n := range targets {
			s.Want(targets[n])
		}
		for up < len(targets) {
			(<-posts)()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(targets)), "µs/target")
}
