package finder

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// A page of 10 000 entries takes at most 8 MiB, copies for the state file included, and ten more of
// them in its place take nothing.
func TestBigPageMemory(t *testing.T) {
	const entries, most, noise = 10000, 8 << 20, 256 << 10
	bubble(t, func(r *rig) {
		r.dir = t.TempDir()
		configured(dc1)(r)
	}, func(r *rig) {
		heap := func() int {
			// What pools keep goes with the second collection.
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc)
		}
		small := log()
		read := func(n int) {
			t.Helper()
			list := make([]nvme.DiscoveryEntry, entries)
			for i := range list {
				list[i] = subsystem(0)
				list[i].SubNQN = fmt.Sprintf("nqn.2026-01.org.example:storage.array-%03d:subsystem-%05d", n, i)
			}
			r.SetLog(dcTID(dc1), log(list...))
			synctest.Wait()
			r.pass(time.Second)
			r.SetLogQuietly(dcTID(dc1), small) // now nobody but the finder holds it
			if d := r.dcs()[dc1]; len(d.entries) != entries || d.entries[0].SubNQN != list[0].SubNQN {
				t.Fatalf("page %d was not read: %d entries", n, len(d.entries))
			}
		}
		before := heap()
		read(0)
		first := heap()
		for n := range 10 {
			read(n + 1)
		}
		last := heap()
		t.Logf("heap: %d KiB before, %d KiB more with a page of %d entries, %d KiB more after ten others", before>>10, (first-before)>>10, entries, (last-first)>>10)
		if first-before > most {
			t.Errorf("%d bytes for one page", first-before)
		}
		if last-first > noise {
			t.Errorf("%d bytes more after ten further pages", last-first)
		}
	})
}
