package finder

import (
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
