package finder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

const (
	dc1 = "10.0.0.1"
	dc2 = "10.0.0.2"
	dc3 = "10.0.0.3"
)

// configured prepares a rig with controllers that list one subsystem each.
func configured(addresses ...string) func(*rig) {
	return func(r *rig) {
		for n, a := range addresses {
			r.target(a, fake.Behaviour{}, subsystem(n))
			r.cfg.Controllers = append(r.cfg.Controllers, controller(a))
		}
	}
}

func TestSessionReadsAndFollows(t *testing.T) {
	bubble(t, configured(dc1), func(r *rig) {
		r.lists(dc1, subsystem(0))
		r.connected(1)
		name := r.dcs()[dc1].device
		if n := r.LogReads(name); n != 1 {
			t.Errorf("%d reads after the connect, want 1", n)
		}
		if o := r.Owner(name); !o.Is(Owner) {
			t.Errorf("owner %s", o)
		}
		r.SetLog(dcTID(dc1), log(subsystem(0), subsystem(1)))
		synctest.Wait()
		r.lists(dc1, subsystem(0), subsystem(1))
		if n := r.LogReads(name); n != 2 {
			t.Errorf("%d reads after one event, want 2", n)
		}
		if r.signals != 2 {
			t.Errorf("%d signals, want 2", r.signals)
		}
		r.RaiseAEN(name) // a change that changes nothing is told to nobody
		synctest.Wait()
		if r.LogReads(name) != 3 || r.signals != 2 {
			t.Errorf("%d reads, %d signals", r.LogReads(name), r.signals)
		}
	})
}

// Row 18: an event during a read causes exactly one more read, however many there are.
func TestEventDuringRead(t *testing.T) {
	for _, events := range []int{0, 1, 5, 1000} {
		bubble(t, func(r *rig) {
			configured(dc1)(r)
			r.target(dc1, fake.Behaviour{LogDelay: time.Second}, subsystem(0))
		}, func(r *rig) {
			r.pass(500 * time.Millisecond)
			name := r.connections()[0].Name
			for range events {
				r.RaiseAEN(name)
				synctest.Wait()
			}
			r.pass(10 * time.Second)
			want := 1
			if events > 0 {
				want = 2
			}
			if n := r.LogReads(name); n != want {
				t.Errorf("%d reads for %d events during the first, want %d", n, events, want)
			}
		})
	}
}

// Rows 2, 3 and 19: a connection that goes takes no knowledge with it; a new one starts the
// session over.
func TestKernelRemoval(t *testing.T) {
	bubble(t, configured(dc1), func(r *rig) {
		r.pass(5 * time.Minute)
		r.with(func() { r.silent[dc1] = true })
		r.Drop(r.dcs()[dc1].device)
		r.pass(time.Hour)
		r.connected(0)
		r.lists(dc1, subsystem(0))
		r.SetLogQuietly(dcTID(dc1), log(subsystem(7)))
		r.with(func() { r.silent[dc1] = false })
		r.f.Kick()
		r.pass(3 * time.Second)
		r.lists(dc1, subsystem(7))
	})
}

// Row 19: what changed while the kernel reconnected is read when it is back.
func TestKernelReconnect(t *testing.T) {
	bubble(t, configured(dc1), func(r *rig) {
		name := r.dcs()[dc1].device
		r.Lose(name)
		r.SetLogQuietly(dcTID(dc1), log(subsystem(3)))
		r.pass(time.Minute)
		r.lists(dc1, subsystem(0))
		r.Restore(name)
		synctest.Wait()
		r.lists(dc1, subsystem(3))
		if n := r.LogReads(name); n > 3 {
			t.Errorf("%d reads", n)
		}
		if s := r.Stats(); s.Connects != 1 {
			t.Errorf("%d connects; the kernel reconnected by itself", s.Connects)
		}
	})
}

// A step that hangs in a connection that is gone holds the next connection up for nothing.
func TestHungReadIsGivenUpWithItsConnection(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.target(dc1, fake.Behaviour{LogHang: true}, subsystem(0))
	}, func(r *rig) {
		r.pass(2 * time.Minute)
		r.target(dc1, fake.Behaviour{}, subsystem(5))
		r.Drop(r.connections()[0].Name)
		r.pass(3 * time.Second)
		r.lists(dc1, subsystem(5))
	})
}

// Row 57, 58: registration comes before the read; one that fails is tried again and blocks nothing.
func TestRegistration(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1, dc2)(r)
		r.target(dc1, fake.Behaviour{DCType: nvme.DCTypeCDC}, subsystem(0))
		r.target(dc2, fake.Behaviour{DCType: nvme.DCTypeDDC, RegisterErrors: []error{errors.New("invalid field"), errors.New("invalid field")}}, subsystem(1))
		r.id.SymName = "one"
	}, func(r *rig) {
		r.lists(dc2, subsystem(1))
		name1, name2 := r.dcs()[dc1].device, r.dcs()[dc2].device
		if len(r.Registered(name1)) != 1 || len(r.Registered(name2)) != 0 {
			t.Errorf("registered %d and %d times", len(r.Registered(name1)), len(r.Registered(name2)))
		}
		r.pass(10 * time.Second)
		if len(r.Registered(name2)) != 1 {
			t.Error("a registration that failed was not repeated")
		}
		// Row 92: another symbolic name is registered, with the same connection.
		r.id.SymName = "two"
		r.configure(func(*config.Staf) {})
		if n := len(r.Registered(name1)); n != 2 {
			t.Errorf("registered %d times after the symbolic name has changed", n)
		}
		r.configure(func(*config.Staf) {})
		if n := len(r.Registered(name1)); n != 2 {
			t.Errorf("registered %d times though nothing has changed", n)
		}
		// Again on every reconnect.
		r.Lose(name1)
		r.Restore(name1)
		synctest.Wait()
		if n := len(r.Registered(name1)); n != 3 {
			t.Errorf("registered %d times after a reconnect", n)
		}
	})
}

// A file that gives its controllers a host of their own may give that one a symbolic name, too.
func TestRegistrationOfAnotherHost(t *testing.T) {
	other := tid.Host{NQN: "nqn.2014-08.org.nvmexpress:uuid:99999999-2222-3333-4444-555555555555", ID: "99999999-2222-3333-4444-555555555555"}
	bubble(t, func(r *rig) {
		configured(dc1, dc2)(r)
		for _, a := range []string{dc1, dc2} {
			r.target(a, fake.Behaviour{DCType: nvme.DCTypeCDC}, subsystem(0))
		}
		r.id.SymName = "system"
		r.cfg.Controllers[1].Scope = &config.Scope{Host: other, SymName: "persona"}
	}, func(r *rig) {
		registered := func(dc string, want ...string) {
			t.Helper()
			var names []string
			for _, b := range r.Registered(r.dcs()[dc].device) {
				d, err := nvme.DecodeDIM(b)
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, d.Entries[0].SymbolicName)
			}
			if !slices.Equal(names, want) {
				t.Errorf("%s: registered as %q, want %q", dc, names, want)
			}
		}
		registered(dc1, "system")
		registered(dc2, "persona")
		// Each hears only of its own.
		r.id.SymName = "system two"
		r.configure(func(*config.Staf) {})
		registered(dc1, "system", "system two")
		registered(dc2, "persona")
		r.configure(func(c *config.Staf) { c.Controllers[1].Scope = &config.Scope{Host: other} })
		registered(dc1, "system", "system two")
		registered(dc2, "persona", "system two")
	})
}

// Decision 26: the first page of a connection that is empty where the last one was not is believed
// only after a while; an empty page in a running session is believed at once.
func TestHoldDown(t *testing.T) {
	bubble(t, configured(dc1), func(r *rig) {
		r.SetLog(dcTID(dc1), log())
		synctest.Wait()
		r.lists(dc1)
	})
	bubble(t, configured(dc1), func(r *rig) {
		r.SetLogQuietly(dcTID(dc1), log())
		name := r.dcs()[dc1].device
		r.Lose(name)
		r.Restore(name)
		r.pass(20 * time.Second)
		r.lists(dc1, subsystem(0))
		r.SetLog(dcTID(dc1), log(subsystem(0), subsystem(1))) // it has found its memory
		synctest.Wait()
		r.lists(dc1, subsystem(0), subsystem(1))
	})
	bubble(t, configured(dc1), func(r *rig) {
		r.SetLogQuietly(dcTID(dc1), log())
		name := r.dcs()[dc1].device
		r.Lose(name)
		r.Restore(name)
		r.pass(29 * time.Second)
		r.lists(dc1, subsystem(0))
		r.pass(2 * time.Second)
		r.lists(dc1)
	})
	// Also where the connection is not held.
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.cfg.Persistent = config.PersistNo
	}, func(r *rig) {
		r.lists(dc1, subsystem(0))
		r.connected(0)
		r.SetLogQuietly(dcTID(dc1), log())
		r.pass(15*time.Minute + 20*time.Second)
		r.lists(dc1, subsystem(0))
		r.pass(20 * time.Second)
		r.lists(dc1)
		r.connected(0)
	})
}

// Rows 53, 54; TC-75: a controller that is not held is parked, polled and left alone meanwhile.
func TestParkAndPoll(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy config.Persistence
		flags  nvme.EFlags
		held   bool
	}{
		{"force", config.PersistHold, 0, true}, {"no", config.PersistNo, nvme.EPCSD, false},
		{"auto without EPCSD", config.PersistAuto, 0, false}, {"auto with EPCSD", config.PersistAuto, nvme.EPCSD, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.target(dc1, fake.Behaviour{}, selfEntry(dc1, tt.flags), subsystem(0))
				c := controller(dc1)
				c.Persistent = tt.policy
				r.cfg.Controllers = append(r.cfg.Controllers, c)
			}, func(r *rig) {
				r.pass(time.Minute)
				if n := len(r.connections()); (n == 1) != tt.held {
					t.Errorf("%d connections a minute later", n)
				}
				if tt.held {
					return
				}
				r.lists(dc1, selfEntry(dc1, tt.flags), subsystem(0))
				r.SetLogQuietly(dcTID(dc1), log(selfEntry(dc1, tt.flags), subsystem(1)))
				r.pass(10 * time.Minute)
				if s := r.Stats(); s.Connects != 1 || s.LogReads != 1 {
					t.Errorf("%d connects, %d reads while it is parked", s.Connects, s.LogReads)
				}
				r.pass(5 * time.Minute)
				r.lists(dc1, selfEntry(dc1, tt.flags), subsystem(1))
				r.connected(0)
			})
		})
	}
}

// A parked controller whose disconnect fails is let go of later, without haste.
func TestParkRepeatsItsDisconnect(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.target(dc1, fake.Behaviour{DisconnectError: errors.New("busy")}, subsystem(0))
		r.cfg.Persistent = config.PersistNo
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(1)
		if n := r.said("cannot disconnect"); n < 3 || n > 12 {
			t.Errorf("%d attempts in a minute", n)
		}
		r.target(dc1, fake.Behaviour{}, subsystem(0))
		r.pass(2 * time.Minute)
		r.connected(0)
	})
}

// A controller that is parked is held as soon as its line says so.
func TestParkedUntilItsLineHolds(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.cfg.Controllers[0].Persistent = config.PersistNo
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(0)
		r.configure(func(c *config.Staf) { c.Controllers[0].Persistent = config.PersistHold })
		r.pass(10 * time.Second)
		r.connected(1)
	})
}

// The timer that is shown for a controller that was announced runs while its retention does.
func TestUnresponsiveTimerIsShown(t *testing.T) {
	bubble(t, func(r *rig) { r.cfg.Zeroconf, r.cfg.DCGiveUp = true, time.Hour }, func(r *rig) {
		shown := func(want string) {
			t.Helper()
			list, err := r.f.View().Controllers(context.Background(), true)
			if err != nil || len(list) != 1 {
				t.Fatalf("%d controllers, %v", len(list), err)
			}
			if n := slices.IndexFunc(list[0].Info, func(f bus.Field) bool { return f.Name == "unresponsive timer" }); n < 0 || list[0].Info[n].Value != want {
				t.Errorf("%v, want %q", list[0].Info, want)
			}
		}
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "eth0")}, true)
		synctest.Wait()
		shown("3600.0s [off]")
		r.f.Report(Announced, nil, true)
		synctest.Wait()
		r.pass(10 * time.Minute)
		shown("3600.0s [3000.0s]")
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "eth0")}, true)
		synctest.Wait()
		shown("3600.0s [off]")
	})
}

// Row 86: exclude= drops a live connection of ours at once, and a foreign one never.
func TestExcludeDropsWhatIsOurs(t *testing.T) {
	bubble(t, configured(dc1, dc2), func(r *rig) {
		r.SetOwner(r.dcs()[dc2].device, registry.OwnedBy(registry.Discoverd))
		r.configure(func(c *config.Staf) {
			c.Excludes = []config.Exclude{{Text: "traddr=" + dc1}, {Text: "transport=tcp;traddr=" + dc2}}
		})
		r.pass(time.Second)
		r.connected(1)
		if _, known := r.dcs()[dc1]; known {
			t.Error("an excluded controller is still known")
		}
		if r.connections()[0].Traddr != dc2 {
			t.Error("another owner's connection was ended")
		}
		r.configure(func(c *config.Staf) { c.Excludes = nil })
		r.pass(time.Second)
		r.lists(dc1, subsystem(0))
	})
}

// Decision 25, TC-53, TC-54: the host-wide list freezes a live controller: its page neither adds nor removes;
// once it drops it is not made again, until the entry goes.
func TestHostWideExclusionFreezes(t *testing.T) {
	bubble(t, configured(dc1, dc2), func(r *rig) {
		r.target(dc3, fake.Behaviour{}, subsystem(9))
		r.SetLog(dcTID(dc1), log(subsystem(0), referral(dc3)))
		r.pass(time.Second)
		r.connected(3)
		r.with(func() { r.excluded[dc1] = true })
		r.f.Recheck()
		synctest.Wait()
		if s := r.dcs()[dc1]; s.disposition != frozen || !s.live {
			t.Errorf("%+v", s)
		}
		if s := r.dcs()[dc3]; !s.named {
			t.Error("what a frozen page names is not named any more")
		}
		reads := r.LogReads(r.dcs()[dc1].device)
		r.SetLog(dcTID(dc1), log(subsystem(4), referral("10.0.0.4")))
		r.pass(time.Hour)
		if n := r.LogReads(r.dcs()[dc1].device); n != reads {
			t.Errorf("%d reads of the page of an excluded controller", n-reads)
		}
		if _, known := r.dcs()["10.0.0.4"]; known {
			t.Error("a frozen page adds")
		}
		r.Drop(r.dcs()[dc1].device)
		r.pass(time.Hour)
		r.connected(2)
		r.lists(dc1, subsystem(0), referral(dc3))
		r.with(func() { r.excluded[dc1] = false })
		r.f.Recheck()
		r.pass(time.Second)
		r.lists(dc1, subsystem(4), referral("10.0.0.4"))
	})
}

// An entry that is added between two attempts stops the next one (TC-50), also when nobody told.
func TestHostWideExclusionStopsRetries(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.target(dc1, fake.Behaviour{Errno: 5}, subsystem(0))
	}, func(r *rig) {
		r.pass(10 * time.Second)
		n := r.Stats().Connects
		if n < 3 {
			t.Fatalf("%d attempts", n)
		}
		r.with(func() { r.excluded[dc1] = true })
		r.pass(time.Hour)
		if got := r.Stats().Connects; got != n {
			t.Errorf("%d attempts after the exclusion", got-n)
		}
	})
}

// Rows 10, 12, 13; TC-20 to TC-22: ours is adopted, an unowned one claimed, another's left alone.
func TestOwnership(t *testing.T) {
	for owner, connects := range map[string]int{"stas": 0, "": 0, "discoverd": 0, "nbft": 0} {
		bubble(t, func(r *rig) {
			configured(dc1)(r)
			r.AddForeign(dcTID(dc1), testHost, owner)
		}, func(r *rig) {
			r.pass(time.Hour)
			if s := r.Stats(); s.Connects != connects {
				t.Errorf("%q: %d connects", owner, s.Connects)
			}
			foreign := owner == "discoverd" || owner == "nbft"
			if o := r.Owner("nvme0"); o.Is(Owner) == foreign {
				t.Errorf("%q: owner is now %s", owner, o)
			}
			if read := r.LogReads("nvme0") > 0; read == foreign {
				t.Errorf("%q: read %v", owner, read)
			}
			r.configure(func(c *config.Staf) { c.Controllers = nil })
			r.pass(time.Minute)
			if there := len(r.connections()) == 1; there != foreign {
				t.Errorf("%q: still there %v after the line went", owner, there)
			}
			if !foreign {
				return
			}
			r.configure(func(c *config.Staf) { c.Controllers = []config.Controller{controller(dc1)} })
			r.Drop("nvme0") // gone for good: whoever comes first has it now
			r.pass(time.Minute)
			r.lists(dc1, subsystem(0))
		})
	}
}

// A finder that is started anew looks first: the kernel would connect what is there a second time.
func TestLooksBeforeItConnects(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.AddForeign(dcTID(dc1), testHost, "stas")
		r.late = 5 * time.Second
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(1)
		r.lists(dc1, subsystem(0))
		if n := r.Stats().Connects; n != 0 {
			t.Errorf("%d connects", n)
		}
	})
}

// TC-27: an owner that cannot be told is not ours.
func TestUnreadableOwner(t *testing.T) {
	bubble(t, configured(dc1), func(r *rig) {
		r.SetOwner("nvme0", registry.UnknownOwner(errors.New("EIO")))
		r.configure(func(c *config.Staf) { c.Controllers = nil })
		r.pass(time.Hour)
		r.connected(1)
		if r.said("cannot disconnect") > 0 {
			t.Error("it was tried")
		}
	})
}

// A registry that cannot be written costs no connection, and each is registered soon after it can be again.
func TestRegistryFull(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.FailRegistry(syscall.ENOSPC)
	}, func(r *rig) {
		r.pass(time.Hour)
		r.connected(1)
		r.lists(dc1, subsystem(0))
		if o := r.Owner("nvme0"); o.Kind() != registry.KindNone {
			t.Fatalf("owner %s", o)
		}
		if n := r.said("cannot register"); n != 1 {
			t.Errorf("said %d times", n)
		}
		r.FailRegistry(nil)
		r.pass(claimAgain)
		if o := r.Owner("nvme0"); !o.Is(Owner) {
			t.Errorf("owner %s", o)
		}
	})
}

// TC-34 and decision 5: a configuration that could not be read in full takes nothing away, and
// what it does not name is tended as before.
func TestIncompleteConfiguration(t *testing.T) {
	bubble(t, configured(dc1, dc2), func(r *rig) {
		r.configure(func(c *config.Staf) { c.Controllers, c.Incomplete = c.Controllers[:1], true })
		r.pass(time.Hour)
		r.connected(2)
		r.SetLog(dcTID(dc2), log(subsystem(8)))
		r.pass(time.Second)
		r.lists(dc2, subsystem(8))
		r.Drop(r.dcs()[dc2].device)
		r.pass(time.Minute)
		r.connected(2)
		r.configure(func(c *config.Staf) { c.Incomplete = false })
		r.pass(time.Minute)
		r.connected(1)
		if !slices.Equal(r.removed[len(r.removed)-1:], r.removed[len(r.removed)-1:]) || r.dcRemoved == 0 {
			t.Error("dc_removed was not told")
		}
	})
}

// Row W2: names that fail to resolve take nothing away, at run time or after a restart; an answer
// that still holds the address moves nothing, another one does.
func TestHostNames(t *testing.T) {
	bubble(t, func(r *rig) {
		r.dir = t.TempDir()
		r.target(dc1, fake.Behaviour{}, subsystem(0))
		r.target(dc2, fake.Behaviour{}, subsystem(1))
		r.names["dc.example"] = []string{dc1}
		r.cfg.Controllers = []config.Controller{controller("dc.example")}
	}, func(r *rig) {
		r.lists(dc1, subsystem(0))
		r.with(func() { r.names["dc.example"] = nil })
		r.pass(time.Hour)
		r.connected(1)
		if n := r.said("cannot look up"); n != 1 {
			t.Errorf("an hour without name service is told %d times", n)
		}
		r.restart()
		r.pass(time.Hour)
		r.connected(1)
		r.lists(dc1, subsystem(0))
		r.with(func() { r.names["dc.example"] = []string{dc2, dc1} })
		r.pass(10 * time.Second)
		r.with(func() { r.names["dc.example"] = []string{dc1, dc2} })
		r.pass(11 * time.Minute)
		connects := r.Stats().Connects
		r.with(func() { r.names["dc.example"] = []string{dc2, dc1} })
		r.pass(time.Hour)
		if n := r.Stats().Connects; n != connects {
			t.Errorf("%d connects because a name server rotates its answers", n-connects)
		}
		r.with(func() { r.names["dc.example"] = []string{dc2} })
		r.pass(11 * time.Minute)
		r.lists(dc2, subsystem(1))
		r.connected(1)
	})
}

// What the configuration may name is connected and followed as if it were named: a name that cannot be looked
// up after a restart costs neither the parameters of its line nor what the controller refers to.
func TestMayBeConfiguredIsNamed(t *testing.T) {
	bubble(t, func(r *rig) {
		r.dir = t.TempDir()
		r.target(dc1, fake.Behaviour{}, referral(dc2))
		r.target(dc2, fake.Behaviour{}, subsystem(1))
		r.names["dc.example"] = []string{dc1}
		c := controller("dc.example")
		c.Params.KeepAliveTmo = tid.SetInt(17)
		r.cfg.Controllers, r.cfg.DCGiveUp = []config.Controller{c}, 0
	}, func(r *rig) {
		r.lists(dc2, subsystem(1))
		r.with(func() { r.names["dc.example"] = nil })
		r.Drop(r.dcs()[dc1].device)
		r.restart()
		r.pass(time.Minute)
		r.connected(2)
		made, _ := loop.Ask(context.Background(), r.f.loop, func() *tid.Params { return r.f.bound[r.f.places[placeOf(dcTID(dc1))][0].device.Name].object.made })
		if made == nil || made.KeepAliveTmo != tid.SetInt(17) {
			t.Errorf("connected with %+v", made)
		}
		r.target(dc2, fake.Behaviour{Errno: syscall.ECONNREFUSED})
		r.Drop(r.dcs()[dc2].device)
		r.pass(time.Minute)
		if d := r.dcs()[dc2]; !d.named || d.disposition != active {
			t.Errorf("referred to: %+v", d)
		}
	})
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.target(dc1, fake.Behaviour{}, referral(dc2))
		r.target(dc2, fake.Behaviour{}, subsystem(1))
	}, func(r *rig) {
		r.lists(dc2, subsystem(1))
		r.configure(func(c *config.Staf) { c.Controllers, c.Incomplete = nil, true })
		if d := r.dcs()[dc2]; !d.named {
			t.Errorf("referred to, with an incomplete configuration: %+v", d)
		}
	})
}

// A host name that has addresses, but none of a family that may be connected to, leaves nothing to be kept.
func TestHostNameOfAnotherFamily(t *testing.T) {
	for _, line := range []string{dc1, "dc.example"} {
		bubble(t, func(r *rig) {
			r.target(dc1, fake.Behaviour{}, subsystem(0))
			r.names["dc.example"] = []string{dc1}
			r.cfg.Controllers = []config.Controller{controller(line)}
		}, func(r *rig) {
			r.lists(dc1, subsystem(0))
			r.configure(func(c *config.Staf) { c.Families = config.Families{V6: true} })
			r.pass(time.Hour)
			r.connected(0)
		})
	}
}

// Rows 28, 40, D-7, TC-70: referrals are followed to any depth; rings and self-entries end; a ring
// that nobody refers to any more does not keep itself.
func TestReferrals(t *testing.T) {
	ring := []string{"10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.5"}
	bubble(t, func(r *rig) {
		for n, a := range ring {
			r.target(a, fake.Behaviour{}, selfEntry(a, 0), referral(ring[(n+1)%len(ring)]), referral(a), subsystem(n))
		}
		r.target(dc1, fake.Behaviour{}, referral(ring[0]))
		r.cfg.Controllers = []config.Controller{controller(dc1)}
		r.cfg.DCGiveUp = time.Hour
	}, func(r *rig) {
		r.pass(10 * time.Second)
		r.connected(6)
		if s := r.Stats(); s.Connects != 6 || s.LogReads != 6 {
			t.Errorf("%d connects, %d reads for six controllers", s.Connects, s.LogReads)
		}
		if o := r.dcs()[ring[3]].origin; o != "referral" {
			t.Errorf("origin %s", o)
		}
		r.configure(func(c *config.Staf) { c.Controllers = nil })
		r.pass(time.Second)
		r.connected(5)
		for _, a := range ring {
			if s := r.dcs()[a]; s.named || !s.live {
				t.Errorf("%s: %+v", a, s)
			}
		}
		// They stay as long as they are connected; then they are given up (D-2).
		r.pass(100 * time.Hour)
		r.connected(5)
		for _, a := range ring {
			r.with(func() { r.silent[a] = true })
			r.Drop(r.dcs()[a].device)
		}
		r.pass(59 * time.Minute)
		if s := r.dcs()[ring[0]]; s.disposition != active {
			t.Errorf("given up early: %+v", s)
		}
		r.pass(2 * time.Minute)
		for _, a := range ring {
			if s := r.dcs()[a]; s.disposition != forgotten {
				t.Errorf("%s: %+v", a, s)
			}
		}
		if s := r.Stats(); s.Disconnects != 1 {
			t.Errorf("%d disconnects, want the one of the configured controller", s.Disconnects)
		}
	})
}

// A parent that cannot be reached says nothing: what it referred to stays named (D-4).
func TestUnreachableParentKeepsReferrals(t *testing.T) {
	bubble(t, func(r *rig) {
		r.target(dc1, fake.Behaviour{}, referral(dc2))
		r.target(dc2, fake.Behaviour{}, subsystem(1))
		r.cfg.Controllers = []config.Controller{controller(dc1)}
		r.cfg.DCGiveUp = 0
	}, func(r *rig) {
		r.connected(2)
		r.pass(10 * time.Second)
		r.with(func() { r.silent[dc1] = true })
		r.Drop(r.dcs()[dc1].device)
		r.pass(100 * time.Hour)
		if s := r.dcs()[dc2]; !s.named || !s.live {
			t.Errorf("%+v", s)
		}
		// The page no longer refers to it: at once gone, once it is not connected.
		r.with(func() { r.silent[dc1] = false })
		r.SetLogQuietly(dcTID(dc1), log(subsystem(7)))
		r.f.Kick()
		r.pass(3 * time.Second)
		if s := r.dcs()[dc2]; s.named || !s.live {
			t.Errorf("%+v", s)
		}
		r.Drop(r.dcs()[dc2].device)
		r.pass(time.Second)
		if s := r.dcs()[dc2]; s.disposition != forgotten || s.live {
			t.Errorf("%+v", s)
		}
	})
}

// TC-68, TC-71: retention of announced controllers; configured ones are retried for ever.
func TestRetention(t *testing.T) {
	announce := func(r *rig, addresses ...string) {
		var list []Candidate
		for _, a := range addresses {
			t := dcTID(a)
			t.HostNQN = ""
			list = append(list, Candidate{TID: t, Source: Source{Announced, "svc"}})
		}
		r.f.Report(Announced, list, true)
		synctest.Wait()
	}
	bubble(t, func(r *rig) {
		r.target(dc1, fake.Behaviour{}, subsystem(0))
		configured(dc2)(r)
	}, func(r *rig) {
		announce(r, dc1)
		r.lists(dc1, subsystem(0))
		announce(r)
		r.pass(100 * time.Hour)
		if s := r.dcs()[dc1]; !s.live || s.named {
			t.Errorf("connected and no longer announced: %+v", s)
		}
		r.with(func() { r.silent[dc1], r.silent[dc2] = true, true })
		r.Drop(r.dcs()[dc1].device)
		r.Drop(r.dcs()[dc2].device)
		r.pass(71 * time.Hour)
		announce(r, dc1) // back in time
		announce(r)
		r.pass(71 * time.Hour)
		if s := r.dcs()[dc1]; s.disposition != active {
			t.Errorf("the announcement did not start the time anew: %+v", s)
		}
		r.pass(2 * time.Hour)
		if s := r.dcs()[dc1]; s.disposition != forgotten {
			t.Errorf("%+v", s)
		}
		r.with(func() { r.silent[dc1], r.silent[dc2] = false, false })
		r.pass(24 * time.Hour)
		if s := r.dcs()[dc1]; s.live {
			t.Error("a forgotten controller was connected")
		}
		r.lists(dc2, subsystem(0))
		announce(r, dc1)
		r.pass(time.Second)
		if s := r.dcs()[dc1]; s.disposition != active || !s.live {
			t.Errorf("announced again: %+v", s)
		}
	})
	for _, giveUp := range []time.Duration{0, config.Forever} { // TC-69
		bubble(t, func(r *rig) {
			r.target(dc1, fake.Behaviour{}, subsystem(0))
			r.cfg.DCGiveUp = giveUp
		}, func(r *rig) {
			announce(r, dc1)
			announce(r)
			r.connected(1)
			r.with(func() { r.silent[dc1] = true })
			r.Drop("nvme0")
			r.pass(time.Second)
			if s := r.dcs()[dc1]; (s.disposition == forgotten) != (giveUp == 0) {
				t.Errorf("%s: %+v", giveUp, s)
			}
			r.pass(200 * time.Hour)
			if s := r.dcs()[dc1]; (s.disposition == forgotten) != (giveUp == 0) {
				t.Errorf("%s: %+v", giveUp, s)
			}
		})
	}
	// A shorter time counts at once after a reload, and from when it was gone.
	bubble(t, func(r *rig) { r.target(dc1, fake.Behaviour{}, subsystem(0)) }, func(r *rig) {
		announce(r, dc1)
		announce(r)
		r.pass(10 * time.Second)
		r.with(func() { r.silent[dc1] = true })
		r.Drop("nvme0")
		r.pass(2 * time.Hour)
		r.configure(func(c *config.Staf) { c.DCGiveUp = time.Hour })
		r.pass(time.Second)
		if s := r.dcs()[dc1]; s.disposition != forgotten {
			t.Errorf("%+v", s)
		}
	})
}

// W15: a controller that two sources know is one, with both origins, and stays while one holds.
func TestTwoSourcesOneSession(t *testing.T) {
	bubble(t, configured(dc1), func(r *rig) {
		id := dcTID(dc1)
		id.HostIface = "eth0"
		r.f.Report(Announced, []Candidate{{TID: id, Source: Source{Announced, "svc"}}}, true)
		r.pass(time.Minute)
		r.connected(1)
		if n := len(r.dcs()); n != 1 {
			t.Errorf("%d controllers", n)
		}
		r.configure(func(c *config.Staf) { c.Controllers = nil })
		r.pass(time.Minute)
		if s := r.dcs()[dc1]; s.origin != "mdns" || !s.live || r.Stats().Connects != 1 {
			t.Errorf("%+v, %d connects", s, r.Stats().Connects)
		}
	})
}

// A connection that is gone before any event shows it is made again.
func TestGoneBeforeItWasSeen(t *testing.T) {
	bubble(t, configured(dc1), func(r *rig) {
		for range 3 {
			r.pass(100 * time.Millisecond)
			if all := r.connections(); len(all) == 1 {
				r.LoseEvents(100)
				r.Drop(all[0].Name)
				r.Overflow()
			}
			r.pass(5 * time.Second)
		}
		r.ReleaseEvents(nil)
		r.pass(time.Minute)
		r.connected(1)
		r.lists(dc1, subsystem(0))
	})
}

// Row 17: what is no longer wanted while it is being connected is gone afterwards.
func TestRemovedDuringConnect(t *testing.T) {
	for delay := range 8 {
		bubble(t, func(r *rig) {
			configured(dc1)(r)
			r.target(dc1, fake.Behaviour{ConnectDelay: 10 * time.Second}, subsystem(0))
		}, func(r *rig) {
			if delay%2 == 1 {
				r.HoldEvents()
			}
			r.pass(time.Duration(delay) * 1500 * time.Millisecond)
			r.configure(func(c *config.Staf) { c.Controllers = nil })
			r.pass(30 * time.Second)
			r.ReleaseEvents(nil)
			r.pass(time.Minute)
			r.connected(0)
			if n := len(r.dcs()); n != 0 {
				t.Errorf("%d controllers are known", n)
			}
		})
	}
}

// A disconnect that fails is repeated, and not in a tight loop.
func TestRemovalIsRepeated(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.target(dc1, fake.Behaviour{DisconnectError: errors.New("no")}, subsystem(0))
	}, func(r *rig) {
		r.configure(func(c *config.Staf) { c.Controllers = nil })
		r.pass(time.Minute)
		if n := r.said("cannot disconnect"); n < 3 || n > 12 {
			t.Errorf("%d attempts in a minute", n)
		}
		r.target(dc1, fake.Behaviour{}, subsystem(0))
		r.pass(2 * time.Minute)
		r.connected(0)
		if n := len(r.dcs()); n != 0 {
			t.Errorf("%d controllers", n)
		}
	})
	// The event of its end is lost: it is noticed all the same.
	bubble(t, configured(dc1), func(r *rig) {
		r.LoseEvents(1)
		r.configure(func(c *config.Staf) { c.Controllers = nil })
		r.pass(time.Minute)
		if n := len(r.dcs()); n != 0 || len(r.connections()) != 0 {
			t.Errorf("%d controllers, %d connections", n, len(r.connections()))
		}
	})
}

// Events that are lost or shuffled cost nothing in the end (row 7, promise 3).
func TestOverflow(t *testing.T) {
	bubble(t, configured(dc1, dc2), func(r *rig) {
		r.HoldEvents()
		r.Drop(r.dcs()[dc1].device)
		r.SetLog(dcTID(dc2), log(subsystem(6)))
		r.ReleaseEvents(nil)
		r.Overflow()
		r.pass(5 * time.Second)
		r.connected(2)
		r.lists(dc1, subsystem(0))
		r.pass(15 * time.Minute) // the event is lost; the safety net reads all the same
		r.lists(dc2, subsystem(6))
	})
}

// A page with records that make no sense takes nothing away.
func TestIncompletePage(t *testing.T) {
	bubble(t, configured(dc1), func(r *rig) {
		r.SetLog(dcTID(dc1), &nvme.DiscoveryLog{GenCtr: 900, NumRec: 2, Dropped: 1, Entries: []nvme.DiscoveryEntry{subsystem(5)},
			DropReasons: []nvme.DroppedEntry{{Index: 1, Reason: errors.New("nonsense")}}})
		synctest.Wait()
		r.lists(dc1, subsystem(5), subsystem(0))
		pages, err := r.f.View().Pages(context.Background())
		if err != nil || len(pages) != 1 || pages[0].Dropped != 1 {
			t.Errorf("%+v, %v", pages, err)
		}
		r.SetLog(dcTID(dc1), log(subsystem(5)))
		synctest.Wait()
		r.lists(dc1, subsystem(5))
	})
}

// One address that answers nothing delays nobody (promise 2).
func TestSilentControllersDelayNobody(t *testing.T) {
	bubble(t, func(r *rig) {
		for n := range 120 {
			a := fmt.Sprintf("10.9.0.%d", n)
			r.silent[a] = true
			r.cfg.Controllers = append(r.cfg.Controllers, controller(a))
		}
		for n := range 100 {
			a := fmt.Sprintf("10.8.0.%d", n)
			r.target(a, fake.Behaviour{ConnectDelay: time.Millisecond}, subsystem(n))
			r.cfg.Controllers = append(r.cfg.Controllers, controller(a))
		}
	}, func(r *rig) {
		r.pass(time.Second)
		r.connected(100)
	})
}

// Without an identity nothing is connected, and what is there is kept and tended; with one it goes on.
func TestIdentity(t *testing.T) {
	bubble(t, func(r *rig) { configured(dc1)(r); r.id = config.Identity{} }, func(r *rig) {
		r.pass(time.Hour)
		r.connected(0)
		r.id.Host = testHost
		r.configure(func(*config.Staf) {})
		r.pass(time.Second)
		r.lists(dc1, subsystem(0))
		r.id.Host = tid.Host{}
		r.configure(func(*config.Staf) {})
		r.SetLog(dcTID(dc1), log(subsystem(2)))
		r.pass(time.Hour)
		r.lists(dc1, subsystem(2))
	})
}

// stafd answers for its pages only when it knows what it is to look for.
func TestPagesAreAnsweredWhenConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.Zeroconf = true
		f := New(Options{Connector: r.Host, Commands: r.Host, Prober: r, Changes: make(chan kernel.Change), Ownership: r.Host, Read: r.Controller,
			Interfaces: func() tid.Interfaces { return nil }, Excluded: func(tid.TID, tid.Host) bool { return false }, Resolve: r.resolve})
		f.Announce(r)
		go f.Run(t.Context())
		synctest.Wait()
		if _, err := f.View().Pages(t.Context()); err == nil {
			t.Error("an answer before the configuration was read")
		}
		f.Configure(r.cfg, r.id)
		synctest.Wait()
		pages, err := f.View().Pages(t.Context())
		if err != nil || len(pages) != 1 || pages[0].Complete || pages[0].Key != sourcesKey {
			t.Errorf("%+v, %v; want a page for what mDNS may still tell", pages, err)
		}
		f.Report(Announced, nil, true)
		synctest.Wait()
		if pages, err := f.View().Pages(t.Context()); err != nil || len(pages) != 0 || !slices.Contains(r.removed, sourcesKey) {
			t.Errorf("%+v, %v, removed %v", pages, err, r.removed)
		}
		_ = r.Close()
	})
}

// What the configuration may name, and nobody can say yet, is not known to be nothing: with what an earlier run knew lost,
// stacd would end what it led to.
func TestPagesOfWhatIsNotUnderstoodYet(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(*config.Staf)
		after  func(*config.Staf)
		names  []string
	}{
		"line that could not be read":  {before: func(c *config.Staf) { c.Incomplete = true }, after: func(c *config.Staf) { c.Incomplete = false }},
		"host name that leads nowhere": {before: func(c *config.Staf) { c.Controllers = append(c.Controllers, controller("dc.example")) }, names: []string{dc2}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				configured(dc1)(r)
				tt.before(r.cfg)
			}, func(r *rig) {
				stands := func() bool {
					pages, err := r.f.View().Pages(context.Background())
					if err != nil || len(pages) == 0 {
						t.Errorf("%d pages, %v", len(pages), err)
					}
					return slices.ContainsFunc(pages, func(p bus.Page) bool { return p.Key == sourcesKey && !p.Complete })
				}
				gone := func() (told bool) {
					r.with(func() { told = slices.Contains(r.removed, sourcesKey) })
					return told
				}
				r.pass(time.Hour)
				if !stands() || gone() {
					t.Errorf("there is a page for them: %v, told to be gone: %v", stands(), gone())
				}
				r.with(func() { r.names["dc.example"] = tt.names })
				if tt.after != nil {
					r.configure(tt.after)
				}
				r.pass(time.Minute)
				if stands() || !gone() {
					t.Errorf("later there is a page for them: %v, told to be gone: %v", stands(), gone())
				}
			})
		})
	}
}

// Another owner's connection does not stop the retention for good.
func TestRetentionAfterAnotherOwner(t *testing.T) {
	bubble(t, func(r *rig) {
		r.target(dc1, fake.Behaviour{}, subsystem(0))
		r.cfg.DCGiveUp = time.Hour
	}, func(r *rig) {
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "")}, true)
		r.pass(time.Second)
		r.target(dc1, fake.Behaviour{Errno: syscall.ECONNREFUSED}, subsystem(0))
		r.Drop(r.dcs()[dc1].device)
		r.f.Report(Announced, nil, true)
		r.pass(time.Minute)
		name := r.AddForeign(dcTID(dc1), testHost, "discoverd")
		r.pass(2 * time.Hour)
		r.Drop(name)
		r.pass(2 * time.Hour)
		if d := r.dcs()[dc1]; d.disposition != forgotten {
			t.Errorf("%+v", d)
		}
	})
}

// A page that proves no absence does not do so after a restart either.
func TestStalePageStaysStale(t *testing.T) {
	bubble(t, func(r *rig) {
		r.dir = t.TempDir()
		r.target(dc1, fake.Behaviour{}, subsystem(0))
		r.cfg.DCGiveUp = time.Minute
	}, func(r *rig) {
		announce := func() { r.f.Report(Announced, []Candidate{announcedAt(dc1, "")}, true) }
		announce()
		r.pass(time.Second)
		r.target(dc1, fake.Behaviour{Errno: syscall.ECONNREFUSED}, subsystem(0))
		r.Drop(r.dcs()[dc1].device)
		r.f.Report(Announced, nil, true)
		r.pass(time.Hour)
		if d := r.dcs()[dc1]; d.disposition != forgotten {
			t.Fatalf("%+v", d)
		}
		announce()
		for _, when := range []string{"before", "after"} {
			r.pass(time.Second)
			pages, err := r.f.View().Pages(context.Background())
			if err != nil || len(pages) != 1 || pages[0].Complete || pages[0].Disposition != bus.Active {
				t.Errorf("%s the restart: %+v, %v", when, pages, err)
			}
			r.restart()
		}
	})
}

// A list of log pages that could not be had is asked for again, and the page is then read by it.
func TestSupportedLogPagesAreAskedForAgain(t *testing.T) {
	bubble(t, func(r *rig) {
		r.unlisted = []error{errors.New("interrupted")}
		var pages nvme.SupportedLogPages
		pages[nvme.LogDiscovery] = nvme.LogSupportedBit | nvme.LSPPortLocal<<16
		configured(dc1)(r)
		r.target(dc1, fake.Behaviour{Supported: pages}, subsystem(0))
	}, func(r *rig) {
		r.lists(dc1, subsystem(0))
		if l := r.LSP(dcTID(dc1)); l != 0 {
			t.Errorf("LSP %#x though nobody knows what is supported", l)
		}
		r.pass(time.Minute)
		if l := r.LSP(dcTID(dc1)); l == 0 {
			t.Error("port-local entries were never asked for")
		}
		all, err := r.f.View().DiscoveryControllers(context.Background(), nil)
		if err != nil || len(all) != 1 || !all[0].NextRetry.IsZero() {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

// A reconnect of which no more than "connected" is told starts the session over, also where that of the first connect was lost.
func TestReconnectAfterALostEvent(t *testing.T) {
	bubble(t, func(r *rig) {
		r.cfg.Controllers = append(r.cfg.Controllers, controller(dc1))
	}, func(r *rig) {
		r.LoseEvents(2) // that it came, that it is connected
		r.target(dc1, fake.Behaviour{DCType: nvme.DCTypeCDC}, subsystem(0))
		r.f.Kick()
		r.pass(time.Minute)
		r.lists(dc1, subsystem(0))
		name := r.dcs()[dc1].device
		r.f.loop.Post(func() {
			c := *r.f.devices[name]
			c.CntlID++
			r.f.changed(kernel.Change{Name: name, Controller: &c, Connected: true})
		})
		r.pass(time.Second)
		if n := len(r.Registered(name)); n != 2 {
			t.Errorf("registered %d times", n)
		}
	})
}

// A page of many referrals costs what it holds: one that costs its square has the watchdog end stafd, again and again.
func TestManyReferrals(t *testing.T) {
	cost := func(n int) (spent time.Duration) {
		bubble(t, configured(dc2), func(r *rig) {
			list := make([]nvme.DiscoveryEntry, n)
			for i := range list {
				list[i] = referral(fmt.Sprintf("10.9.%d.%d", i/256, i%256))
				r.silent[list[i].Traddr] = true
			}
			r.target(dc1, fake.Behaviour{}, list...)
			before := cpuTime()
			r.configure(func(c *config.Staf) { c.Controllers = append(c.Controllers, controller(dc1)) })
			spent = cpuTime() - before
			if known := len(r.dcs()); known != n+2 {
				t.Errorf("%d controllers are known, want %d", known, n+2)
			}
		})
		return spent
	}
	few, many := cost(4000), cost(16000)
	for i := 0; i < 3 && many > 9*few; i++ { // a processor that is shared with others is now fast, now slow
		few, many = cost(4000), cost(16000)
	}
	if many > 9*few {
		t.Errorf("%s for 4000 referrals, %s for 16000", few, many)
	}
}

// cpuTime is what the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The page of a controller that was given up reminds of the connections that it listed, so that they may live (D-2). It is let
// go when there are none any more, and nobody else has to be asked for that.
func TestForgottenIsLetGo(t *testing.T) {
	dir := t.TempDir()
	files := func() int {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	announce := func(r *rig, addresses ...string) {
		var list []Candidate
		for _, a := range addresses {
			list = append(list, announcedAt(a, ""))
		}
		r.f.Report(Announced, list, true)
		synctest.Wait()
	}
	var cannot atomic.Bool
	cannot.Store(true)
	bubble(t, func(r *rig) {
		r.dir = dir
		r.target(dc1, fake.Behaviour{}, subsystem(0), subsystem(1))
		r.target(dc2, fake.Behaviour{}, subsystem(2), subsystem(3))
		r.target(dc3, fake.Behaviour{}, subsystem(3))
		r.cfg.Controllers = []config.Controller{controller(dc3)}
		r.cfg.DCGiveUp = 0
		r.all = func() ([]kernel.Controller, error) {
			if cannot.Load() {
				return nil, errors.New("cannot say")
			}
			return r.Controllers()
		}
	}, func(r *rig) {
		io := func(n int) tid.TID {
			e := subsystem(n)
			return tid.TID{Transport: nvme.TCP, Traddr: e.Traddr, Trsvcid: e.Trsvcid, NQN: e.SubNQN, HostNQN: hostNQN}
		}
		made := map[int]string{}
		for _, n := range []int{1, 3, 7} {
			r.AddTarget(io(n), fake.Behaviour{})
			made[n] = r.AddForeign(io(n), testHost, Owner)
		}
		known := func(want ...string) {
			t.Helper()
			synctest.Wait()
			got := slices.Sorted(maps.Keys(r.dcs()))
			if !slices.Equal(got, want) || files() != len(want) {
				t.Errorf("%v and %d files, want %v", got, files(), want)
			}
		}
		announce(r, dc1, dc2)
		r.pass(time.Second)
		announce(r)
		for _, a := range []string{dc1, dc2} {
			r.with(func() { r.silent[a] = true })
			r.Drop(r.dcs()[a].device)
		}
		r.pass(time.Second)
		for _, a := range []string{dc1, dc2} {
			if s := r.dcs()[a]; s.disposition != forgotten {
				t.Fatalf("%s: %+v", a, s)
			}
		}
		r.restart()
		r.pass(50 * time.Hour)
		known(dc1, dc2, dc3) // it could not be looked
		cannot.Store(false)
		r.pass(2 * time.Hour)
		known(dc1, dc3) // what is left of the others is listed by one that is known
		r.Lose(made[1])
		r.pass(50 * time.Hour)
		known(dc1, dc3)
		r.Drop(made[1])
		r.pass(2 * time.Hour)
		known(dc3)
		if s := r.Stats(); s.Disconnects != 0 {
			t.Errorf("%d disconnects", s.Disconnects)
		}
		announce(r, dc1) // it begins anew
		r.with(func() { r.silent[dc1] = false })
		r.pass(time.Minute)
		r.lists(dc1, subsystem(0), subsystem(1))
	})
}

// A line that asks for another source address than its connection has gets a connection of its own, without waiting for an event.
func TestLineThatItsConnectionNoLongerFits(t *testing.T) {
	bubble(t, func(r *rig) {
		r.target(dc1, fake.Behaviour{SrcAddr: "10.0.5.7"}, subsystem(0))
		r.cfg.Controllers = []config.Controller{controller(dc1)}
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(1)
		pinned := controller(dc1)
		pinned.HostTraddr = "10.0.9.9"
		r.configure(func(c *config.Staf) { c.Controllers = []config.Controller{pinned} })
		r.pass(2 * time.Minute)
		r.connected(1)
		if s, all := r.dcs()[dc1], r.connections(); !s.live || all[0].HostTraddr != pinned.HostTraddr {
			t.Errorf("%+v, connected %+v", s, all)
		}
	})
}

// A page that was read under a name that has been given to another controller meanwhile, of which nobody has told yet, says
// nothing of the controller that had the name.
func TestPageOfAnotherUnderTheName(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.target(dc2, fake.Behaviour{}, subsystem(2))
	}, func(r *rig) {
		r.lists(dc1, subsystem(0))
		key, name := r.dcs()[dc1].key, r.dcs()[dc1].device
		r.HoldEvents()
		r.Drop(name)
		if again := r.AddForeign(dcTID(dc2), testHost, Owner); again != name {
			t.Fatalf("%s, not %s", again, name)
		}
		if err := r.f.View().Refresh(context.Background(), key); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.lists(dc1, subsystem(0))
		r.ReleaseEvents(nil)
		r.pass(time.Minute)
		r.lists(dc1, subsystem(0))
	})
}
