package schedule

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvmetcp"
	"github.com/stas-go/stas/pkg/tid"
)

func TestDelayGrowsWithinBounds(t *testing.T) {
	for class, p := range paces {
		want := p.first
		for failures := 1; failures <= 12; failures++ {
			least, most := time.Duration(1<<62), time.Duration(0)
			for range 200 {
				d := Delay(class, failures)
				least, most = min(least, d), max(most, d)
			}
			if least < want*8/10 || most > want*12/10 || most-least < want/10 {
				t.Errorf("%s after %d failures: %s to %s, want %s ± 20 %% and not all alike", class, failures, least, most, want)
			}
			want = min(2*want, p.most)
		}
	}
	if d := Delay(kernel.Class(200), 1); d < 800*time.Millisecond || d > 1200*time.Millisecond {
		t.Errorf("a class that nobody knows: %s", d)
	}
	if d := Delay(kernel.Other, 1<<30); d > 72*time.Second {
		t.Errorf("after many failures: %s", d)
	}
}

func TestClassify(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("cannot: %w", err) }
	tests := map[error]kernel.Class{
		wrap(classed(kernel.Auth)): kernel.Auth, wrap(ErrVetoed): vetoed, wrap(kernel.ErrBusy): kernel.NoDevice, wrap(kernel.ErrNoFabrics): kernel.NoDevice,
		wrap(kernel.ErrWorkerDied): kernel.NoDevice, wrap(nvmetcp.ErrRefused): kernel.Refused, wrap(nvmetcp.ErrClosed): kernel.Refused,
		wrap(nvmetcp.ErrUnreachable): kernel.Unreachable, wrap(nvmetcp.ErrLocal): kernel.Unreachable, wrap(nvmetcp.ErrTimeout): kernel.Timeout,
		wrap(context.DeadlineExceeded): kernel.Timeout, errors.New("x"): kernel.Other,
	}
	for err, want := range tests {
		if got := Classify(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}

// The kernel is asked less and less often, by the pace of the class.
func TestBackoffByClass(t *testing.T) {
	for class, bounds := range map[kernel.Class][2]int{kernel.Rejected: {13, 20}, kernel.Auth: {5, 7}, kernel.InvalidOption: {5, 7}, kernel.NoDevice: {50, 80}} {
		bubble(t, func(r *rig) {
			r.connectsAs(target(1), 0, classed(class))
			r.on(func(s *Scheduler) { s.Want(target(1)) })
			r.pass(10 * time.Minute)
			if n := len(r.connecting); n < bounds[0] || n > bounds[1] {
				t.Errorf("%s: %d attempts in ten minutes, want %d to %d", class, n, bounds[0], bounds[1])
			}
		})
	}
}

// An address that comes back is noticed within five seconds, and until then the kernel hears nothing of it.
func TestReturnIsNoticed(t *testing.T) {
	for away := 3 * time.Second; away < watchFor-10*time.Second; away += 70 * time.Second { // one alone may be met by chance
		bubble(t, func(r *rig) {
			r.answers("192.0.2.1", 0, refused())
			r.on(func(s *Scheduler) { s.Want(target(1)) })
			r.pass(away)
			r.answers("192.0.2.1", 0, nil)
			if n := len(r.connecting); n != 0 {
				t.Errorf("the kernel was asked %d times for an address that refuses", n)
			}
			r.pass(5 * time.Second)
			if st := r.status(target(1)); st.State != Up {
				t.Errorf("away for %s: %+v", away, st)
			}
		})
	}
	bubble(t, func(r *rig) { // what stays away for hours is asked once a minute
		r.answers("192.0.2.1", 0, refused())
		r.on(func(s *Scheduler) { s.Want(target(1)) })
		r.pass(time.Hour)
		n := len(r.probed)
		r.pass(time.Hour)
		if n = len(r.probed) - n; n < 50 || n > 75 {
			t.Errorf("%d probes in the second hour, want about 60", n)
		}
	})
}

// 300 targets that fail at once do not come back in step.
func TestRetriesAreSpread(t *testing.T) {
	bubble(t, func(r *rig) {
		r.on(func(s *Scheduler) {
			for n := range 300 {
				tg := at(fmt.Sprintf("10.0.%d.%d", n>>8, n&255), n)
				r.answers(tg.TID.Traddr, 0, refused())
				s.Want(tg)
			}
		})
		r.pass(time.Minute)
		most := 0
		for range 500 { // longer than any of them waits
			n := len(r.probed)
			r.pass(20 * time.Millisecond)
			most = max(most, len(r.probed)-n)
		}
		if most > 60 {
			t.Errorf("%d of 300 retries within 20 ms", most)
		}
	})
}

// A sign of change ends every wait at once and clears the history; what is on its way already is
// tried once more when it fails.
func TestKick(t *testing.T) {
	bubble(t, func(r *rig) {
		a, b := target(1), target(2)
		r.connectsAs(a, 0, classed(kernel.Auth))
		r.connectsAs(b, 0, classed(kernel.Auth))
		r.on(func(s *Scheduler) { s.Want(a); s.Want(b) })
		r.pass(time.Minute)
		if st := r.status(a); st.State != Waiting || st.Attempts < 2 || st.Next.IsZero() || st.Delay == 0 {
			t.Fatalf("%+v", st)
		}
		n := len(r.connecting)
		r.on(func(s *Scheduler) { s.Kick(func(t Target) bool { return t.TID == a.TID }) })
		if len(r.connecting) != n+1 || r.connecting[n] != a.TID {
			t.Errorf("a kick of one target led to %v", r.connecting[n:])
		}
		if st := r.status(a); st.Attempts != 1 {
			t.Errorf("%d attempts are remembered after a kick and a failure", st.Attempts)
		}
		r.on(func(s *Scheduler) { s.Kick(nil) })
		if len(r.connecting) != n+3 {
			t.Errorf("a kick of all led to %d connects", len(r.connecting)-n-1)
		}
	})
	bubble(t, func(r *rig) {
		a := target(1)
		r.connectsAs(a, 500*time.Millisecond, classed(kernel.Auth))
		r.on(func(s *Scheduler) { s.Want(a) })
		r.on(func(s *Scheduler) { s.Kick(nil); s.Kick(nil) })
		r.pass(1100 * time.Millisecond)
		if len(r.connecting) != 2 {
			t.Errorf("%d connects; two kicks during the first ask for one more", len(r.connecting))
		}
		r.expect(a, Waiting)
		if st := r.status(a); st.Delay < 8*time.Second {
			t.Errorf("a wait of %s after the extra attempt", st.Delay)
		}
	})
	bubble(t, func(r *rig) { // during a probe
		a := target(1)
		r.answers("192.0.2.1", 500*time.Millisecond, refused())
		r.on(func(s *Scheduler) { s.Want(a) })
		r.on(func(s *Scheduler) { s.Kick(nil) })
		r.pass(1100 * time.Millisecond)
		if len(r.probed) != 2 {
			t.Errorf("%d probes, want 2", len(r.probed))
		}
	})
}

// A steady connection that is lost is made again at once; one that comes and goes is
// made less and less often.
func TestLost(t *testing.T) {
	bubble(t, func(r *rig) {
		a := target(1)
		r.on(func(s *Scheduler) { s.Want(a) })
		r.pass(2 * time.Minute)
		r.on(func(s *Scheduler) { s.Lost(a.TID) })
		r.expect(a, Up)
		if len(r.connecting) != 2 {
			t.Errorf("%d connects", len(r.connecting))
		}
		before := len(r.connecting)
		for range 600 {
			r.on(func(s *Scheduler) { s.Lost(a.TID) })
			r.pass(time.Second)
		}
		if n := len(r.connecting) - before; n > 20 {
			t.Errorf("a connection that is lost at once each time was made %d times in ten minutes", n)
		}
		r.pass(3 * time.Minute) // the longest delay, 72 s, and the minute after which it counts as steady
		r.expect(a, Up)
		r.on(func(s *Scheduler) { s.Lost(a.TID) })
		r.expect(a, Up)
		r.on(func(s *Scheduler) { s.Lost(target(5).TID) }) // nobody knows it
	})
}

// The list that forbids is asked right before every attempt.
func TestVetoIsAskedEachTime(t *testing.T) {
	bubble(t, func(r *rig) {
		forbidden := true
		asked := 0
		r.veto = func(Target) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			asked++
			if forbidden {
				return fmt.Errorf("listed: %w", ErrVetoed)
			}
			return nil
		}
		r.on(func(s *Scheduler) { s.Want(target(1)) })
		r.pass(5 * time.Minute)
		if len(r.connecting) != 0 || asked < 3 {
			t.Errorf("asked %d times, connected %d times", asked, len(r.connecting))
		}
		forbidden = false
		r.on(func(s *Scheduler) { s.Kick(nil) })
		r.expect(target(1), Up)
	})
}

// A target that is wanted in another way takes the other way.
func TestWantAnotherWay(t *testing.T) {
	bubble(t, func(r *rig) {
		a := target(1)
		r.answers("192.0.2.1", 500*time.Millisecond, nil)
		r.on(func(s *Scheduler) { s.Want(a) })
		b := a
		b.Params = &tid.Params{TLS: tid.On}
		r.on(func(s *Scheduler) { s.Want(b); consistent(t, s) })
		if len(r.probed) != 2 {
			t.Errorf("%d probes, want one for each way", len(r.probed))
		}
		r.pass(time.Second)
		r.expect(b, Up)
		if len(r.connecting) != 1 {
			t.Errorf("%d connects", len(r.connecting))
		}
	})
}

// What is found connected is not tried, wherever it stood.
func TestConnectedEndsAttempts(t *testing.T) {
	bubble(t, func(r *rig) {
		probing, waiting, unknown := target(1), target(2), target(3)
		r.answers("192.0.2.1", 500*time.Millisecond, nil)
		r.answers("192.0.2.2", 0, refused())
		r.on(func(s *Scheduler) { s.Want(probing); s.Want(waiting) })
		tls := probing
		tls.Params = &tid.Params{TLS: tid.On}
		r.on(func(s *Scheduler) { s.Connected(tls); s.Connected(waiting); s.Connected(unknown); consistent(t, s) })
		r.pass(time.Minute)
		for _, tg := range []Target{probing, waiting, unknown} {
			r.expect(tg, Up)
		}
		if len(r.connecting) != 0 {
			t.Errorf("connects %v", r.connecting)
		}
	})
}

// One that comes and goes is made less and less often, too, where a probe had failed before it first came.
func TestLostAfterProbesFailed(t *testing.T) {
	bubble(t, func(r *rig) {
		a := target(1)
		r.answers("192.0.2.1", 0, refused())
		r.on(func(s *Scheduler) { s.Want(a) })
		r.answers("192.0.2.1", 0, nil)
		for range 600 {
			r.on(func(s *Scheduler) { s.Lost(a.TID) })
			r.pass(time.Second)
		}
		if n := len(r.connecting); n > 20 {
			t.Errorf("a connection that is lost at once each time was made %d times in ten minutes", n)
		}
	})
}
