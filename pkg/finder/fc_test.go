package finder

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

const (
	fcTarget = "nn-0x20001100aa000001:pn-0x20001100aa000002"
	fcHost   = "nn-0x20001100ab000001:pn-0x20001100ab000002"
)

// fibre gives a rig a discovery port that answers kickstarts as long as it is there, and the number of them.
func fibre(there *bool, refused *error) (prepare func(*rig), kicks *int) {
	kicks = new(int)
	return func(r *rig) {
		r.AddTarget(tid.TID{Transport: nvme.FC, Traddr: fcTarget, HostTraddr: fcHost, NQN: nvme.DiscoveryNQN}, fake.Behaviour{Kind: tid.Discovery})
		r.cfg.DCGiveUp = 0
		r.kickstart = func(context.Context) error {
			*kicks++
			if *refused != nil {
				return *refused
			}
			if *there {
				r.FCEvent(fcTarget, fcHost)
			}
			return nil
		}
	}, kicks
}

// A port that answers the kickstart is connected; when its connection ends the ports are asked anew.
func TestFCPortIsAskedAgainAfterALoss(t *testing.T) {
	there, refused := true, error(nil)
	prepare, kicks := fibre(&there, &refused)
	bubble(t, prepare, func(r *rig) {
		r.pass(20 * time.Second)
		r.connected(1)
		before := *kicks
		r.Drop(r.connections()[0].Name)
		synctest.Wait()
		if *kicks != before+1 {
			t.Errorf("%d kickstarts after a loss, want one", *kicks-before)
		}
		r.pass(20 * time.Second)
		r.connected(1)
	})
}

// A port that stays silent after a kickstart is no longer named. One that could not be asked is.
func TestFCSilenceCountsOnlyAfterAQuestion(t *testing.T) {
	for _, c := range []struct {
		name    string
		refused error
		named   bool
	}{
		{"asked", nil, false},
		{"not asked", errors.New("the worker has died"), true},
		{"no FC any more", kernel.ErrNoFC, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			there, refused := true, error(nil)
			prepare, _ := fibre(&there, &refused)
			bubble(t, prepare, func(r *rig) {
				r.pass(20 * time.Second)
				there, refused = false, c.refused
				r.AddTarget(tid.TID{Transport: nvme.FC, Traddr: fcTarget, HostTraddr: fcHost, NQN: nvme.DiscoveryNQN}, fake.Behaviour{Kind: tid.Discovery, Hang: true})
				r.Drop(r.connections()[0].Name)
				r.pass(20 * time.Second)
				if d := r.dcs()[fcTarget]; d.named != c.named {
					t.Errorf("named: %v, want %v; %+v", d.named, c.named, d)
				}
			})
		})
	}
}

// What an earlier run knew of the ports stays while they cannot be asked, or the question is long on its way.
func TestFCPortsAreRememberedUntilAsked(t *testing.T) {
	for _, late := range []bool{false, true} {
		there, refused := true, error(nil)
		prepare, _ := fibre(&there, &refused)
		bubble(t, func(r *rig) { prepare(r); r.dir = t.TempDir() }, func(r *rig) {
			r.pass(20 * time.Second)
			r.connected(1)
			ask := r.kickstart
			r.kickstart = func(ctx context.Context) error {
				if !late {
					return errors.New("the worker has died")
				}
				select {
				case <-time.After(time.Minute):
				case <-ctx.Done():
				}
				return ask(ctx)
			}
			r.Drop(r.connections()[0].Name)
			r.AddTarget(tid.TID{Transport: nvme.FC, Traddr: fcTarget, HostTraddr: fcHost, NQN: nvme.DiscoveryNQN}, fake.Behaviour{Kind: tid.Discovery, Errno: syscall.ETIMEDOUT})
			r.restart()
			r.pass(30 * time.Second)
			if d := r.dcs()[fcTarget]; !d.named || d.disposition != active {
				t.Errorf("late %v: %+v", late, d)
			}
		})
	}
}

// A port whose answer is among events that were lost is asked again before it counts as silent.
func TestFCAnswerThatWasLost(t *testing.T) {
	there, refused := true, error(nil)
	prepare, kicks := fibre(&there, &refused)
	lose := false
	bubble(t, func(r *rig) {
		prepare(r)
		ask := r.kickstart
		r.kickstart = func(ctx context.Context) error {
			if lose {
				lose = false
				r.LoseEvents(1)
				defer r.Overflow()
			}
			return ask(ctx)
		}
	}, func(r *rig) {
		r.pass(20 * time.Second)
		before := *kicks
		lose = true
		r.AddTarget(tid.TID{Transport: nvme.FC, Traddr: fcTarget, HostTraddr: fcHost, NQN: nvme.DiscoveryNQN}, fake.Behaviour{Kind: tid.Discovery, Errno: syscall.ETIMEDOUT})
		r.Drop(r.connections()[0].Name)
		r.pass(15 * time.Second)
		if d := r.dcs()[fcTarget]; !d.named || d.disposition != active {
			t.Errorf("%+v", d)
		}
		r.pass(10 * time.Minute)
		if d := r.dcs()[fcTarget]; !d.named || *kicks != before+2 {
			t.Errorf("%+v, %d kickstarts", d, *kicks-before)
		}
	})
}

// A connection that is lost right after it was made is made less and less often, though its port answers each time.
func TestFCConnectionThatComesAndGoes(t *testing.T) {
	there, refused := true, error(nil)
	prepare, _ := fibre(&there, &refused)
	bubble(t, func(r *rig) {
		prepare(r)
		r.made = func(c kernel.Connection) {
			if r.Stats().Connects < 1000 {
				time.AfterFunc(100*time.Millisecond, func() { r.Drop(kernel.Name(c.Instance)) })
			}
		}
	}, func(r *rig) {
		r.pass(5 * time.Minute)
		if n := r.Stats().Connects; n < 5 || n > 20 {
			t.Errorf("%d connects in five minutes", n)
		}
	})
}

// A question that could not be asked is asked again, without haste: a port that is just there announces itself to nobody.
func TestFCKickstartThatFailed(t *testing.T) {
	there, refused := true, errors.New("the worker could not be started")
	prepare, kicks := fibre(&there, &refused)
	bubble(t, func(r *rig) {
		prepare(r)
		ask := r.kickstart
		r.kickstart = func(ctx context.Context) (err error) {
			r.with(func() { err = ask(ctx) })
			return err
		}
	}, func(r *rig) {
		asked := func() (n int) {
			r.with(func() { n = *kicks })
			return n
		}
		r.pass(5*time.Minute + time.Second)
		if n := asked(); n < 2 || n > 6 {
			t.Errorf("%d kickstarts in five minutes", n)
		}
		r.with(func() { refused = nil })
		r.pass(2 * time.Minute)
		r.connected(1)
		before := asked()
		r.pass(time.Hour)
		if n := asked(); n != before {
			t.Errorf("%d kickstarts after one that was heard", n-before)
		}
	})
}

// A port that announced itself among events that were lost is asked for: nothing else would ever tell of it.
func TestFCAnnouncementThatWasLost(t *testing.T) {
	there, refused := false, error(nil)
	prepare, kicks := fibre(&there, &refused)
	bubble(t, prepare, func(r *rig) {
		r.pass(20 * time.Second)
		r.connected(0)
		there = true
		r.LoseEvents(1)
		r.FCEvent(fcTarget, fcHost)
		r.Overflow()
		r.pass(20 * time.Second)
		r.connected(1)
		before := *kicks
		for range 100 { // a storm of them asks no more often than ports may take to answer
			r.Overflow()
			r.pass(100 * time.Millisecond)
		}
		r.pass(20 * time.Second)
		if n := *kicks - before; n < 1 || n > 3 {
			t.Errorf("%d kickstarts in a storm of ten seconds", n)
		}
		r.connected(1)
	})
}

// Where there is no FC nothing is waited for: stafd says at once that this source has spoken.
func TestNoFCIsNotWaitedFor(t *testing.T) {
	there, refused := false, kernel.ErrNoFC
	prepare, kicks := fibre(&there, &refused)
	bubble(t, prepare, func(r *rig) {
		if pages, err := r.f.View().Pages(context.Background()); err != nil || len(pages) != 0 || *kicks != 1 {
			t.Errorf("%+v, %v after %d kickstarts", pages, err, *kicks)
		}
		refused, there = nil, true
		r.Overflow() // and with it the event that it has come
		r.pass(time.Second)
		r.connected(1)
	})
}
