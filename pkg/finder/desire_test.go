package finder

import (
	"fmt"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/nvme"
)

// A page that refers to ever other controllers of which none answers does not pile them up. A few are kept until their
// retention ends, those that were named last; what has given a page, or is connected, is kept in any case.
func TestUnreachedReferralsAreBounded(t *testing.T) {
	const width, rounds = 200, 3
	address := func(round, n int) string { return fmt.Sprintf("10.%d.0.%d", 20+round, n) }
	bubble(t, func(r *rig) {
		r.cfg.Controllers = []config.Controller{controller(dc1)}
		r.cfg.Zeroconf = true
		r.target(dc2, fake.Behaviour{}, subsystem(2))
		r.target(dc3, fake.Behaviour{}, subsystem(3))
		r.target(dc1, fake.Behaviour{})
		for round := range rounds {
			for n := range width {
				r.silent[address(round, n)] = true
			}
		}
	}, func(r *rig) {
		r.f.Report(Announced, []Candidate{announcedAt(dc2, ""), announcedAt(dc3, "")}, true)
		r.pass(time.Second)
		r.with(func() { r.silent[dc3] = true })
		r.Drop(r.dcs()[dc3].device)
		r.f.Report(Announced, nil, true)
		r.pass(time.Second)
		for round := range rounds {
			var list []nvme.DiscoveryEntry
			for n := range width {
				list = append(list, referral(address(round, n)))
			}
			r.SetLog(dcTID(dc1), log(list...))
			r.pass(time.Second)
		}
		known := r.dcs()
		if n := len(known); n != 3+width+mostUnreached {
			t.Errorf("%d controllers are known", n)
		}
		for n := range width {
			if known[address(rounds-1, n)].key == "" || known[address(rounds-2, n)].key == "" {
				t.Fatalf("%d: of the last pages, and gone", n)
			}
		}
		r.lists(dc2, subsystem(2))
		r.lists(dc3, subsystem(3))
	})
}
