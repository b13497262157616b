package finder

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

func announcedAt(traddr, iface string) Candidate {
	id := dcTID(traddr)
	id.HostIface = iface
	return Candidate{TID: id, Source: Source{Announced, "svc"}}
}

// A second connection of ours to what is connected already ends, also when its disconnect fails at first, and
// one of another owner does not.
func TestSpareConnectionEnds(t *testing.T) {
	bubble(t, configured(dc1), func(r *rig) {
		r.target(dc1, fake.Behaviour{DisconnectError: errors.New("it will not go")}, subsystem(0))
		first := r.dcs()[dc1].device
		spare := r.AddForeign(dcTID(dc1), testHost, Owner)
		other := r.AddForeign(dcTID(dc1), testHost, "discoverd")
		unowned := r.AddForeign(dcTID(dc1), testHost, "")
		r.pass(time.Minute)
		if n := r.said("cannot disconnect"); n < 3 || n > 12 {
			t.Errorf("%d attempts in a minute", n)
		}
		r.target(dc1, fake.Behaviour{}, subsystem(0))
		r.pass(2 * time.Minute)
		for name, stays := range map[string]bool{first: true, spare: false, other: true, unowned: true} {
			if _, err := r.Controller(name); (err == nil) != stays {
				t.Errorf("%s: %v; stays should be %v", name, err, stays)
			}
		}
		if d := r.dcs()[dc1]; d.device != first || !d.live {
			t.Errorf("the first connection serves no longer: %+v", d)
		}
	})
}

// A line that names no interface means, of the interfaces on which its controller was announced, the one over which it is connected.
func TestLineMeansWhatIsConnected(t *testing.T) {
	bubble(t, func(r *rig) {
		r.cfg.Zeroconf = true
		r.target(dc1, fake.Behaviour{}, subsystem(0))
	}, func(r *rig) {
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "eth0")}, true)
		r.pass(time.Minute)
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "eth1")}, true)
		r.pass(time.Minute)
		r.AddTarget(dcTID(dc1), fake.Behaviour{Kind: tid.Discovery, Errno: syscall.ECONNREFUSED})
		r.Drop("nvme0")
		r.pass(time.Second)
		r.configure(func(c *config.Staf) { c.Controllers = []config.Controller{controller(dc1)} })
		r.pass(time.Minute)
		list, err := r.f.View().DiscoveryControllers(context.Background(), nil)
		if err != nil || len(list) != 2 {
			t.Fatalf("%d controllers, %v", len(list), err)
		}
		for _, o := range list {
			if named := len(o.Origins) == 2; named != (o.Device == "nvme1") {
				t.Errorf("%q: %v of %v", o.Device, o.SessionState, o.Origins)
			}
		}
	})
}

// Before a spare one is ended the one that is preferred to it is looked at: it may be gone, and the event lost.
func TestSpareConnectionTakesThePlaceOfOneThatIsGone(t *testing.T) {
	bubble(t, configured(dc1), func(r *rig) {
		gone := r.dcs()[dc1].device
		r.LoseEvents(2)
		r.AddForeign(dcTID(dc1), testHost, Owner) // nobody is told of it
		r.LoseEvents(1)
		r.Drop(gone)
		for _, c := range r.connections() {
			r.Restore(c.Name) // and of this event everybody
		}
		r.pass(time.Second)
		r.connected(1)
		if s := r.Stats(); s.Disconnects != 0 || s.Connects != 1 {
			t.Errorf("%+v", s)
		}
		r.lists(dc1, subsystem(0))
	})
}

// A spare one that vanishes while it is looked at is nobody's business any more.
func TestSpareConnectionVanishesUnderTheLook(t *testing.T) {
	bubble(t, configured(dc1), func(r *rig) {
		first := r.dcs()[dc1].device
		looking := func(name string) {
			if name == first {
				return
			}
			// The loop is held up until its end and what was read of it wait side by side.
			gate := make(chan struct{})
			r.f.loop.Post(func() { <-gate })
			r.Drop(name)
			time.Sleep(time.Second)
			time.AfterFunc(time.Second, func() { close(gate) })
		}
		r.with(func() { r.looking = looking })
		r.AddForeign(dcTID(dc1), testHost, Owner)
		r.pass(time.Minute)
		r.connected(1)
		r.lists(dc1, subsystem(0))
		if s := r.Stats(); s.Disconnects != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A connection that is being ended does not make another one spare.
func TestConnectionThatEndsServesNoLonger(t *testing.T) {
	bubble(t, func(r *rig) {
		r.target(dc1, fake.Behaviour{DisconnectDelay: 5 * time.Second}, subsystem(0))
		r.cfg.Persistent = config.PersistNo
		r.cfg.Controllers = append(r.cfg.Controllers, controller(dc1))
	}, func(r *rig) {
		if n := len(r.connections()); n != 1 {
			t.Fatalf("%d connections", n)
		}
		r.configure(func(c *config.Staf) { c.Persistent = config.PersistHold })
		stays := r.AddForeign(announcedAt(dc1, "eth0").TID, testHost, Owner)
		r.pass(time.Minute)
		r.connected(1)
		if d := r.dcs()[dc1]; d.device != stays || !d.live {
			t.Errorf("%+v, want %s to serve", d, stays)
		}
	})
}

// An attempt that is inside the kernel while the announcement changes its detail makes the only connection.
func TestDetailChangesDuringConnect(t *testing.T) {
	for _, held := range []bool{false, true} {
		bubble(t, func(r *rig) {
			r.target(dc1, fake.Behaviour{ConnectDelay: 5 * time.Second}, subsystem(0))
			r.cfg.Zeroconf = true
		}, func(r *rig) {
			r.f.Report(Announced, []Candidate{announcedAt(dc1, "eth0")}, true)
			r.pass(time.Second)
			if held {
				r.HoldEvents()
			}
			r.f.Report(Announced, []Candidate{announcedAt(dc1, "")}, true)
			r.pass(time.Minute)
			r.ReleaseEvents(nil)
			r.pass(time.Minute)
			r.connected(1)
			r.lists(dc1, subsystem(0))
			if n := r.Stats().Connects; n != 1 {
				t.Errorf("%d connects (events held: %v)", n, held)
			}
		})
	}
}

// What was given up does not hold a connection: it ends, and one that is named again in other detail has one.
func TestGivenUpControllerLetsGo(t *testing.T) {
	bubble(t, func(r *rig) {
		r.target(dc1, fake.Behaviour{}, subsystem(0))
		r.cfg.Zeroconf, r.cfg.DCGiveUp = true, time.Minute
	}, func(r *rig) {
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "eth0")}, true)
		r.pass(time.Second)
		r.connected(1)
		r.Lose(r.dcs()[dc1].device)
		r.f.Report(Announced, nil, true)
		r.pass(5 * time.Minute)
		if d := r.dcs()[dc1]; d.disposition != forgotten || d.device != "" {
			t.Fatalf("not given up: %+v", d)
		}
		r.connected(0)
		r.configure(func(c *config.Staf) { c.Controllers = append(c.Controllers, controller(dc1)) })
		r.pass(time.Minute)
		r.connected(1)
	})
}

// A connection of ours from a life that nobody remembers ends once everybody who may name it has spoken.
func TestForgottenConnectionEnds(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.target(dc2, fake.Behaviour{}, subsystem(1))
		r.cfg.Zeroconf = true
		r.AddForeign(dcTID(dc2), testHost, Owner)
	}, func(r *rig) {
		r.pass(time.Hour)
		r.connected(2) // Avahi has not answered
		r.f.Report(Announced, nil, true)
		r.pass(time.Second)
		r.connected(1)
	})
	// The same with one that the last of the sources names.
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.target(dc2, fake.Behaviour{}, subsystem(1))
		r.cfg.Zeroconf = true
		r.AddForeign(dcTID(dc2), testHost, Owner)
	}, func(r *rig) {
		r.pass(time.Hour)
		r.f.Report(Announced, []Candidate{announcedAt(dc2, "")}, true)
		r.pass(time.Hour)
		r.connected(2)
		if s := r.Stats(); s.Disconnects != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A connection whose beginning and end were both missed is not believed in.
func TestPhantomConnection(t *testing.T) {
	bubble(t, func(r *rig) {
		r.target(dc1, fake.Behaviour{ConnectDelay: 5 * time.Second}, subsystem(0))
		r.cfg.Zeroconf, r.cfg.DCGiveUp = true, 0
	}, func(r *rig) {
		r.LoseEvents(100)
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "")}, true)
		r.pass(time.Second)
		r.f.Report(Announced, nil, true)
		r.pass(10 * time.Second)
		r.connected(0) // it was made for nothing, and ended
		r.Overflow()
		r.pass(10 * time.Second)
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "")}, true)
		r.pass(time.Minute)
		r.connected(1)
		d := r.dcs()[dc1]
		if _, err := r.Controller(d.device); err != nil || !d.live {
			t.Errorf("%+v: %v", d, err)
		}
	})
}

// exclude= drops what is ours also where nobody remembers it, and though Avahi is silent.
func TestForgottenConnectionIsExcluded(t *testing.T) {
	bubble(t, func(r *rig) {
		r.target(dc2, fake.Behaviour{}, subsystem(1))
		r.cfg.Zeroconf = true
		r.AddForeign(dcTID(dc2), testHost, Owner)
		r.AddForeign(dcTID(dc2), testHost, "discoverd")
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(2)
		r.configure(func(c *config.Staf) { c.Excludes = []config.Exclude{{Text: "traddr=" + dc2}} })
		r.pass(time.Second)
		r.connected(1)
	})
}

// exclude= ends before the connection is gone: what is named by nobody else goes by its retention, not by an
// order that was withdrawn.
func TestExclusionWithdrawn(t *testing.T) {
	bubble(t, func(r *rig) {
		r.target(dc1, fake.Behaviour{DisconnectError: errors.New("it will not go")}, subsystem(0))
		r.cfg.Zeroconf = true
	}, func(r *rig) {
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "")}, true)
		r.pass(time.Second)
		r.configure(func(c *config.Staf) { c.Excludes = []config.Exclude{{Text: "traddr=" + dc1}} })
		r.f.Report(Announced, nil, true)
		r.pass(time.Second)
		r.configure(func(c *config.Staf) { c.Excludes = nil })
		r.target(dc1, fake.Behaviour{}, subsystem(0))
		r.pass(time.Hour)
		r.connected(1)
	})
}

// A state file does not say that a controller is configured when it was last only announced.
func TestSourcesAreRemembered(t *testing.T) {
	bubble(t, func(r *rig) {
		r.dir = t.TempDir()
		r.target(dc1, fake.Behaviour{LogErrors: []error{errors.New("no"), errors.New("no"), errors.New("no"), errors.New("no")}})
		r.cfg.Zeroconf = true
	}, func(r *rig) {
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "eth0")}, true)
		r.f.Report(Announced, nil, true)
		r.configure(func(c *config.Staf) { c.Controllers = append(c.Controllers, controller(dc1)) })
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "")}, true)
		r.configure(func(c *config.Staf) { c.Controllers = nil })
		r.connected(1)
		r.restart()
		r.pass(time.Minute)
		r.connected(1) // Avahi has not answered yet
		if s := r.Stats(); s.Disconnects != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// An I/O controller of which the kind became known while it was looked at is none of our business: it is stacd's,
// which registers its connections under the same name.
func TestIOControllerIsNoSpare(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1, dc2)(r)
	}, func(r *rig) {
		r.with(func() { r.silent[dc2] = true })
		r.target(dc2, fake.Behaviour{Errno: syscall.ECONNREFUSED})
		r.Drop(r.dcs()[dc2].device) // something is wanted, so that one of unknown kind is told of
		r.pass(time.Second)
		io := tid.TID{Transport: nvme.TCP, Traddr: dc1, Trsvcid: "4420", NQN: "nqn.2026-01.test:io"}
		r.AddTarget(io, fake.Behaviour{Kind: tid.IO, ConnectDelay: 5 * time.Second})
		made := make(chan kernel.Connection)
		go func() {
			c, _ := r.Host.Connect(context.Background(), kernel.ConnectRequest{TID: io, Kind: tid.IO, Host: testHost})
			made <- c
		}()
		r.pass(time.Second)
		r.HoldEvents() // the one that it is connected is late
		name := kernel.Name((<-made).Instance)
		if o := r.Owner(name); !o.Is(Owner) {
			t.Fatalf("owner %s", o)
		}
		r.f.loop.Post(func() { r.f.inspect(name) }) // as the end of a scan does
		r.pass(time.Second)
		if err := r.f.View().Refresh(context.Background(), r.dcs()[dc1].key); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Minute)
		if _, err := r.Controller(name); err != nil || r.Stats().Disconnects != 0 {
			t.Errorf("%v, %+v", err, r.Stats())
		}
	})
}

// A connection of ours is worth more than another owner's, whichever is seen first: over that one the controller
// is not spoken to.
func TestOursServesBesideAnothers(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.AddForeign(dcTID(dc1), testHost, "discoverd")
		r.AddForeign(dcTID(dc1), testHost, Owner)
	}, func(r *rig) {
		r.pass(time.Hour)
		r.connected(2)
		if d := r.dcs()[dc1]; d.device != "nvme1" || r.Stats().Connects != 0 {
			t.Errorf("%+v, %+v", d, r.Stats())
		}
		r.lists(dc1, subsystem(0))
	})
}
