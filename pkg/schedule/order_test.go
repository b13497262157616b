package schedule

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/tid"
)

// TestBeforeExhaustively compares every pair of the 2·2·2·3·3 sorts of items with the rule in
// words: slow last, first paths first, configured before discovered, fewest failures, oldest.
func TestBeforeExhaustively(t *testing.T) {
	type sort struct {
		slow, first, configured bool
		failures, age           int
	}
	var all []sort
	for i := range 2 * 2 * 2 * 3 * 3 {
		all = append(all, sort{i&1 != 0, i&2 != 0, i&4 != 0, i >> 3 % 3, i >> 3 / 3})
	}
	now := time.Now()
	make := func(s sort, n int) *item {
		tg := target(n)
		tg.Configured = s.configured
		return &item{Target: tg, slow: s.slow, failures: s.failures, since: now.Add(-time.Duration(s.age) * time.Second)}
	}
	rank := func(s sort) []int {
		bit := func(b bool) int {
			if b {
				return 1
			}
			return 0
		}
		return []int{bit(s.slow), -bit(s.first), -bit(s.configured), s.failures, -s.age}
	}
	for _, x := range all {
		for _, y := range all {
			want := slices.Compare(rank(x), rank(y))
			if want == 0 {
				want = -1 // x has the lower Transport ID
			}
			a, b := make(x, 1), make(y, 2)
			if before(a, b, x.first, y.first) != (want < 0) || before(b, a, y.first, x.first) != (want > 0) {
				t.Errorf("%+v against %+v: before says %v", x, y, before(a, b, x.first, y.first))
			}
		}
	}
}

// All that one probe lets through stands in line before the lane is given away.
func TestFirstPathsFirstBehindOneAddress(t *testing.T) {
	bubble(t, func(r *rig) {
		up := map[string]bool{"nqn.2026-01.test:s1": true, "nqn.2026-01.test:s3": true}
		r.first = func(id tid.TID) bool { return !up[id.NQN] }
		r.answers("192.0.2.1", 10*time.Millisecond, nil)
		r.on(func(s *Scheduler) {
			for n := range 6 {
				s.Want(at("192.0.2.1", n))
			}
		})
		r.pass(time.Second)
		var order []string
		for _, id := range r.connecting {
			order = append(order, id.NQN[len(id.NQN)-2:])
		}
		if got, want := fmt.Sprint(order), "[s0 s2 s4 s5 s1 s3]"; got != want {
			t.Errorf("order %s, want %s", got, want)
		}
		if len(r.probed) != 1 {
			t.Errorf("%d probes of one address", len(r.probed))
		}
	})
}

// What once held the lane for long goes last, however deliberate it is.
func TestSlowGoesLast(t *testing.T) {
	bubble(t, func(r *rig) {
		slow := target(1)
		slow.Configured = true
		r.connectsAs(slow, 3*time.Second, errOther)
		r.on(func(s *Scheduler) { s.Want(slow) })
		r.pass(3500 * time.Millisecond)
		r.expect(slow, Waiting)
		// The lane is taken when the slow one and the others become ready.
		hold := target(9)
		r.connectsAs(hold, 900*time.Millisecond, nil)
		r.on(func(s *Scheduler) { s.Want(hold) })
		r.on(func(s *Scheduler) {
			s.Kick(nil)
			s.Want(target(2))
			s.Want(target(3))
		})
		r.pass(time.Minute)
		if got := len(r.connecting); got < 5 {
			t.Fatalf("%d connects", got)
		}
		if r.connecting[1] != hold.TID || r.connecting[2] != target(2).TID || r.connecting[3] != target(3).TID || r.connecting[4] != slow.TID {
			t.Errorf("order %v", r.connecting)
		}
	})
}

// Nor is it given to the first of those that a change makes ready at once, whatever it is.
func TestFirstPathsFirstAfterAKick(t *testing.T) {
	bubble(t, func(r *rig) {
		const paths = 16
		r.first = func(id tid.TID) bool { return id == at("192.0.2.1", 0).TID }
		for n := range paths {
			r.connectsAs(at("192.0.2.1", n), 0, classed(kernel.Rejected))
		}
		r.on(func(s *Scheduler) {
			for n := range paths {
				s.Want(at("192.0.2.1", n))
			}
		})
		for range 8 { // within the time for which the probe vouches, each in an order of its own
			r.on(func(s *Scheduler) {
				r.connecting = nil
				s.Kick(nil)
			})
			if len(r.connecting) != paths || r.connecting[0] != at("192.0.2.1", 0).TID {
				t.Errorf("%d attempts, the first to %v", len(r.connecting), r.connecting[0])
			}
			r.pass(100 * time.Millisecond)
		}
	})
}
