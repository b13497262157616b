package finder

import (
	"errors"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/registry"
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
