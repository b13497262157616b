package finder

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/loop"
)

// An announced controller that does not answer may have moved: the announcement is looked at again, less and less often. What
// nobody announced has nothing to look at.
func TestUnansweredAnnouncementIsLookedAtAgain(t *testing.T) {
	for _, announced := range []bool{true, false} {
		bubble(t, func(r *rig) {
			r.target(dc1, fake.Behaviour{}, subsystem(0))
			r.silent[dc1] = true
			r.cfg.Zeroconf = announced
			if !announced {
				r.cfg.Controllers = []config.Controller{controller(dc1)}
			}
		}, func(r *rig) {
			if announced {
				r.f.Report(Announced, []Candidate{announcedAt(dc1, "eth0")}, true)
			}
			looks := func() (n int) {
				r.with(func() { n = r.unanswered })
				return n
			}
			r.pass(10 * time.Second)
			soon := looks()
			r.pass(5 * time.Minute)
			late := looks()
			if !announced {
				if late > 0 {
					t.Errorf("%d looks although nothing is announced", late)
				}
				return
			}
			if soon < 1 || late <= soon || late > 12 {
				t.Errorf("%d looks within ten seconds, %d within five minutes", soon, late)
			}
		})
	}
}

// As many announcements as can be at a time, which all move to another interface, hold the loop up for a moment at most.
func TestManyAnnouncementsThatMove(t *testing.T) {
	const n = 4096 // mdns.maxServices
	bubble(t, func(r *rig) { r.cfg.Zeroconf = true }, func(r *rig) {
		on := func(iface string) (list []Candidate) {
			for i := range n {
				list = append(list, announcedAt(fmt.Sprintf("10.2.%d.%d", i>>8, i&255), iface))
			}
			return list
		}
		first, second := on("eth0"), on("eth1")
		r.with(func() {
			for _, c := range first {
				r.silent[c.TID.Traddr] = true
			}
		})
		r.f.Report(Announced, first, true)
		synctest.Wait()
		spent, _ := loop.Ask(context.Background(), r.f.loop, func() time.Duration {
			before := cpuTime()
			r.f.take(Announced, second, true)
			return cpuTime() - before
		})
		if spent > time.Second {
			t.Errorf("%v for %d announcements", spent, n)
		}
	})
}
