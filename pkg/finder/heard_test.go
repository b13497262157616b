package finder

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
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

// Until the boot table has been reported, where it is to be connected, not all pages are known.
func TestPagesBeforeTheBootTable(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		r.cfg.NBFT = config.NBFTConnect
	}, func(r *rig) {
		stands := func() bool {
			pages, err := r.f.View().Pages(context.Background())
			if err != nil {
				t.Error(err)
			}
			return slices.ContainsFunc(pages, func(p bus.Page) bool { return p.Key == sourcesKey && !p.Complete })
		}
		r.pass(time.Second)
		r.f.Report(Firmware, nil, false)
		r.pass(time.Second)
		if !stands() {
			t.Error("the boot table is not waited for")
		}
		r.f.Report(Firmware, nil, true)
		r.pass(time.Second)
		if stands() || !slices.Contains(r.removed, sourcesKey) {
			t.Error("the boot table is waited for")
		}
	})
}
