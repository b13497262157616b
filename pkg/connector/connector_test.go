package connector

import (
	"errors"
	"fmt"
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
	"github.com/stas-go/stas/pkg/nbft"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

// listed prepares a page "a" that lists the first n controllers, all reachable.
func listed(n int) func(*rig) {
	return func(r *rig) {
		r.targets(n, fake.Behaviour{})
		list := []nvme.DiscoveryEntry{}
		for i := range n {
			list = append(list, entry(i))
		}
		r.page("a", list...)
	}
}

func TestConnectsWhatIsListed(t *testing.T) {
	bubble(t, listed(3), func(r *rig) {
		r.connected(0, 1, 2)
		for n := range 3 {
			if o := r.Owner(r.device(n)); !o.Is(Owner) {
				t.Errorf("%d: owner %s", n, o)
			}
			if v, _ := r.Attr(r.device(n), sourceAttr); v != "a" {
				t.Errorf("%d: noted source %q", n, v)
			}
		}
		r.page("a", entries(0, 2)...)
		r.connected(0, 2)
		r.page("a", entries(0, 1, 2)...)
		r.pass(time.Second)
		r.connected(0, 1, 2)
	})
}

// Rows 1, 2, W6, W7, TC-31: silence of stafd, in all its forms, takes nothing away.
func TestSilenceOfStafd(t *testing.T) {
	forms := map[string]func(*rig){
		"dead":             func(r *rig) { r.with(func() { r.dead = true }); r.tell() },
		"page unreadable":  func(r *rig) { r.with(func() { r.broken["a"] = true }); r.page("a", entries(0)...) },
		"page not read":    func(r *rig) { r.publish("a", func(p *bus.Page) { p.Complete, p.Revision = false, 0 }) },
		"page with gaps":   func(r *rig) { r.publish("a", func(p *bus.Page) { p.Dropped = 1 }, entries(0)...) },
		"page frozen":      func(r *rig) { r.publish("a", func(p *bus.Page) { p.Disposition = bus.Frozen }, entries(0)...) },
		"page forgotten":   func(r *rig) { r.publish("a", func(p *bus.Page) { p.Disposition = bus.Forgotten }, entries(0, 1, 2)...) },
		"another not read": func(r *rig) { r.publish("b", func(p *bus.Page) { p.Complete, p.Revision = false, 0 }); r.forget("a") },
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			bubble(t, listed(3), func(r *rig) {
				form(r)
				r.pass(time.Hour)
				r.connected(0, 1, 2)
				r.restart()
				r.pass(time.Hour)
				r.connected(0, 1, 2)
				if s := r.Stats(); s.Disconnects != 0 {
					t.Errorf("%d disconnects", s.Disconnects)
				}
			})
		})
	}
	// Configured ones are connected all the same.
	bubble(t, func(r *rig) {
		r.targets(1, fake.Behaviour{})
		r.dead = true
		r.cfg.Controllers = []config.Controller{line(io(0))}
	}, func(r *rig) { r.connected(0) })
}

// A page that cannot be had when stacd starts hides what it lists; nobody is taken for unlisted.
func TestContentThatCannotBeHad(t *testing.T) {
	bubble(t, listed(3), func(r *rig) {
		r.with(func() { r.broken["a"] = true })
		r.restart()
		r.pass(time.Minute)
		r.connected(0, 1, 2)
		r.with(func() { r.broken["a"] = false })
		r.page("a", entries(1)...)
		r.pass(20 * time.Second)
		r.connected(1)
	})
}

// TC-31, second half; TC-24: an answer is an answer, an empty one too.
func TestEmptyAnswer(t *testing.T) {
	bubble(t, listed(2), func(r *rig) {
		r.page("a")
		r.connected()
	})
	bubble(t, func(r *rig) {
		r.targets(3, fake.Behaviour{})
		for n, owner := range []string{"stas", "", "discoverd"} {
			r.AddForeign(io(n), testHost, owner)
		}
	}, func(r *rig) {
		r.pass(time.Second)
		r.connected(1, 2)
	})
}

// W34: an I/O controller that two discovery controllers list stays while one does.
func TestTwoListOne(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		r.page("b", entry(0))
		r.page("a")
		r.pass(time.Minute)
		r.connected(0)
		r.forget("a")
		r.connected(0)
		r.page("b")
		r.connected()
	})
}

// One of the two may list it in what makes no sense: then the other does not take it away alone, now or after a restart, and it is
// made again when it is lost.
func TestTwoListOneAndOneHasGaps(t *testing.T) {
	for name, then := range map[string]func(*rig){
		"nothing": func(*rig) {},
		"restart": func(r *rig) { r.restart() },
		"loss":    func(r *rig) { r.Drop(r.device(0)) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, listed(2), func(r *rig) {
				r.page("b", entries(0, 1)...)
				r.publish("b", func(p *bus.Page) { p.Dropped = 1 }, entry(1))
				r.page("a", entry(1))
				r.pass(time.Hour)
				r.connected(0, 1)
				then(r)
				r.pass(time.Hour)
				r.connected(0, 1)
				r.page("b", entry(1))
				r.pass(time.Minute)
				r.connected(1)
			})
		})
	}
}

// Decision 6: what a discovery controller listed that the configuration no longer names goes when all
// the others have answered, and not before.
func TestRemovedDiscoveryController(t *testing.T) {
	bubble(t, listed(2), func(r *rig) {
		r.publish("b", func(p *bus.Page) { p.Complete, p.Revision = false, 0 })
		r.forget("a")
		r.pass(time.Hour)
		r.connected(0, 1)
		r.page("b", entry(1))
		r.pass(time.Second)
		r.connected(1)
	})
}

// Decision 25 and 6: a frozen page mentions, and what it mentions stays whatever happens to it; a
// forgotten one keeps what lives.
func TestFrozenAndForgottenPages(t *testing.T) {
	for disposition, stays := range map[bus.Disposition]bool{bus.Frozen: true, bus.Forgotten: false} {
		bubble(t, listed(2), func(r *rig) {
			r.publish("a", func(p *bus.Page) { p.Disposition = disposition }, entries(0, 1)...)
			r.pass(time.Hour)
			r.connected(0, 1)
			name := r.device(0)
			r.Lose(name)
			r.Overflow() // so that its state is seen
			r.pass(time.Hour)
			if stays {
				r.connected(0, 1)
			} else {
				r.connected(1) // not live: it would only pin resources
			}
			r.Drop(r.device(1))
			r.pass(time.Hour)
			if r.device(1) != "" {
				t.Errorf("%s: made again", disposition)
			}
			r.publish("a", nil, entries(0, 1)...)
			r.pass(time.Second)
			if r.device(1) == "" {
				t.Errorf("%s: not made when the page is in force again", disposition)
			}
		})
	}
}

// TC-20 to TC-22, TC-30, rows 10 to 13: who may be connected, claimed and ended, by owner.
func TestOwners(t *testing.T) {
	for owner, ours := range map[string]bool{"stas": true, "": true, "discoverd": false, "nbft": false, "autoconnect": false} {
		bubble(t, func(r *rig) {
			listed(1)(r)
			r.AddForeign(io(0), testHost, owner)
		}, func(r *rig) {
			r.pass(time.Hour)
			if s := r.Stats(); s.Connects != 0 {
				t.Errorf("%q: connected a second time", owner)
			}
			if o := r.Host.Owner("nvme0"); o.Is(Owner) != ours {
				t.Errorf("%q: owner is now %s", owner, o)
			}
			r.page("a")
			r.pass(time.Minute)
			if there := r.device(0) != ""; there == ours {
				t.Errorf("%q: still there %v", owner, there)
			}
			if ours {
				return
			}
			r.page("a", entry(0)) // TC-67: it is ours to make when the other's is gone
			r.Drop("nvme0")
			r.pass(time.Minute)
			if o := r.Host.Owner(r.device(0)); !o.Is(Owner) {
				t.Errorf("%q: owner %s", owner, o)
			}
		})
	}
}

// A connector that is started anew looks first, and has the kernel complain of nothing.
func TestLooksBeforeItConnects(t *testing.T) {
	bubble(t, func(r *rig) {
		listed(1)(r)
		r.AddForeign(io(0), testHost, "stas")
		r.late = 5 * time.Second
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(0)
		if s := r.Stats(); s.Connects != 0 {
			t.Errorf("%d connects", s.Connects)
		}
	})
}

// TC-25, TC-26, TC-27: the owner is read again before each disconnect, and the name is not enough.
func TestOwnerChangesBehindOurBack(t *testing.T) {
	for _, o := range []registry.Owner{registry.OwnedBy("discoverd"), registry.UnknownOwner(errors.New("EIO")), registry.NoOwner()} {
		bubble(t, listed(1), func(r *rig) {
			r.pass(time.Minute)
			r.SetOwner(r.device(0), o)
			r.page("a")
			r.pass(time.Hour)
			r.connected(0)
		})
	}
	bubble(t, listed(2), func(r *rig) { // the name belongs to another connection now
		name := r.device(0)
		r.HoldEvents()
		r.Drop(name)
		other := r.AddForeign(io(0), testHost, "autoconnect")
		if other != name {
			t.Fatalf("%s is not %s", other, name)
		}
		r.page("a")
		r.pass(10 * time.Second)
		r.ReleaseEvents(nil)
		r.pass(time.Minute)
		r.connected(0)
	})
}

// TC-28: an owner that another tool has erased is put back.
func TestErasedOwnerIsPutBack(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		r.pass(2 * ownAgain) // what is done for new connections is over
		r.SetOwner(r.device(0), registry.NoOwner())
		r.pass(11 * time.Minute)
		if o := r.Host.Owner(r.device(0)); !o.Is(Owner) {
			t.Errorf("owner %s", o)
		}
	})
}

// So is that of one which was found shortly before the owners of others were read once more.
func TestErasedOwnerOfALaterOneIsPutBack(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		r.pass(ownAgain - 100*time.Millisecond)
		r.AddTarget(io(1), fake.Behaviour{})
		r.page("a", entries(0, 1)...)
		r.pass(time.Second)
		name := r.device(1)
		r.SetOwner(name, registry.NoOwner())
		r.pass(2 * ownAgain)
		if o := r.Owner(name); !o.Is(Owner) {
			t.Errorf("owner %v", o)
		}
	})
}

// What somebody else has connected under the name that a connection of ours had, whose end has not been told yet, is not
// registered as ours: it would be ended, as nothing lists it.
func TestNothingIsClaimedUnderAnOldName(t *testing.T) {
	bubble(t, func(r *rig) {
		r.targets(2, fake.Behaviour{})
		r.page("a", entry(0))
	}, func(r *rig) {
		name := r.device(0)
		r.HoldEvents()
		r.Drop(name)
		if again := r.AddForeign(io(1), testHost, ""); again != name {
			t.Fatalf("%s, not %s", again, name)
		}
		r.pass(2 * ownAgain) // its owner is read once more meanwhile
		if o := r.Owner(name); o.Kind() != registry.KindNone {
			t.Errorf("%s is registered as %s", name, o)
		}
		r.connected(0, 1)
		r.ReleaseEvents(nil)
		r.pass(time.Minute)
		r.connected(0, 1)
	})
}

// What cannot be looked at, for want of descriptors for example, is registered later. It serves meanwhile: none is made beside it.
func TestWhatCannotBeLookedAtIsClaimedLater(t *testing.T) {
	bubble(t, func(r *rig) {
		r.AddTarget(io(0), fake.Behaviour{Errno: syscall.ECONNREFUSED})
		r.page("a", entry(0))
	}, func(r *rig) {
		var unreadable atomic.Bool
		r.c.opts.Read = func(name string) (kernel.Controller, error) {
			if unreadable.Load() {
				return kernel.Controller{}, syscall.EMFILE
			}
			return r.Controller(name)
		}
		r.pass(time.Minute)
		r.AddTarget(io(0), fake.Behaviour{})
		unreadable.Store(true)
		pinned := io(0)
		pinned.HostIface = "eth0"
		name := r.AddForeign(pinned, testHost, "")
		r.pass(10 * time.Minute)
		r.connected(0)
		if n := r.said("cannot register ownership"); n != 1 {
			t.Errorf("said %d times that it cannot be registered", n)
		}
		unreadable.Store(false)
		r.pass(claimAgain)
		r.connected(0)
		if !r.Owner(name).Is(Owner) {
			t.Errorf("%s is registered as %s", name, r.Owner(name))
		}
	})
}

// A registry that cannot be written costs no connection, and each is registered soon after it can be again.
func TestRegistryFull(t *testing.T) {
	bubble(t, func(r *rig) {
		listed(3)(r)
		r.FailRegistry(syscall.ENOSPC)
	}, func(r *rig) {
		r.pass(time.Hour)
		r.connected(0, 1, 2)
		if o := r.Host.Owner(r.device(0)); o.Kind() != registry.KindNone {
			t.Fatalf("owner %s", o)
		}
		if n := r.said("cannot register"); n != 3 {
			t.Errorf("said %d times", n)
		}
		r.FailRegistry(nil)
		r.pass(claimAgain)
		for n := range 3 {
			if o := r.Host.Owner(r.device(n)); !o.Is(Owner) {
				t.Errorf("%s: owner %s", r.device(n), o)
			}
		}
		r.page("a")
		r.pass(time.Minute)
		r.connected()
	})
}

// TC-29 and its relatives: what the configuration forbids to end stays.
func TestZoningOff(t *testing.T) {
	for name, change := range map[string]func(*config.Stac){
		"honor-fabric-zoning=no": func(c *config.Stac) { c.HonorFabricZoning = false },
		"no-disconnect":          func(c *config.Stac) { c.DisconnectScope = config.DisconnectNone },
		"incomplete":             func(c *config.Stac) { c.Incomplete = true },
	} {
		bubble(t, func(r *rig) { listed(1)(r); change(r.cfg) }, func(r *rig) {
			r.page("a")
			r.pass(time.Hour)
			if r.device(0) == "" {
				t.Errorf("%s: ended", name)
			}
			r.configure(func(c *config.Stac) {
				c.HonorFabricZoning, c.DisconnectScope, c.Incomplete = true, config.DisconnectOwn, false
			})
			r.pass(time.Second)
			r.connected()
		})
	}
}

// Decision 10: the opt-in audits unowned connections too, of the transports that were named, when all have answered.
func TestAuditOfUnowned(t *testing.T) {
	bubble(t, func(r *rig) {
		r.targets(3, fake.Behaviour{})
		r.AddForeign(io(0), testHost, "")
		r.AddForeign(io(1), testHost, "discoverd")
		r.cfg.DisconnectScope = config.DisconnectMatching
		r.cfg.DisconnectTransports = []nvme.Transport{nvme.RDMA}
		r.publish("a", func(p *bus.Page) { p.Complete, p.Revision = false, 0 })
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(0, 1)
		r.page("a", entry(2))
		r.pass(time.Minute)
		r.connected(0, 1, 2)
		r.configure(func(c *config.Stac) { c.DisconnectTransports = []nvme.Transport{nvme.TCP} })
		r.pass(time.Minute)
		r.connected(1, 2)
	})
}

// Whoever connects registers the connection a moment later: until then it is not taken for one without an owner.
func TestAuditOfUnownedWaitsForTheOwner(t *testing.T) {
	bubble(t, func(r *rig) {
		r.targets(2, fake.Behaviour{})
		r.cfg.DisconnectScope = config.DisconnectMatching
		r.cfg.DisconnectTransports = []nvme.Transport{nvme.TCP}
		r.page("a", entry(0))
	}, func(r *rig) {
		r.pass(time.Minute)
		name := r.AddForeign(io(1), testHost, "")
		r.pass(20 * time.Millisecond)
		r.SetOwner(name, registry.OwnedBy("discoverd"))
		r.pass(time.Hour)
		r.connected(0, 1)
	})
}

// TC-65: boot connections of the firmware are neither made nor claimed nor ended, with any owner.
func TestFirmwareIsLeftAlone(t *testing.T) {
	for _, owner := range []string{"", "nbft", "stas"} {
		bubble(t, func(r *rig) {
			listed(2)(r)
			r.firmware[io(0).Traddr] = true
			r.AddForeign(io(0), testHost, owner)
		}, func(r *rig) {
			r.pass(time.Hour)
			r.page("a", entry(1))
			r.pass(time.Hour)
			r.configure(func(c *config.Stac) { c.Excludes = []config.Exclude{{Text: "traddr=" + io(0).Traddr}} })
			r.pass(time.Hour)
			r.connected(0, 1)
			if r.claims != 0 || r.Host.Owner("nvme0").Name() != owner {
				t.Errorf("%q: owner is now %s", owner, r.Host.Owner("nvme0"))
			}
			r.page("a", entries(0, 1)...)
			r.Drop("nvme0")
			r.pass(time.Hour)
			r.connected(1)
			if n := r.said("NBFT"); n != 1 && n != 2 {
				t.Errorf("said %d times", n)
			}
		})
	}
}

// TC-32, rows 2 and 31, O-6: a restart changes nothing; what is ours and listed is adopted,
// what its page no longer lists goes by the note of who called for it.
func TestRestart(t *testing.T) {
	bubble(t, listed(3), func(r *rig) {
		r.stop()
		r.page("a", entries(0, 1)...)
		r.publish("b", func(p *bus.Page) { p.Complete, p.Revision = false, 0 })
		r.start()
		r.pass(time.Minute)
		r.connected(0, 1)
		if s := r.Stats(); s.Connects != 3 || s.Disconnects != 1 {
			t.Errorf("%d connects, %d disconnects", s.Connects, s.Disconnects)
		}
	})
	bubble(t, listed(3), func(r *rig) { // no note: all must have answered
		r.stop()
		r.with(func() { clear(r.attrs) })
		r.page("a", entries(0)...)
		r.publish("b", func(p *bus.Page) { p.Complete, p.Revision = false, 0 })
		r.start()
		r.pass(time.Minute)
		r.connected(0, 1, 2)
		r.page("b")
		r.pass(time.Second)
		r.connected(0)
	})
}

// The administrator's own lines.
func TestConfiguredLines(t *testing.T) {
	bubble(t, func(r *rig) {
		r.targets(2, fake.Behaviour{})
		r.page("a")
		r.cfg.Controllers = []config.Controller{line(io(0)), line(io(1))}
	}, func(r *rig) {
		r.connected(0, 1)
		r.configure(func(c *config.Stac) { c.Controllers = c.Controllers[:1] })
		r.pass(time.Second)
		r.connected(0)
		r.page("a", entry(0))
		r.configure(func(c *config.Stac) { c.Controllers = nil })
		r.pass(time.Hour)
		r.connected(0) // still listed
		if s := r.Stats(); s.Connects != 2 {
			t.Errorf("%d connects", s.Connects)
		}
		r.page("a")
		r.pass(time.Second)
		r.connected()
	})
}

// What waits for its next attempt is tried at once after a reload, with what has been loaded: the address has answered a
// moment ago, so that the attempt begins within the very call that asks for it.
func TestReloadTriesWithTheNewParameters(t *testing.T) {
	bubble(t, func(r *rig) {
		r.AddTarget(io(0), fake.Behaviour{Failures: []syscall.Errno{syscall.EKEYREJECTED}})
		r.cfg.Controllers = []config.Controller{line(io(0))}
	}, func(r *rig) {
		r.pass(time.Second)
		r.configure(func(c *config.Stac) { c.Controllers[0].Params.KeepAliveTmo = tid.SetInt(17) })
		r.connected(0)
		if len(r.asked) != 2 || r.asked[1].KeepAliveTmo != tid.SetInt(17) {
			t.Errorf("asked for %+v", r.asked)
		}
	})
}

// Row 86 and TC-38: exclude= ends what is ours at once and stops attempts; an empty one matches nothing.
func TestOwnExclude(t *testing.T) {
	bubble(t, listed(3), func(r *rig) {
		r.configure(func(c *config.Stac) {
			c.Excludes = []config.Exclude{{Text: "transport=tcp;traddr=" + io(1).Traddr}, {Text: ""}, {Text: ";;"}}
		})
		r.pass(time.Second)
		r.connected(0, 2)
		// As in 2.x, the legacy list leaves it out.
		if list, err := r.c.View().Controllers(r.t.Context(), false); err != nil || len(list) != 2 {
			t.Errorf("%d controllers listed, %v", len(list), err)
		}
		r.pass(time.Hour)
		r.connected(0, 2)
		r.configure(func(c *config.Stac) { c.Excludes = nil })
		r.pass(time.Second)
		r.connected(0, 1, 2)
	})
}

// TC-50 to TC-55: the host-wide list keeps what lives, is not made again, and lets go at once.
func TestHostWideExclusion(t *testing.T) {
	bubble(t, listed(3), func(r *rig) {
		r.with(func() { r.excluded[io(1).Traddr] = true })
		r.c.Recheck()
		r.pass(time.Hour)
		r.connected(0, 1, 2)
		r.Drop(r.device(1))
		r.pass(time.Hour)
		r.connected(0, 2)
		r.with(func() { r.excluded[io(1).Traddr] = false })
		r.c.Recheck()
		r.pass(time.Second)
		r.connected(0, 1, 2)
	})
	bubble(t, func(r *rig) { // TC-50: asked right before the attempt, though nobody told of the change
		listed(1)(r)
		r.AddTarget(io(0), fake.Behaviour{Errno: 5})
	}, func(r *rig) {
		r.pass(10 * time.Second)
		n := r.Stats().Connects
		r.with(func() { r.excluded[io(0).Traddr] = true })
		r.pass(time.Hour)
		if got := r.Stats().Connects; n < 3 || got != n {
			t.Errorf("%d attempts, then %d more", n, got-n)
		}
	})
}

// Row 29: NCC of all bounds the attempts, cleared by one it is tried at once.
func TestAttemptsOnNCC(t *testing.T) {
	ncc := func(n int) nvme.DiscoveryEntry {
		e := entry(n)
		e.EFlags |= nvme.NCC
		return e
	}
	bubble(t, func(r *rig) {
		r.AddTarget(io(0), fake.Behaviour{Errno: 5})
		r.page("a", ncc(0))
		r.cfg.ConnectAttemptsOnNCC = 3
	}, func(r *rig) {
		r.pass(24 * time.Hour)
		if n := r.Stats().Connects; n != 3 {
			t.Errorf("%d attempts, want 3", n)
		}
		r.publish("b", func(p *bus.Page) { p.ID.Traddr = "10.255.0.2" }, ncc(0))
		r.pass(time.Hour)
		if n := r.Stats().Connects; n != 3 {
			t.Errorf("%d attempts when another says so too", n)
		}
		r.AddTarget(io(0), fake.Behaviour{})
		r.publish("b", func(p *bus.Page) { p.ID.Traddr = "10.255.0.2" }, entry(0))
		r.connected(0)
	})
}

// That a controller is given up is told also where it loses its connection in the same turn.
func TestGivenUpWhenLost(t *testing.T) {
	told := &given{}
	bubble(t, func(r *rig) {
		e := entry(0)
		e.EFlags |= nvme.NCC
		r.targets(1, fake.Behaviour{})
		r.page("a", e)
		r.cfg.ConnectAttemptsOnNCC = 2
		r.observer = told
	}, func(r *rig) {
		for range 2 { // it comes and goes
			r.pass(5 * time.Second)
			r.connected(0)
			r.Drop(r.device(0))
		}
		r.pass(time.Hour)
		r.connected()
		if told.lost != 2 || told.up != 1 {
			t.Errorf("lost %d times, given up %d times", told.lost, told.up)
		}
	})
}

// given counts what an Observer is told.
type given struct {
	silent
	lost, up int
}

func (g *given) ControllerLost(string)            { g.lost++ }
func (g *given) ControllerGivenUp(string, string) { g.up++ }

// Rows 43, 45, 15 and the rules of inheritance.
func TestEntriesThatAreNotForUs(t *testing.T) {
	bubble(t, func(r *rig) {
		r.targets(4, fake.Behaviour{})
		rdma, pcie, self, ref, v6 := entry(1), entry(2), entry(3), entry(3), entry(3)
		rdma.Transport, pcie.Transport = nvme.TransportTypeRDMA, 0
		self.Subtype, ref.Subtype = nvme.SubtypeDiscovery, nvme.SubtypeReferral
		v6.AddrFamily, v6.Traddr = nvme.AddrFamilyIPv6, "2001:db8::1"
		nowhere, name := entry(3), entry(3)
		nowhere.Traddr, name.Traddr = "", "host.example"
		r.cfg.Families = config.Families{V4: true}
		r.page("a", entry(0), rdma, pcie, self, ref, v6, nowhere, name)
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(0)
		if n := r.Stats().Connects; n != 1 {
			t.Errorf("%d connects: %v", n, r.order)
		}
	})
	bubble(t, func(r *rig) {
		ll := nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv6, Subtype: nvme.SubtypeNVMe, Trsvcid: "4420", SubNQN: "nqn.2026-01.test:ll", Traddr: "FE80::5"}
		r.publish("a", func(p *bus.Page) {
			p.ID.HostIface, p.ID.HostTraddr, p.ID.HostNQN = "eth7", "fe80::9", "nqn.2026-01.test:other"
			p.HostID = "11111111-2222-3333-4444-555555555555"
		}, ll)
	}, func(r *rig) {
		want := tid.TID{Transport: nvme.TCP, Traddr: "fe80::5%eth7", Trsvcid: "4420", NQN: "nqn.2026-01.test:ll", HostIface: "eth7", HostTraddr: "fe80::9", HostNQN: "nqn.2026-01.test:other"}
		if len(r.order) != 1 || r.order[0] != want {
			t.Errorf("%+v", r.order)
		}
		r.configure(func(c *config.Stac) { c.IgnoreIface = true })
		want.HostIface = ""
		r.pass(10 * time.Second)
		if last := r.order[len(r.order)-1]; last != want {
			t.Errorf("with ignore-iface %+v", last)
		}
	})
}

// W15, W34: one connection described in more than one way is made once, the most deliberate way, and
// handed on when that way ends.
func TestOneConnectionManyDescriptions(t *testing.T) {
	onEth0 := func(p *bus.Page) { p.ID.HostIface = "eth0" }
	bubble(t, func(r *rig) {
		r.targets(1, fake.Behaviour{SrcAddr: "10.0.0.9"})
		r.cfg.Controllers = []config.Controller{line(io(0))}
		r.publish("a", onEth0, entry(0))
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(0)
		if len(r.order) != 1 || r.order[0] != io(0) {
			t.Errorf("connects %v", r.order)
		}
		r.configure(func(c *config.Stac) { c.Controllers = nil })
		r.pass(time.Hour)
		r.connected(0)
		if s := r.Stats(); s.Connects != 1 || s.Disconnects != 0 {
			t.Errorf("%+v", s)
		}
		r.page("a")
		r.connected()
	})
	bubble(t, func(r *rig) { // the pinned one is there, then a line without interface is added
		r.targets(1, fake.Behaviour{SrcAddr: "10.0.0.9"})
		r.publish("a", onEth0, entry(0))
	}, func(r *rig) {
		r.connected(0)
		r.configure(func(c *config.Stac) { c.Controllers = []config.Controller{line(io(0))} })
		r.pass(time.Hour)
		r.page("a")
		r.pass(time.Hour)
		r.connected(0)
		if s := r.Stats(); s.Connects != 1 || s.Disconnects != 0 {
			t.Errorf("%+v", s)
		}
		r.configure(func(c *config.Stac) { c.Controllers = nil })
		r.pass(time.Second)
		r.connected()
	})
	bubble(t, func(r *rig) { // exclude= of one way does not stop the other
		r.targets(1, fake.Behaviour{SrcAddr: "10.0.1.9"})
		r.publish("a", func(p *bus.Page) { p.ID.HostIface = "eth0" }, entry(0))
		r.publish("b", nil, entry(0))
		r.cfg.Excludes = []config.Exclude{{Text: "host-iface=eth0"}}
	}, func(r *rig) {
		r.pass(time.Second)
		r.connected(0)
	})
}

// A further connection to what is listed is nobody's to end but the administrator's.
func TestSecondConnectionStays(t *testing.T) {
	bubble(t, func(r *rig) {
		listed(1)(r)
		other := io(0)
		other.HostIface = "eth5"
		r.AddForeign(io(0), testHost, "stas")
		r.AddForeign(other, testHost, "stas")
	}, func(r *rig) {
		r.pass(time.Hour)
		r.connected(0, 0)
		r.page("a")
		r.pass(time.Second)
		r.connected()
	})
}

// All subsystems have a first path before any has a second.
func TestFirstPathsFirst(t *testing.T) {
	bubble(t, func(r *rig) {
		var list []nvme.DiscoveryEntry
		for n := range 20 {
			for path := range 2 {
				id := io(n)
				id.Traddr = fmt.Sprintf("10.%d.0.%d", 2+path, n)
				r.AddTarget(id, fake.Behaviour{ConnectDelay: 20 * time.Millisecond})
				list = append(list, entryOf(id))
			}
		}
		r.page("a", list...)
	}, func(r *rig) {
		r.pass(10 * time.Second)
		if len(r.order) != 40 {
			t.Fatalf("%d connects", len(r.order))
		}
		seen := map[string]bool{}
		for n, id := range r.order {
			if n < 20 == seen[id.NQN] {
				t.Fatalf("connect %d is of %s", n, id)
			}
			seen[id.NQN] = true
		}
		if n := len(r.c.paths); n != 20 {
			t.Errorf("%d subsystems have paths", n)
		}
		for n := range 20 {
			if got := r.c.paths[io(n).NQN]; got != 2 {
				t.Errorf("%d paths to %d", got, n)
			}
		}
		for _, c := range must(r.Controllers()) {
			r.Drop(c.Name)
		}
		r.with(func() { r.silent = map[string]bool{} })
		r.page("a")
		r.pass(time.Minute)
		if n := len(r.c.paths); n != 0 {
			t.Errorf("%d subsystems have paths, and there is no connection: %v", n, r.c.paths)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Row 17: what is unlisted while it is being connected is gone afterwards, in whatever order things are heard.
func TestUnlistedDuringConnect(t *testing.T) {
	for n := range 30 {
		bubble(t, func(r *rig) {
			listed(1)(r)
			r.AddTarget(io(0), fake.Behaviour{ConnectDelay: 10 * time.Second})
		}, func(r *rig) {
			if n%2 == 0 {
				r.HoldEvents()
			}
			r.pass(time.Duration(n) * 400 * time.Millisecond)
			r.page("a")
			if n%3 == 0 {
				r.pass(time.Second)
				r.page("a", entry(0))
				r.pass(time.Second)
				r.page("a")
			}
			r.pass(20 * time.Second)
			r.ReleaseEvents(nil)
			r.pass(time.Minute)
			r.connected()
			if n := len(r.c.iocs) + len(r.c.strays) + len(r.c.bound) + len(r.c.landing) + len(r.c.paths) + len(r.c.places) + len(r.c.adriftAt); n != 0 {
				t.Errorf("%d things are left in the books", n)
			}
		})
	}
}

// A connection that was made and not seen yet is waited for also when what it was made for is described otherwise by
// then, or was unlisted for a moment: it is not made a second time.
func TestDescribedOtherwiseBeforeItWasSeen(t *testing.T) {
	for name, change := range map[string]func(*rig){
		"host ID": func(r *rig) {
			r.publish("a", func(p *bus.Page) { p.HostID = "11111111-2222-3333-4444-555555555555" }, entry(0))
		},
		"interface": func(r *rig) { r.publish("a", func(p *bus.Page) { p.ID.HostIface = "eth0" }, entry(0)) },
		"unlisted":  func(r *rig) { r.page("a"); r.page("a", entry(0)) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(r *rig) {
				r.targets(1, fake.Behaviour{})
				r.c.opts.Read = func(name string) (kernel.Controller, error) {
					time.Sleep(100 * time.Millisecond)
					return r.Controller(name)
				}
				r.HoldEvents()
				r.page("a", entry(0))
				change(r)
				r.pass(time.Second)
				r.ReleaseEvents(nil)
				r.pass(time.Minute)
				r.connected(0)
				if n := r.Stats().Connects; n != 1 {
					t.Errorf("%d connects", n)
				}
			})
		})
	}
}

// Two connections that nobody wanted any more when they were made may have had one name, one after the other: what the
// first one was taken for is not what the second is waited for as.
func TestTwoArriveUnderOneName(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.targets(2, fake.Behaviour{ConnectDelay: 10 * time.Millisecond})
		r.c.opts.Read = func(name string) (kernel.Controller, error) {
			c, err := r.Controller(name)
			time.Sleep(100 * time.Millisecond)
			return c, err
		}
		r.HoldEvents()
		for n := range 2 {
			r.page("a", entry(n))
			r.pass(5 * time.Millisecond)
			r.page("a")
			r.pass(10 * time.Millisecond)
			r.Drop(kernel.Name(0))
		}
		r.page("a", entry(1))
		r.pass(200 * time.Millisecond)
		r.ReleaseEvents(nil)
		r.pass(time.Minute)
		r.connected(1)
	})
}

// Nor is one made beside a connection that could not be read at once.
func TestArrivedAndCannotBeRead(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.targets(1, fake.Behaviour{ConnectDelay: 10 * time.Millisecond})
		var unreadable atomic.Bool
		unreadable.Store(true)
		r.c.opts.Read = func(name string) (kernel.Controller, error) {
			if unreadable.Load() {
				return kernel.Controller{}, syscall.EMFILE
			}
			return r.Controller(name)
		}
		r.HoldEvents()
		r.page("a", entry(0))
		r.pass(5 * time.Millisecond)
		r.publish("a", func(p *bus.Page) { p.ID.HostIface = "eth0" }, entry(0))
		r.pass(5 * time.Second)
		unreadable.Store(false)
		r.pass(5 * time.Second)
		r.connected(0)
		r.ReleaseEvents(nil)
		r.pass(time.Minute)
		r.connected(0)
	})
}

// A connection that is gone before it was seen is made again.
func TestGoneBeforeItWasSeen(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		for range 3 {
			r.HoldEvents()
			r.Drop(r.device(0))
			r.LoseEvents(1000)
			r.ReleaseEvents(nil)
			r.Overflow()
			r.pass(20 * time.Second)
			r.connected(0)
		}
	})
}

// A disconnect that fails is repeated, not in a tight loop, and told once in a while.
func TestDisconnectIsRepeated(t *testing.T) {
	bubble(t, func(r *rig) {
		listed(1)(r)
		r.AddTarget(io(0), fake.Behaviour{DisconnectError: errors.New("no")})
	}, func(r *rig) {
		r.page("a")
		r.pass(time.Minute)
		if n := r.said("cannot disconnect"); n < 3 || n > 12 {
			t.Errorf("%d attempts in a minute", n)
		}
		r.AddTarget(io(0), fake.Behaviour{})
		r.pass(2 * time.Minute)
		r.connected()
	})
}

// What was disconnected on request is known to be gone though its event is lost.
func TestReconnectWhoseEventIsLost(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		r.pass(time.Minute)
		r.LoseEvents(1)
		if err := r.c.View().Reconnect(r.t.Context(), keyOf(io(0), 1)); err != nil {
			t.Error(err)
		}
		r.pass(time.Minute)
		r.connected(0)
	})
}

// Row 8: a controller that the kernel has given up is made again when its target is back.
func TestMadeAgain(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		r.pass(10 * time.Minute)
		r.with(func() { r.silent[io(0).Traddr] = true })
		r.Drop(r.device(0))
		r.pass(5 * time.Minute)
		r.connected()
		r.with(func() { r.silent[io(0).Traddr] = false })
		r.pass(7 * time.Second) // a probe that is under way ends, then the next one finds it
		r.connected(0)
	})
}

// Row 9: ctrl-loss-tmo=-1 pins nothing that nobody lists, live or not.
func TestUnlistedWhileReconnecting(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		r.Lose(r.device(0))
		r.pass(time.Hour)
		r.connected(0)
		r.page("a")
		r.pass(time.Second)
		r.connected()
	})
}

// W2: a name that cannot be looked up ends nothing, now or after a restart.
func TestHostNames(t *testing.T) {
	bubble(t, func(r *rig) {
		r.targets(2, fake.Behaviour{})
		r.page("b")
		r.names["io.example"] = []string{io(0).Traddr}
		l := line(io(0))
		l.Traddr, l.HostName = "io.example", true
		r.cfg.Controllers = []config.Controller{l}
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(0)
		r.with(func() { r.names["io.example"] = nil })
		r.pass(time.Hour)
		r.configure(func(*config.Stac) {})
		r.pass(time.Hour)
		r.restart()
		r.pass(time.Hour)
		r.connected(0)
		if s := r.Stats(); s.Disconnects != 0 || s.Connects != 1 {
			t.Errorf("%+v", s)
		}
		if n := r.said("cannot look up"); n > 3 {
			t.Errorf("told %d times", n)
		}
		r.with(func() { r.names["io.example"] = []string{"10.9.9.9", io(0).Traddr} })
		r.pass(time.Hour)
		r.connected(0)
	})
}

// Only what has changed is fetched.
func TestOnlyChangedPagesAreFetched(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		for n := range 20 {
			r.publish(fmt.Sprint("p", n), func(p *bus.Page) { p.ID.Traddr = fmt.Sprintf("10.254.0.%d", n) }, entry(0))
		}
		n := r.gets
		r.publish("p3", func(p *bus.Page) { p.ID.Traddr = "10.254.0.3" }, entry(0))
		r.tell()
		if r.gets != n+1 {
			t.Errorf("%d pages were fetched for one that changed", r.gets-n)
		}
		if i := r.c.iocs[io(0)]; i == nil || len(i.listed) != 21 {
			t.Errorf("listed by %d", len(i.listed))
		}
	})
}

// Nothing is connected without an identity, and nothing is ended for the lack of one.
func TestIdentity(t *testing.T) {
	bubble(t, func(r *rig) { listed(1)(r); r.id = config.Identity{} }, func(r *rig) {
		r.pass(time.Hour)
		r.connected()
		r.id.Host = testHost
		r.configure(func(*config.Stac) {})
		r.pass(time.Second)
		r.connected(0)
		r.id.Host = tid.Host{}
		r.configure(func(*config.Stac) {})
		r.page("a")
		r.pass(time.Hour)
		r.connected(0)
	})
}

// The audit and a reload read no owner twice of what is known to be foreign, and settle.
func TestNothingSpins(t *testing.T) {
	bubble(t, func(r *rig) {
		listed(10)(r)
		r.AddForeign(io(0), testHost, "discoverd")
	}, func(r *rig) {
		n := r.owners
		for range 100 {
			r.page("a", slices.Collect(func(yield func(nvme.DiscoveryEntry) bool) {
				for i := range 10 {
					if !yield(entry(i)) {
						return
					}
				}
			})...)
		}
		if got := r.owners - n; got > 300 {
			t.Errorf("%d reads of the registry for 100 pages that say the same", got)
		}
	})
}

// Who called for a connection is noted anew when another is left that lists it: after a restart the silence of that one
// ends nothing.
func TestRestartWhenAnotherListsIt(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		r.page("b", entry(0))
		r.page("a")
		r.with(func() { r.broken["b"] = true })
		r.restart()
		r.pass(time.Minute)
		r.connected(0)
		r.with(func() { r.broken["b"] = false })
		r.page("b")
		r.pass(time.Minute)
		r.connected()
	})
}

// So it is where something was heard of the connection in the same burst.
func TestRestartWhenAnotherListsItAndTheConnectionWasHeardOf(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		r.page("b", entry(0))
		release := make(chan struct{})
		r.c.loop.Post(func() { <-release })
		r.Restore(r.device(0))
		synctest.Wait()
		r.page("a")
		close(release)
		r.pass(time.Second)
		r.with(func() { r.broken["b"] = true })
		r.restart()
		r.pass(time.Minute)
		r.connected(0)
	})
}

// A disconnect that has not begun is not made when the connection is listed again.
func TestListedAgainBeforeTheDisconnect(t *testing.T) {
	const n, wide = 20, 16
	bubble(t, func(r *rig) {
		listed(n)(r)
		r.targets(n, fake.Behaviour{DisconnectDelay: 5 * time.Second})
	}, func(r *rig) {
		all := r.pages["a"].entries
		r.page("a")
		r.pass(time.Second)
		r.page("a", all...)
		r.pass(time.Minute)
		if s := r.Stats(); s.Disconnects != wide {
			t.Errorf("%d disconnects, %d of them when it was listed again", s.Disconnects, s.Disconnects-wide)
		}
		if got, _ := r.Controllers(); len(got) != n {
			t.Errorf("%d connections", len(got))
		}
	})
}

// What waits for the end of an attempt that goes by another name is tried when that fails, though nothing asks for
// the other name any more.
func TestAwaitedAttemptFails(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.AddTarget(io(0), fake.Behaviour{ConnectDelay: 3 * time.Second, Failures: []syscall.Errno{syscall.ECONNREFUSED}})
		r.publish("a", func(p *bus.Page) { p.ID.HostIface = "eth0" }, entry(0))
		r.pass(time.Second) // inside the kernel
		r.publish("a", func(p *bus.Page) { p.ID.HostIface = "eth0" })
		r.page("b", entry(0)) // the same, not bound to an interface
		r.pass(10 * time.Second)
		r.connected(0)
	})
}

// What another description covered is connected when that goes, though the other had no connection to leave.
func TestCoverGoes(t *testing.T) {
	moved := io(0)
	moved.Traddr = io(1).Traddr
	bubble(t, func(r *rig) {
		l := line(io(0))
		l.Traddr, l.HostName, l.HostIface = "array.test", true, "eth0"
		r.cfg.Controllers = []config.Controller{l}
		r.AddTarget(io(0), fake.Behaviour{Errno: syscall.ECONNREFUSED})
		r.AddTarget(moved, fake.Behaviour{})
		r.page("a", entry(0))
	}, func(r *rig) {
		r.pass(lookUpRetry / 2)
		r.with(func() { r.names["array.test"] = []string{io(0).Traddr} })
		r.pass(lookUpRetry)
		r.with(func() { r.names["array.test"] = []string{moved.Traddr} })
		r.pass(lookUpAgain)
		r.AddTarget(io(0), fake.Behaviour{})
		r.pass(time.Minute)
		r.connected(0, 1)
	})
}

// So is what a line covered that named its own description and no longer does, though a page still names that.
func TestCoverOfALineGoes(t *testing.T) {
	moved := io(0)
	moved.Traddr = io(1).Traddr
	bubble(t, func(r *rig) {
		l := line(io(0))
		l.Traddr, l.HostName = "array.test", true
		r.cfg.Controllers = []config.Controller{l}
		r.AddTarget(io(0), fake.Behaviour{Errno: syscall.ECONNREFUSED})
		r.AddTarget(moved, fake.Behaviour{})
		r.page("a", entry(0))
		r.publish("b", func(p *bus.Page) { p.ID.HostIface = "eth0" }, entry(0))
	}, func(r *rig) {
		r.pass(lookUpRetry / 2)
		r.with(func() { r.names["array.test"] = []string{io(0).Traddr} })
		r.pass(lookUpRetry)
		r.with(func() { r.names["array.test"] = []string{moved.Traddr} })
		r.pass(lookUpAgain)
		r.AddTarget(io(0), fake.Behaviour{})
		r.pass(2 * time.Minute)
		r.connected(0, 1)
	})
}

// Two connections that are spelled alike are ended one after the other, without anything else happening.
func TestTwoOfOneName(t *testing.T) {
	bubble(t, func(r *rig) {
		r.targets(1, fake.Behaviour{})
		r.AddForeign(io(0), testHost, "stas")
		r.AddForeign(io(0), testHost, "stas")
		r.page("a", entry(0))
	}, func(r *rig) {
		r.pass(time.Second)
		r.connected(0, 0)
		r.page("a")
		r.pass(10 * time.Second)
		r.connected()
	})
}

// What two discovery controllers list has the parameters of the one that is left when the other lists it no more.
func TestParametersOfWhoIsLeft(t *testing.T) {
	bubble(t, func(r *rig) {
		r.targets(1, fake.Behaviour{})
		r.cfg.DiscoveryControllers = []config.Controller{{Kind: tid.Discovery, Transport: nvme.TCP, Traddr: "10.255.0.1", Trsvcid: "8009", NQN: nvme.DiscoveryNQN,
			Scope: &config.Scope{IO: tid.Params{KeepAliveTmo: tid.SetInt(7)}}}}
		r.page("a", entry(0))
	}, func(r *rig) {
		r.publish("b", func(p *bus.Page) { p.ID.Traddr = "10.255.0.2" }, entry(0))
		r.page("a")
		r.Drop(r.device(0))
		r.pass(10 * time.Second)
		r.connected(0)
		if v, set := r.asked[0].KeepAliveTmo.Get(); !set || v != 7 {
			t.Errorf("first made with keep-alive-tmo %d, %v", v, set)
		}
		if v, set := r.asked[len(r.asked)-1].KeepAliveTmo.Get(); set || len(r.asked) != 2 {
			t.Errorf("attempt %d was made with keep-alive-tmo %d of a file that has no say any more", len(r.asked), v)
		}
	})
}

// So is who called for one while it was being made.
func TestRestartWhenUnlistedDuringConnect(t *testing.T) {
	bubble(t, func(r *rig) {
		r.targets(1, fake.Behaviour{ConnectDelay: 3 * time.Second})
		r.page("a", entry(0))
	}, func(r *rig) {
		r.pass(time.Second)
		r.page("b", entry(0))
		r.page("a")
		r.pass(10 * time.Second)
		r.with(func() { r.broken["b"] = true })
		r.restart()
		r.pass(time.Minute)
		r.connected(0)
	})
}

// A boot connection that a line named, too, is still made again when the host name of that line leads elsewhere.
func TestBootConnectionOutlivesItsLine(t *testing.T) {
	moved := io(0)
	moved.Traddr = io(1).Traddr
	bubble(t, func(r *rig) {
		l := line(io(0))
		l.Traddr, l.HostName = "array.test", true
		r.cfg.Controllers, r.cfg.NBFTReconnect = []config.Controller{l}, true
		r.firmware[io(0).Traddr] = true
		r.targets(1, fake.Behaviour{})
		r.AddTarget(moved, fake.Behaviour{})
	}, func(r *rig) {
		r.c.opts.Boot = func() []nbft.Connection { return []nbft.Connection{{TID: io(0), Host: testHost}} }
		r.with(func() { r.names["array.test"] = []string{io(0).Traddr} })
		r.configure(func(*config.Stac) {})
		r.pass(2 * lookUpRetry)
		r.with(func() { r.names["array.test"] = []string{moved.Traddr} })
		r.pass(lookUpAgain + time.Minute)
		r.connected(0, 1)
		r.Drop(r.device(0))
		r.pass(time.Minute)
		r.connected(0, 1)
	})
}

// Nothing but the boot table names a connection: its next one has the parameters of the configuration in force.
func TestBootConnectionAfterAReload(t *testing.T) {
	bubble(t, func(r *rig) {
		r.cfg.NBFTReconnect = true
		r.firmware[io(0).Traddr] = true
		r.targets(1, fake.Behaviour{})
	}, func(r *rig) {
		r.c.opts.Boot = func() []nbft.Connection { return []nbft.Connection{{TID: io(0), Host: testHost}} }
		r.configure(func(*config.Stac) {})
		r.pass(time.Minute)
		r.connected(0)
		r.configure(func(c *config.Stac) { c.Defaults.QueueSize = tid.SetInt(64) })
		r.Drop(r.device(0))
		r.pass(time.Minute)
		r.connected(0)
		if last := r.asked[len(r.asked)-1]; len(r.asked) != 2 || last.QueueSize != tid.SetInt(64) {
			t.Errorf("asked for %+v", r.asked)
		}
	})
}

// What a page that listed it asked for ends with the listing.
func TestBootConnectionAfterItsListing(t *testing.T) {
	bubble(t, func(r *rig) {
		r.cfg.NBFTReconnect = true
		r.firmware[io(0).Traddr] = true
		r.targets(2, fake.Behaviour{})
	}, func(r *rig) {
		r.c.opts.Boot = func() []nbft.Connection { return []nbft.Connection{{TID: io(0), Host: testHost}} }
		r.configure(func(*config.Stac) {})
		secure := entry(0)
		secure.TReq, secure.TSAS = nvme.TReqRequired, nvme.TSAS{SecType: nvme.SecTLS13}
		r.page("a", secure)
		r.page("a", entry(1))
		r.pass(time.Minute)
		r.connected(0, 1)
		r.Drop(r.device(0))
		r.pass(time.Minute)
		r.connected(0, 1)
		for n, p := range r.asked {
			if r.order[n] == io(0) && p.TLS == tid.On {
				t.Errorf("connect %d of %v was by TLS", n, r.order)
			}
		}
	})
}

// What the host-wide list names is checked by itself: a vaguer description that it does not name is connected,
// but not beside a connection that is there already.
func TestExcludedDescriptionCoversNothing(t *testing.T) {
	pinned := io(0)
	pinned.HostIface = "eth0"
	both := func(r *rig) {
		r.targets(1, fake.Behaviour{})
		r.cfg.Controllers = []config.Controller{line(pinned), line(io(0))}
	}
	bubble(t, func(r *rig) {
		both(r)
		r.excluded[pinned.Traddr+" eth0"] = true
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(0)
		if len(r.order) != 1 || r.order[0] != io(0) {
			t.Errorf("connected %v", r.order)
		}
	})
	bubble(t, both, func(r *rig) {
		r.with(func() { r.excluded[pinned.Traddr+" eth0"] = true })
		r.c.Recheck()
		r.pass(time.Hour)
		r.connected(0) // once
		if len(r.order) != 1 || r.order[0] != pinned {
			t.Fatalf("connected %v", r.order)
		}
		r.Drop(r.device(0))
		r.pass(time.Minute)
		r.connected(0)
		if len(r.order) != 2 || r.order[1] != io(0) {
			t.Errorf("connected %v", r.order)
		}
	})
}

// Nor is it connected beside one that somebody else has made just so meanwhile.
func TestExcludedDescriptionGetsAConnection(t *testing.T) {
	pinned := io(0)
	pinned.HostIface = "eth0"
	bubble(t, func(r *rig) {
		r.AddTarget(io(0), fake.Behaviour{Errno: syscall.ECONNREFUSED})
		r.cfg.Controllers = []config.Controller{line(pinned), line(io(0))}
		r.excluded[pinned.Traddr+" eth0"] = true
	}, func(r *rig) {
		r.pass(time.Minute)
		r.AddTarget(io(0), fake.Behaviour{})
		r.AddForeign(pinned, testHost, "")
		r.pass(time.Hour)
		r.connected(0)
	})
}

// A page of which stacd has no content proves nothing, though it has heard of its revision before.
func TestPageThatBecomesCompleteAndCannotBeHad(t *testing.T) {
	bubble(t, listed(3), func(r *rig) {
		r.publish("a", func(p *bus.Page) { p.Complete = false }, entries(0, 1, 2)...)
		r.restart()
		r.pass(time.Minute)
		r.with(func() {
			r.broken["a"] = true
			p := r.pages["a"]
			p.page.Complete = true
			r.pages["a"] = p
		})
		r.tell()
		r.pass(time.Minute)
		r.connected(0, 1, 2)
		r.with(func() { r.broken["a"] = false })
		r.page("a", entries(1)...)
		r.pass(20 * time.Second)
		r.connected(1)
	})
}

// Nor does one prove anything that stafd, started anew between the two questions, has but not read yet.
func TestPageThatIsBegunAnewBeforeItIsHad(t *testing.T) {
	bubble(t, listed(2), func(r *rig) {
		r.with(func() {
			r.between = func() {
				p := r.pages["a"].page
				p.Complete, p.Revision, p.Records = false, 0, 0
				r.pages["a"] = content{page: p}
			}
		})
		r.page("a", entries(0, 1)...)
		r.with(func() { r.between = nil })
		r.Drop(r.device(0))
		r.pass(time.Hour)
		r.connected(0, 1)
		r.page("a", entry(1))
		r.pass(time.Minute)
		r.connected(1)
	})
}

// What makes a boot connection anew is the boot table, whoever else describes the connection and in whatever detail.
func TestBootConnectionThatOthersNameToo(t *testing.T) {
	table := tid.Host{NQN: hostNQN, ID: "11111111-2222-3333-4444-555555555555"}
	pinned := line(io(0))
	pinned.HostIface = "eth5"
	for name, other := range map[string]func(*rig){
		"page":        func(r *rig) { r.page("a", entry(0)) },
		"pinned page": func(r *rig) { r.publish("a", func(p *bus.Page) { p.ID.HostIface = "eth5" }, entry(0)) },
		"line":        func(r *rig) { r.configure(func(c *config.Stac) { c.Controllers = []config.Controller{line(io(0))} }) },
		"pinned line": func(r *rig) { r.configure(func(c *config.Stac) { c.Controllers = []config.Controller{pinned} }) },
		"line and page": func(r *rig) {
			r.page("a", entry(0))
			r.configure(func(c *config.Stac) { c.Controllers = []config.Controller{line(io(0))} })
		},
	} {
		for _, first := range []bool{false, true} {
			t.Run(fmt.Sprint(name, first), func(t *testing.T) {
				bubble(t, func(r *rig) {
					r.firmware[io(0).Traddr] = true
					r.targets(1, fake.Behaviour{})
				}, func(r *rig) {
					r.c.opts.Boot = func() []nbft.Connection { return []nbft.Connection{{TID: io(0), Host: table}} }
					if first {
						other(r)
					}
					r.configure(func(c *config.Stac) { c.NBFTReconnect = true })
					r.pass(time.Minute)
					if !first {
						other(r)
					}
					for range 2 {
						r.pass(time.Minute)
						r.connected(0)
						r.Drop(r.device(0))
					}
					r.pass(time.Minute)
					r.connected(0)
					all, _ := r.Controllers()
					if len(all) == 1 && (all[0].HostID != table.ID || !r.Owner(all[0].Name).Is(registry.NBFT)) {
						t.Errorf("host ID %s, owner %s", all[0].HostID, r.Owner(all[0].Name))
					}
					if n := r.Stats().Connects; n != 3 {
						t.Errorf("%d connects", n)
					}
				})
			})
		}
	}
}

// Who called for a connection first may have ceased to while stacd did not run: then another counts that does, for the next start too.
func TestNotedSourceThatCeasedDuringARestart(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		r.page("b", entry(0))
		r.stop()
		r.page("a")
		r.start()
		r.pass(time.Minute)
		r.connected(0)
		r.with(func() { r.broken["b"] = true })
		r.restart()
		r.pass(time.Minute)
		r.connected(0)
		if v, _ := r.Attr(r.device(0), sourceAttr); v != "b" {
			t.Errorf("noted source %q", v)
		}
	})
	// But who has not answered may call for it still.
	bubble(t, listed(1), func(r *rig) {
		r.page("b", entry(0))
		r.with(func() { r.broken["a"] = true })
		r.restart()
		r.pass(time.Hour)
		r.connected(0)
		if v, _ := r.Attr(r.device(0), sourceAttr); v != "a" {
			t.Errorf("noted source %q", v)
		}
	})
}

// What cannot be noted, as the registry's file system is full for example, is noted later.
func TestNotedSourceThatCannotBeWritten(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		r.page("b", entry(0))
		r.pass(time.Minute)
		r.with(func() { r.full = syscall.ENOSPC })
		r.page("a")
		r.pass(time.Second)
		r.with(func() { r.full = nil })
		r.pass(audit)
		r.with(func() { r.broken["b"] = true })
		r.restart()
		r.pass(time.Minute)
		r.connected(0)
	})
}

// That it cannot be noted is said once, however often it is tried.
func TestNotedSourceThatCannotBeWrittenIsToldOnce(t *testing.T) {
	bubble(t, listed(1), func(r *rig) {
		r.page("b", entry(0))
		r.pass(time.Minute)
		r.with(func() { r.full = syscall.ENOSPC })
		r.page("a")
		for range 20 {
			r.publish("c", func(p *bus.Page) { p.Complete = false })
			r.page("c")
			r.pass(time.Second)
		}
		if n := r.said("cannot note who calls"); n != 1 {
			t.Errorf("said %d times", n)
		}
		r.with(func() { r.full = nil })
		r.pass(audit)
		r.with(func() { r.full = syscall.ENOSPC })
		r.page("a", entry(0))
		r.page("b")
		r.pass(time.Minute)
		if n := r.said("cannot note who calls"); n != 2 {
			t.Errorf("said %d times after it could be written", n)
		}
	})
}

// A connection that was taken over is noted as called for by whoever calls for it, as one is that was made by stacd.
func TestNotedSourceOfWhatWasTakenOver(t *testing.T) {
	for _, owner := range []string{"", Owner} { // found without owner, or registered after its worker was killed
		bubble(t, func(r *rig) {
			r.targets(1, fake.Behaviour{})
			r.AddForeign(io(0), testHost, owner)
			r.publish("dead", func(p *bus.Page) { p.Complete, p.Revision = false, 0 })
			r.page("a", entry(0))
		}, func(r *rig) {
			r.pass(time.Minute)
			if v, _ := r.Attr(r.device(0), sourceAttr); v != "a" {
				t.Errorf("owner %q: noted source %q", owner, v)
			}
			r.with(func() { delete(r.attrs, r.device(0)) }) // somebody removes the whole entry
			r.SetOwner(r.device(0), registry.NoOwner())
			r.pass(audit)
			r.stop()
			r.page("a")
			r.start()
			r.pass(time.Minute)
			r.connected()
		})
	}
}

// Of what becomes wanted at once, behind an address that has just answered, the first path of a subsystem is made before a further one.
func TestFirstPathFirstBehindAnAddressThatAnswered(t *testing.T) {
	further, first := io(0), io(9) // s0 is connected at another address
	further.Traddr, first.Traddr = io(1).Traddr, io(1).Traddr
	for range 20 {
		bubble(t, func(r *rig) {
			r.targets(2, fake.Behaviour{})
			r.AddTarget(further, fake.Behaviour{})
			r.AddTarget(first, fake.Behaviour{})
			r.page("a", entries(0, 1)...)
		}, func(r *rig) {
			r.connected(0, 1)
			r.page("a", append(entries(0, 1), entryOf(further), entryOf(first))...)
			r.pass(time.Second)
			if len(r.order) != 4 || r.order[2] != first {
				t.Fatalf("connected in the order %v", r.order)
			}
		})
	}
}
