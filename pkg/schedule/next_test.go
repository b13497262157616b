package schedule

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/tid"
)

// behind has one connect hold the lane for some time, and b handed over behind it.
func behind(t *testing.T, hold time.Duration, f func(r *rig, a, b Target)) {
	t.Helper()
	bubble(t, func(r *rig) {
		a, b := target(1), target(2)
		r.connectsAs(a, hold, nil)
		r.on(func(s *Scheduler) { s.Want(a) })
		r.on(func(s *Scheduler) { s.Want(b) })
		if !slices.Equal(r.handed, []tid.TID{a.TID, b.TID}) || !slices.Equal(r.connecting, []tid.TID{a.TID}) {
			t.Fatalf("handed over %v, begun %v", r.handed, r.connecting)
		}
		r.expect(a, Connecting)
		r.expect(b, Ready)
		f(r, a, b)
	})
}

// begun are the connects that have begun, in order.
func (r *rig) begun(want ...Target) {
	r.t.Helper()
	var ids []tid.TID
	for _, w := range want {
		ids = append(ids, w.TID)
	}
	if !slices.Equal(r.connecting, ids) {
		r.t.Errorf("begun %v, want %v", r.connecting, ids)
	}
}

// The kernel has the next one before it is through with the one before, and no third.
func TestNextIsHandedOver(t *testing.T) {
	behind(t, 500*time.Millisecond, func(r *rig, a, b Target) {
		c := target(3)
		r.on(func(s *Scheduler) { s.Want(c) })
		if len(r.handed) != 2 {
			t.Errorf("handed over %v", r.handed)
		}
		r.pass(500 * time.Millisecond)
		r.begun(a, b, c)
		for _, up := range []Target{a, b, c} {
			r.expect(up, Up)
		}
	})
}

func TestDropOfTheNext(t *testing.T) {
	behind(t, 500*time.Millisecond, func(r *rig, a, b Target) {
		r.on(func(s *Scheduler) { s.Drop(b.TID) })
		r.expect(b, Unknown)
		if len(r.done) != 1 || !r.done[0].Dropped || !errors.Is(r.done[0].Err, kernel.ErrNotBegun) {
			t.Errorf("results %+v", r.done)
		}
		r.pass(time.Minute)
		r.begun(a)
	})
}

// What is wanted otherwise meanwhile is made so, in the same place.
func TestNextIsMadeAsIsWanted(t *testing.T) {
	behind(t, 500*time.Millisecond, func(r *rig, a, b Target) {
		b.Params = &tid.Params{KeepAliveTmo: tid.SetInt(9)}
		r.on(func(s *Scheduler) { s.Want(b) })
		again := b
		again.Params = &tid.Params{KeepAliveTmo: tid.SetInt(9)}
		r.on(func(s *Scheduler) { s.Want(again) }) // as it is already
		if len(r.handed) != 3 {
			t.Errorf("handed over %v", r.handed)
		}
		r.pass(time.Minute)
		r.begun(a, b)
		if *r.made[1] != *b.Params {
			t.Errorf("made with %+v", r.made[1])
		}
	})
}

// What turns out to be connected is not connected once more; and is, when that connection goes at once.
func TestNextIsFoundConnected(t *testing.T) {
	behind(t, 500*time.Millisecond, func(r *rig, a, b Target) {
		r.on(func(s *Scheduler) { s.Connected(b) })
		r.expect(b, Up)
		r.pass(time.Minute)
		r.begun(a)
	})
	behind(t, 500*time.Millisecond, func(r *rig, a, b Target) {
		r.on(func(s *Scheduler) { s.Connected(b); s.Lost(b.TID) })
		r.pass(time.Minute)
		r.begun(a, b)
		r.expect(b, Up)
	})
	behind(t, 500*time.Millisecond, func(r *rig, a, b Target) {
		r.on(func(s *Scheduler) { s.Connected(b); s.Drop(b.TID) })
		r.pass(time.Minute)
		r.begun(a)
		r.expect(b, Unknown)
	})
	// One that was dropped and is wanted again has to be found once more: its connection may serve another by now.
	behind(t, 500*time.Millisecond, func(r *rig, a, b Target) {
		r.on(func(s *Scheduler) { s.Connected(b); s.Drop(b.TID); s.Want(b) })
		r.pass(time.Minute)
		r.begun(a, b)
		r.expect(b, Up)
	})
	// Its turn has come, as far as the loop knows, but it was withdrawn before that.
	bubble(t, func(r *rig) {
		a, b := target(1), target(2)
		r.connectsAs(a, 500*time.Millisecond, nil)
		r.veto = func(t Target) error {
			if t.TID == b.TID {
				time.Sleep(700 * time.Millisecond)
			}
			return nil
		}
		r.on(func(s *Scheduler) { s.Want(a) })
		r.on(func(s *Scheduler) { s.Want(b) })
		b.Params = &tid.Params{KeepAliveTmo: tid.SetInt(9)}
		r.on(func(s *Scheduler) { s.Want(b) })
		r.pass(600 * time.Millisecond)
		r.expect(b, Connecting)
		r.on(func(s *Scheduler) { s.Connected(b) })
		r.pass(time.Minute)
		r.begun(a)
		r.expect(b, Up)
	})
}

// A change that comes while the kernel is at it already, of which the loop does not know yet, has it tried again at once.
func TestKickOfTheNext(t *testing.T) {
	behind(t, 500*time.Millisecond, func(r *rig, a, b Target) {
		r.connectsAs(b, 200*time.Millisecond, errOther)
		r.on(func(s *Scheduler) {
			time.Sleep(600 * time.Millisecond)
			s.Kick(nil)
		})
		r.pass(150 * time.Millisecond)
		r.begun(a, b, b)
	})
}

// A disconnect takes back the connect of the same that was only handed over, or comes after it.
func TestDisconnectOfTheNext(t *testing.T) {
	behind(t, 500*time.Millisecond, func(r *rig, a, b Target) {
		r.on(func(s *Scheduler) {
			if s.Busy(b.TID) || !s.Connecting(func(id tid.TID) bool { return id == b.TID }) {
				t.Error("what is handed over is busy, or not on its way")
			}
			r.mu.Lock()
			r.disconnects[b.TID.NQN] = outcome{takes: 2 * time.Second}
			r.mu.Unlock()
			s.Disconnect(b.TID, request(b.TID))
			if !s.Busy(b.TID) {
				t.Error("its disconnect is not busy")
			}
		})
		if len(r.done) != 1 || r.done[0].Dropped || !errors.Is(r.done[0].Err, kernel.ErrNotBegun) || r.removing != 1 {
			t.Errorf("results %+v, %d disconnects", r.done, r.removing)
		}
		r.pass(time.Second)
		r.begun(a)
		r.pass(time.Minute)
		r.begun(a, b)
		if len(r.freed) != 1 {
			t.Errorf("%d disconnects", len(r.freed))
		}
	})
	// Too late: the kernel has begun with it, and the loop does not know yet.
	behind(t, 500*time.Millisecond, func(r *rig, a, b Target) {
		r.connectsAs(b, time.Second, nil)
		r.on(func(s *Scheduler) {
			time.Sleep(600 * time.Millisecond)
			s.Disconnect(b.TID, request(b.TID))
		})
		if r.removing != 0 {
			t.Error("a disconnect runs beside the connect of the same")
		}
		r.pass(time.Minute)
		r.begun(a, b)
		if len(r.freed) != 1 || r.up[b.TID] {
			t.Errorf("%d disconnects, up %v", len(r.freed), r.up[b.TID])
		}
	})
}

// One that is better, and is ready only now, goes first.
func TestBetterOneGoesBeforeTheNext(t *testing.T) {
	behind(t, 500*time.Millisecond, func(r *rig, a, b Target) {
		c := target(3)
		c.Configured = true
		r.on(func(s *Scheduler) { s.Want(c) })
		r.pass(time.Minute)
		r.begun(a, c, b)
		if r.status(b).Attempts != 0 || r.status(b).LastErr != nil {
			t.Errorf("having been overtaken counts as a failure: %+v", r.status(b))
		}
	})
}

// A further path to what is just being connected is no first one.
func TestNextIsNoSecondPath(t *testing.T) {
	bubble(t, func(r *rig) {
		a, second, other := target(1), at("192.0.2.3", 1), target(7)
		r.first = func(id tid.TID) bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return !r.up[a.TID] || id.NQN != a.TID.NQN
		}
		r.connectsAs(a, 500*time.Millisecond, nil)
		r.on(func(s *Scheduler) { s.Want(a) })
		r.on(func(s *Scheduler) { s.Batch(func() { s.Want(second); s.Want(other) }) })
		r.pass(time.Minute)
		if len(r.connecting) != 3 || r.connecting[2] != second.TID {
			t.Errorf("begun %v", r.connecting)
		}
	})
}

// Behind one that takes long nothing waits in the kernel: what was found out before is no longer true by then.
func TestNextHasPatience(t *testing.T) {
	behind(t, time.Minute, func(r *rig, a, b Target) {
		r.pass(nextPatience + time.Millisecond)
		r.on(func(s *Scheduler) {
			if s.next != nil {
				t.Error("it waits on")
			}
		})
		r.expect(b, Ready)
		r.answers("192.0.2.2", 0, refused())
		r.pass(time.Minute)
		r.begun(a)
		r.expect(b, Waiting)
	})
}

// Nor is anything handed over that may hold up others: it could not be put off for one that is ready a moment later.
func TestNextIsPromising(t *testing.T) {
	bubble(t, func(r *rig) {
		a, bad := target(1), target(2)
		r.connectsAs(bad, 0, errOther)
		r.on(func(s *Scheduler) { s.Want(bad) })
		r.pass(700 * time.Millisecond)
		r.connectsAs(a, 900*time.Millisecond, nil)
		r.on(func(s *Scheduler) { s.Want(a) })
		r.pass(600 * time.Millisecond) // it is tried again after a second, give or take a fifth
		r.expect(bad, Ready)
		if !slices.Equal(r.handed, []tid.TID{bad.TID, a.TID}) {
			t.Errorf("handed over %v", r.handed)
		}
		r.pass(400 * time.Millisecond)
		r.begun(bad, a, bad)
	})
}
