package finder

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

// Whoever made it: the connection to a controller that the boot table names is registered as the firmware's, so that nobody who ends
// those of stas ends it.
func TestFirmwaresConnectionIsClaimedForTheFirmware(t *testing.T) {
	for _, of := range []struct {
		origin Origin
		owner  string
	}{{Firmware, registry.NBFT}, {Configured, Owner}} {
		name := ""
		bubble(t, func(r *rig) {
			r.target(dc1, fake.Behaviour{}, subsystem(0))
			name = r.AddForeign(dcTID(dc1), testHost, "")
			if of.origin == Configured {
				r.cfg.Controllers = []config.Controller{controller(dc1)}
			}
		}, func(r *rig) {
			if of.origin == Firmware {
				r.f.Report(Firmware, []Candidate{{TID: dcTID(dc1), Host: testHost, Source: Source{Firmware, ""}}}, true)
			}
			r.pass(time.Minute)
			if o := r.Owner(name); !o.Is(of.owner) {
				t.Errorf("owner %v, want %q", o, of.owner)
			}
			r.lists(dc1, subsystem(0))
			r.connected(1)
		})
	}
}

// An owner that cannot be told for a moment is looked at again soon.
func TestOwnerIsUnreadableForAMoment(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.SetOwner(r.AddForeign(dcTID(dc1), testHost, Owner), registry.UnknownOwner(errors.New("EIO")))
	}, func(r *rig) {
		r.pass(time.Minute)
		if s := r.dcs()[dc1]; s.complete {
			t.Fatalf("%+v", s)
		}
		r.SetOwner("nvme0", registry.OwnedBy(Owner))
		r.pass(2 * claimAgain)
		r.lists(dc1, subsystem(0))
		r.connected(1)
	})
}

// Storage that somebody else has connected under the name that our connection had, of which nobody has told yet, is not
// registered as ours: stacd would end it, as nobody lists it.
func TestNothingIsClaimedUnderAnOldName(t *testing.T) {
	bubble(t, configured(dc1), func(r *rig) {
		io := tid.TID{Transport: nvme.TCP, Traddr: dc2, Trsvcid: "4420", NQN: "nqn.2026-01.test:io"}
		r.AddTarget(io, fake.Behaviour{Kind: tid.IO})
		key, name := r.dcs()[dc1].key, r.dcs()[dc1].device
		r.HoldEvents()
		r.Drop(name)
		if again := r.AddForeign(io, testHost, ""); again != name {
			t.Fatalf("%s, not %s", again, name)
		}
		if err := r.f.View().Refresh(context.Background(), key); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.ReleaseEvents(nil)
		r.pass(time.Minute)
		if o := r.Owner(name); o.Kind() != registry.KindNone {
			t.Errorf("%s is registered as %s", name, o)
		}
		r.lists(dc1, subsystem(0))
		r.connected(2)
	})
}

// A connection that cannot be looked at for a moment is looked at again after a while, not all the time.
func TestClaimWaitsForTheLook(t *testing.T) {
	looks, broken := 0, true
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.AddForeign(dcTID(dc1), testHost, "")
		r.reads = func(_ *kernel.Controller, err *error) {
			if looks++; broken && looks < 1000 {
				*err = syscall.EIO
			}
		}
	}, func(r *rig) {
		r.pass(10 * claimAgain)
		r.with(func() {
			if looks > 100 {
				t.Errorf("%d looks", looks)
			}
			broken = false
		})
		r.pass(2 * claimAgain)
		if o := r.Owner("nvme0"); !o.Is(Owner) {
			t.Errorf("owner %v", o)
		}
	})
}

// A controller that nobody names any more is given up also where the dead connection to it is somebody else's.
func TestRetentionBesideADeadConnectionOfOthers(t *testing.T) {
	for _, owner := range []string{"", "another"} {
		bubble(t, func(r *rig) {
			r.target(dc1, fake.Behaviour{}, subsystem(0))
			r.Lose(r.AddForeign(dcTID(dc1), testHost, owner))
			r.cfg.Zeroconf, r.cfg.DCGiveUp = true, time.Hour
		}, func(r *rig) {
			r.f.Report(Announced, []Candidate{announcedAt(dc1, "")}, true)
			r.pass(time.Minute)
			if s := r.dcs()[dc1]; s.device == "" || s.live {
				t.Fatalf("%+v", s)
			}
			r.f.Report(Announced, nil, true)
			r.pass(2 * time.Hour)
			if s, known := r.dcs()[dc1]; known {
				t.Errorf("owner %q: still known: %+v", owner, s)
			}
			r.connected(1)
		})
	}
}
