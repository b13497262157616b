package bus

import (
	"context"
	"testing"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/test/privatebus"
)

// BenchmarkGet10000 fetches a page of 10 000 entries over the bus.
func BenchmarkGet10000(b *testing.B) {
	daemon := privatebus.Start(b)
	f := &fakeDaemon{}
	entries := make([]nvme.DiscoveryEntry, 10000)
	for i := range entries {
		entries[i] = testEntries[0]
	}
	f.setPage(testPage("dc1", 1), entries)
	ctx, cancel := context.WithCancel(context.Background())
	s, client := NewFinderServer(options(daemon), f, f, f), NewPagesClient(options(daemon))
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx) }()
	go func() { ended <- client.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-ended; <-ended })
	for !client.State().Available {
		<-client.Updates()
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, got, err := client.Get(ctx, "dc1"); err != nil || len(got) != len(entries) {
			b.Fatal(len(got), err)
		}
	}
}
