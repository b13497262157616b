package finder

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/kernel/fake"
)

// Whoever asks between the report of a source and what follows from it is not told that nobody is waited for and that there is
// nothing: with what an earlier run knew lost, stacd would end what that had led to.
func TestPagesBetweenReportAndConsequence(t *testing.T) {
	bubble(t, func(r *rig) {
		r.target(dc1, fake.Behaviour{}, subsystem(0))
		r.cfg.Zeroconf = true
	}, func(r *rig) {
		release := make(chan struct{})
		r.f.loop.Post(func() { <-release })
		synctest.Wait()
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "")}, true)
		var pages []bus.Page
		go func() {
			var err error
			if pages, err = r.f.View().Pages(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		close(release)
		synctest.Wait()
		if !slices.ContainsFunc(pages, func(p bus.Page) bool { return !p.Complete }) {
			t.Errorf("all is known: %+v", pages)
		}
	})
}
