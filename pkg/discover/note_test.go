package discover

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// TestManyOfOneName has as many pages as are read at most, with as many entries as are kept at most, whose controllers
// give themselves the same name and generation: each differs from all others in its last entry only.
func TestManyOfOneName(t *testing.T) {
	w := walker{seen: make(map[target]bool), read: make(map[content]*Page)}
	pages := make([]*Page, maxPages)
	for i := range pages {
		log := &nvme.DiscoveryLog{GenCtr: 7, Entries: make([]nvme.DiscoveryEntry, defaultMaxEntries/maxPages)}
		for k := range log.Entries {
			log.Entries[k] = nvme.DiscoveryEntry{Transport: 77, AddrFamily: 77, Subtype: 77, TReq: 77, SubNQN: "nqn.2024-01.org.example:disk"}
		}
		log.Entries[len(log.Entries)-1].Traddr = fmt.Sprint(i)
		pages[i] = &Page{Controller: &nvme.Identify{SUBNQN: "nqn.2024-01.org.example:dc"}, Log: log}
	}
	begun := time.Now()
	for i, p := range pages {
		w.note(target{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 8009), nvme.DiscoveryNQN}, p)
		if p.Same != nil {
			t.Fatalf("page %d is taken for another one", i)
		}
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("%d pages of one name took %v", len(pages), took)
	}
	again := *pages[500]
	if w.note(target{nqn: nvme.DiscoveryNQN}, &again); again.Same != pages[500] {
		t.Error("a page that is shown twice is not known again")
	}
}
