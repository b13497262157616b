package schedule

import (
	"errors"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/tid"
)

func TestDropDuringConnect(t *testing.T) {
	for _, err := range []error{nil, errOther} {
		bubble(t, func(r *rig) {
			a := target(1)
			r.connectsAs(a, 10*time.Second, err)
			r.on(func(s *Scheduler) { s.Want(a) })
			r.on(func(s *Scheduler) {
				s.Drop(a.TID)
				if !s.Busy(a.TID) {
					t.Error("a connect in the kernel is not busy")
				}
			})
			r.pass(time.Minute)
			if len(r.done) != 1 || !r.done[0].Dropped || !errors.Is(r.done[0].Err, err) {
				t.Fatalf("results %+v", r.done)
			}
			r.expect(a, Unknown)
			if len(r.connecting) != 1 {
				t.Error("tried again after it was dropped")
			}
		})
	}
}

func TestWantAgainDuringConnect(t *testing.T) {
	for _, again := range []func(*Scheduler, Target){(*Scheduler).Want, (*Scheduler).Connected} {
		bubble(t, func(r *rig) {
			a := target(1)
			r.connectsAs(a, 10*time.Second, nil)
			r.on(func(s *Scheduler) { s.Want(a) })
			r.on(func(s *Scheduler) { s.Drop(a.TID) })
			a.Configured = true
			r.on(func(s *Scheduler) { again(s, a) })
			r.pass(time.Minute)
			if len(r.done) != 1 || r.done[0].Dropped {
				t.Fatalf("results %+v", r.done)
			}
			r.expect(a, Up)
		})
	}
}

func TestDropWhereverItWaits(t *testing.T) {
	bubble(t, func(r *rig) {
		hold, probing, ready, waiting, up := target(1), target(2), target(3), target(4), target(5)
		r.on(func(s *Scheduler) { s.Want(up) })
		r.connectsAs(hold, 4*time.Second, nil)
		r.answers("192.0.2.2", time.Second, nil)
		r.answers("192.0.2.4", 0, refused())
		r.on(func(s *Scheduler) { s.Want(hold) })
		r.on(func(s *Scheduler) { s.Want(probing); s.Want(ready); s.Want(waiting) })
		for tg, want := range map[*Target]State{&probing: Probing, &ready: Ready, &waiting: Waiting, &up: Up} {
			r.expect(*tg, want)
		}
		r.on(func(s *Scheduler) {
			for _, tg := range []Target{probing, ready, waiting, up, target(9)} {
				s.Drop(tg.TID)
			}
			consistent(t, s)
		})
		r.pass(time.Hour)
		for _, tg := range []Target{probing, ready, waiting, up} {
			r.expect(tg, Unknown)
		}
		if len(r.connecting) != 2 {
			t.Errorf("connects %v", r.connecting)
		}
	})
}

// A connect waits for the disconnect of the same controller, and a disconnect that is asked for
// during a connect does nothing: the owner looks again when that has ended.
func TestConnectAndDisconnectTakeTurns(t *testing.T) {
	bubble(t, func(r *rig) {
		a, b := target(1), target(2)
		r.disconnects[a.TID.NQN] = outcome{takes: 30 * time.Second}
		r.on(func(s *Scheduler) { s.Want(a) })
		r.on(func(s *Scheduler) {
			s.Drop(a.TID)
			s.Disconnect(a.TID, request(a.TID))
			s.Disconnect(a.TID, request(a.TID))
		})
		r.on(func(s *Scheduler) { s.Want(a); s.Want(b) })
		r.pass(20 * time.Second)
		r.expect(a, Ready)
		r.expect(b, Up)
		r.pass(12 * time.Second)
		r.expect(a, Up)
		if len(r.freed) != 1 || len(r.connecting) != 3 {
			t.Errorf("%d disconnects, connects %v", len(r.freed), r.connecting)
		}
	})
	bubble(t, func(r *rig) {
		a := target(1)
		r.connectsAs(a, 10*time.Second, nil)
		r.on(func(s *Scheduler) { s.Want(a) })
		r.on(func(s *Scheduler) { s.Disconnect(a.TID, request(a.TID)) })
		r.pass(time.Minute)
		if len(r.freed) != 0 || !r.up[a.TID] {
			t.Error("a disconnect overtook the connect")
		}
	})
}

func TestDisconnectLaneIsBounded(t *testing.T) {
	bubble(t, func(r *rig) {
		for n := range 100 {
			r.disconnects[target(n).TID.NQN] = outcome{time.Second, kernel.ErrNotOurs}
		}
		r.on(func(s *Scheduler) {
			for n := range 100 {
				tg := target(n)
				s.Disconnect(tg.TID, request(tg.TID))
			}
			if !s.Busy(target(99).TID) {
				t.Error("a disconnect in the queue is not busy")
			}
		})
		r.pass(time.Minute)
		if r.mostRemove != disconnectWide || len(r.freed) != 100 {
			t.Errorf("%d at a time, %d ended", r.mostRemove, len(r.freed))
		}
		r.on(func(s *Scheduler) {
			if s.deletes.n != 0 || len(s.deletes.busy) != 0 || len(s.deletes.queue) != 0 {
				t.Errorf("left %+v", s.deletes)
			}
		})
	})
}

// Stopping waits for nothing and leaves no goroutine; goleak and synctest see the rest.
func TestStopWithEverythingUnderWay(t *testing.T) {
	bubble(t, func(r *rig) {
		r.connectsAs(target(1), time.Hour, nil)
		r.answers("192.0.2.2", time.Hour, nil)
		r.answers("192.0.2.3", 0, refused())
		r.disconnects[target(4).TID.NQN] = outcome{takes: time.Hour}
		r.on(func(s *Scheduler) {
			for n := 1; n < 4; n++ {
				s.Want(target(n))
			}
			s.Disconnect(target(4).TID, request(target(4).TID))
		})
	})
}

func TestDefaults(t *testing.T) {
	s := New(t.Context(), Options{})
	if s.opts.Veto(Target{}) != nil || !s.opts.First(tid.TID{}) {
		t.Error("without a veto all is allowed, and every path is a first one")
	}
	if (s.Status(tid.TID{}) != Status{}) || s.Busy(tid.TID{}) {
		t.Error("something is known of nothing")
	}
	for st, want := range map[State]string{Unknown: "unknown", Probing: "probing", Ready: "ready", Connecting: "connecting", Up: "up", Waiting: "waiting"} {
		if st.String() != want {
			t.Errorf("%s, want %s", st, want)
		}
	}
}

// A disconnect can be recalled until it has begun.
func TestRecall(t *testing.T) {
	bubble(t, func(r *rig) {
		for n := range disconnectWide + 1 {
			r.disconnects[target(n).TID.NQN] = outcome{takes: time.Second}
		}
		r.on(func(s *Scheduler) {
			for n := range disconnectWide + 1 {
				s.Disconnect(target(n).TID, request(target(n).TID))
			}
		})
		r.on(func(s *Scheduler) {
			if s.Recall(target(0).TID) || !s.Busy(target(0).TID) {
				t.Error("recalled what had begun")
			}
			last := target(disconnectWide).TID
			if !s.Recall(last) || s.Busy(last) || s.Recall(last) {
				t.Error("not recalled")
			}
		})
		r.pass(time.Minute)
		if len(r.freed) != disconnectWide {
			t.Errorf("%d disconnects", len(r.freed))
		}
	})
}

// The owner is told what the attempt was made with, not what is wanted by then.
func TestDoneTellsWhatWasTried(t *testing.T) {
	bubble(t, func(r *rig) {
		a := target(1)
		a.Params = &tid.Params{KeepAliveTmo: tid.SetInt(5)}
		r.connectsAs(a, 5*time.Second, nil)
		var told *tid.Params
		r.on(func(s *Scheduler) {
			s.opts.Done = func(t Target, _ Result) { told = t.Params }
			s.Want(a)
		})
		b := a
		b.Params = &tid.Params{KeepAliveTmo: tid.SetInt(9)}
		r.on(func(s *Scheduler) { s.Want(b) })
		r.pass(6 * time.Second)
		r.expect(a, Up)
		if told != a.Params {
			t.Errorf("told %+v, connected with %+v", told, a.Params)
		}
	})
}
