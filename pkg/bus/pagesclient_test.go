package bus

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/test/privatebus"
)

func waitUpdate(t *testing.T, c *PagesClient) Changes {
	t.Helper()
	select {
	case <-c.Updates():
		return c.Take()
	case <-time.After(20 * time.Second):
		t.Fatal("no update within 20 s")
		panic("unreachable")
	}
}

func testPage(key string, revision uint64) Page {
	return Page{
		Key: key, HostID: "f8e78f19-a131-45ab-b1f6-3a4fc8e093ea", Disposition: Active, Complete: true,
		ID:       ID{"tcp", "192.0.2.1", "8009", nvme.DiscoveryNQN, "192.0.2.9", "eth0", recordedHost},
		Revision: revision, GenCtr: 7, ReadAt: time.Now().Add(-time.Minute), Records: 2, Dropped: 1,
	}
}

var testEntries = []nvme.DiscoveryEntry{
	{
		Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4, Subtype: nvme.SubtypeNVMe, TReq: 4,
		PortID: 1, CntlID: 0xFFFF, ASQSize: 32, EFlags: nvme.NCC, TSAS: nvme.TSAS{SecType: nvme.SecTLS13},
		Trsvcid: "4420", SubNQN: "nqn.2026-01.test:a", Traddr: "192.0.2.1",
	},
	{
		Transport: nvme.TransportTypeRDMA, AddrFamily: nvme.AddrFamilyIPv6, Subtype: nvme.SubtypeReferral,
		TSAS: nvme.TSAS{QPType: 1, PRType: 4, CMS: 1, PKey: 0xffff}, Trsvcid: "8009", SubNQN: nvme.DiscoveryNQN, Traddr: "2001:db8::1",
	},
}

func TestPagesReachTheConnector(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	f.setPage(testPage("dc1", 5), testEntries)
	client := NewPagesClient(options(b))
	start(t, client)
	s := startFinder(t, options(b), f)

	ctx := context.Background()
	ch := waitUpdate(t, client)
	if !ch.All || !ch.State.Available {
		t.Fatalf("first changes are %+v", ch)
	}
	pages, err := client.List(ctx)
	if err != nil || len(pages) != 1 {
		t.Fatalf("List: %v, %v", pages, err)
	}
	page, entries, err := client.Get(ctx, "dc1")
	if err != nil {
		t.Fatal(err)
	}
	want := testPage("dc1", 5)
	for _, p := range []*Page{&pages[0], &page} {
		if age := time.Since(p.ReadAt); age < time.Minute || age > 2*time.Minute {
			t.Errorf("age is %v, want a minute", age)
		}
		p.ReadAt = want.ReadAt
		if d := cmp.Diff(want, *p); d != "" {
			t.Error(d)
		}
	}
	if d := cmp.Diff(testEntries, entries); d != "" {
		t.Error(d)
	}

	f.setPage(testPage("dc1", 6), nil)
	s.PageChanged("dc1", 6)
	if ch := waitUpdate(t, client); ch.All || ch.Changed["dc1"] != 6 {
		t.Fatalf("changes are %+v", ch)
	}
	if page, entries, err := client.Get(ctx, "dc1"); err != nil || page.Revision != 6 || len(entries) != 0 || page.Records != 0 {
		t.Fatalf("Get: %+v %v %v", page, entries, err)
	}
	s.PageRemoved("dc1", "excluded")
	if ch := waitUpdate(t, client); ch.Removed["dc1"] != "excluded" || len(ch.Changed) != 0 {
		t.Fatalf("changes are %+v", ch)
	}
}
