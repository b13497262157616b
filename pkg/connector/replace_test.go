package connector

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// TestReplaceEqualsNaiveReading puts pages of any content one after the other in force: what is listed, and with
// which flags, is after each what a reading of the last pages alone gives.
func TestReplaceEqualsNaiveReading(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c, _ := bare(t)
		last := map[string][]nvme.DiscoveryEntry{}
		for revision := range uint64(rapid.IntRange(1, 8).Draw(rt, "pages")) {
			key := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "page")
			var list []nvme.DiscoveryEntry
			for _, n := range rapid.SliceOfN(rapid.IntRange(0, 7), 0, 10).Draw(rt, "entries") {
				e := entry(n)
				e.PortID = uint16(rapid.IntRange(0, 1).Draw(rt, "port"))
				if n == 7 {
					e.Subtype = nvme.SubtypeReferral
				}
				list = append(list, e)
			}
			last[key] = list
			n := pageNews(revision+1, list)
			n.list[0].Key = key
			fresh := n.content["a"]
			fresh.page.Key = key
			n.content = map[string]content{key: fresh}
			for other, p := range c.pages {
				if other != key {
					n.list = append(n.list, p.meta)
				}
			}
			c.heard(n)
			c.settle()

			want := map[tid.TID]map[string]nvme.DiscoveryEntry{}
			for k, entries := range last {
				for _, e := range entries {
					if e.Subtype != nvme.SubtypeNVMe {
						continue
					}
					id, _ := c.means(c.pages[k], e)
					if want[id] == nil {
						want[id] = map[string]nvme.DiscoveryEntry{}
					}
					want[id][k] = e
				}
			}
			if len(want) != len(c.iocs) {
				rt.Fatalf("%d are known, %d are listed", len(c.iocs), len(want))
			}
			for id, by := range want {
				i := c.iocs[id]
				if i == nil || len(i.listed) != len(by) {
					rt.Fatalf("%s: %+v, want %v", id, i, by)
				}
				for _, l := range i.listed {
					// Where a page lists one twice, either entry is as good as the other.
					if !slices.ContainsFunc(last[l.by.meta.Key], func(e nvme.DiscoveryEntry) bool { return e == l.entry }) {
						rt.Fatalf("%s is said to be listed as %+v", id, l.entry)
					}
				}
			}
			if p := c.problems(); len(p) > 0 {
				rt.Fatal(p)
			}
		}
	})
}
