package finder

import (
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel/fake"
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
