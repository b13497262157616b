package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every writer at once on one name: nobody fails but by losing to an owner, each state
// that is seen is whole, and nothing hidden stays behind.
func TestWritersOfOneNameRace(t *testing.T) {
	h := newHostIn(t, memDir(t))
	const each = 200
	legal := map[string]bool{"stas": true, "nbft": true, "claimer": true}
	var wg sync.WaitGroup
	run := func(do func(i int) error) {
		wg.Go(func() {
			for i := range each {
				if err := do(i); err != nil && !errors.Is(err, ErrOwned) && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
			}
		})
	}
	run(func(int) error { _, err := h.Create("nvme3", Stas, nil); return err })
	run(func(int) error { _, err := h.Create("nvme3", NBFT, nil); return err })
	run(func(int) error { _, err := h.Claim("nvme3", "claimer"); return err })
	run(func(int) error { _, _, err := h.Reassert("nvme3", Stas); return err })
	run(func(int) error { return h.Remove("nvme3") })
	run(func(int) error { _, err := h.RemoveIfOurs("nvme3", Stas, "100"); return err })
	run(func(int) error { _, err := h.CleanStale(Stas); return err })
	run(func(i int) error { return h.Set("nvme3", "stas-note", fmt.Sprint(i)) })
	run(func(int) error {
		if o := h.Owner("nvme3"); o.Kind() == KindUnknown || o.Kind() != KindNone && !legal[o.Name()] {
			return fmt.Errorf("owner %v", o)
		}
		return nil
	})
	wg.Wait()
	_, err := h.Create("nvme3", Stas, nil)
	h.must(err)
	if diff := cmp.Diff([]string{"nvme3"}, h.all()); diff != "" {
		t.Errorf("left behind: %s", diff)
	}
}
