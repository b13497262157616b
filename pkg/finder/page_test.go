package finder

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stas-go/stas/pkg/nvme"
)

func subsystem(n int) nvme.DiscoveryEntry {
	return nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4, Subtype: nvme.SubtypeNVMe, Trsvcid: "4420",
		SubNQN: fmt.Sprintf("nqn.2026-01.test:s%d", n), Traddr: fmt.Sprintf("10.1.%d.%d", n>>8, n&255)}
}

func referral(traddr string) nvme.DiscoveryEntry {
	return nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4, Subtype: nvme.SubtypeReferral, Trsvcid: "8009",
		SubNQN: nvme.DiscoveryNQN, Traddr: traddr}
}

func selfEntry(traddr string, flags nvme.EFlags) nvme.DiscoveryEntry {
	e := referral(traddr)
	e.Subtype, e.EFlags = nvme.SubtypeDiscovery, flags
	return e
}

// TestJudgePage: only the first page of a connection that leads nowhere, where the last
// one did lead somewhere, is doubted.
func TestJudgePage(t *testing.T) {
	none := []nvme.DiscoveryEntry{}
	self := []nvme.DiscoveryEntry{selfEntry("10.0.0.1", 0)}
	one, two := []nvme.DiscoveryEntry{subsystem(1)}, []nvme.DiscoveryEntry{subsystem(1), subsystem(2)}
	ref := []nvme.DiscoveryEntry{referral("10.0.0.2")}
	pages := map[string][]nvme.DiscoveryEntry{"none": none, "self": self, "one": one, "two": two, "referral": ref}
	leads := map[string]bool{"one": true, "two": true, "referral": true}
	for lastName, last := range pages {
		for newName, entries := range pages {
			for _, first := range []bool{true, false} {
				want := changed
				switch {
				case first && leads[lastName] && !leads[newName]:
					want = suspicious
				case lastName == newName:
					want = unchanged
				}
				if got := judge(&page{entries: last}, entries, first); got != want {
					t.Errorf("%s after %s, first of its connection %v: %d, want %d", newName, lastName, first, got, want)
				}
			}
			if judge(nil, entries, true) != changed || judge(nil, entries, false) != changed {
				t.Errorf("%s as the first page ever is not new", newName)
			}
		}
	}
}

func TestUsableDropsWhatLeadsNowhere(t *testing.T) {
	var in []nvme.DiscoveryEntry
	for _, a := range []string{"", "0.0.0.0", "::", "10.0.0.1"} {
		e := subsystem(1)
		e.Traddr = a
		in = append(in, e)
	}
	if got := usable(in); len(got) != 1 || got[0].Traddr != "10.0.0.1" {
		t.Errorf("%v", got)
	}
	if in[0].Traddr != "" || len(in) != 4 {
		t.Error("usable changes what it is given")
	}
}

// A page with broken records takes nothing away, and cannot grow without end.
func TestJoined(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(name string) []nvme.DiscoveryEntry {
			var list []nvme.DiscoveryEntry
			for _, n := range rapid.SliceOf(rapid.IntRange(0, 20)).Draw(rt, name) {
				list = append(list, subsystem(n))
			}
			return list
		}
		fresh, old := draw("new"), draw("old")
		got := joined(fresh, old)
		for _, e := range append(slices.Clone(fresh), old...) {
			if !slices.Contains(got, e) {
				rt.Fatalf("%v is lost", e)
			}
		}
		if !slices.Equal(got[:len(fresh)], fresh) {
			rt.Fatal("the order of the new page is lost")
		}
	})
	var many, more []nvme.DiscoveryEntry
	for n := range nvme.MaxRecords {
		many, more = append(many, subsystem(n)), append(more, subsystem(100000+n))
	}
	best := time.Hour
	for i := 0; i < 5 && best > 5*time.Second; i++ { // the machine may stand still
		start := time.Now()
		if got := joined(more, many); !slices.Equal(got, many) {
			t.Errorf("%d entries", len(got))
		}
		best = min(best, time.Since(start))
	}
	if best > 5*time.Second {
		t.Errorf("two full pages take %s", best)
	}
}

func TestNextRevisionRises(t *testing.T) {
	now := time.Now()
	r := nextRevision(nil, now)
	for _, step := range []time.Duration{0, -time.Hour, time.Nanosecond, time.Hour} {
		n := nextRevision(&page{revision: r}, now.Add(step))
		if n <= r {
			t.Errorf("after %d comes %d when the clock steps by %s", r, n, step)
		}
		r = n
	}
}

func BenchmarkJudgeTenThousand(b *testing.B) {
	var entries []nvme.DiscoveryEntry
	for n := range 10000 {
		entries = append(entries, subsystem(n))
	}
	last := &page{entries: slices.Clone(entries)}
	b.ReportAllocs()
	for b.Loop() {
		if judge(last, usable(entries), false) != unchanged {
			b.Fatal("changed")
		}
	}
}
