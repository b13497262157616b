package fabricsim

import (
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// BenchmarkLogPage reads a page of ten thousand entries.
func BenchmarkLogPage(b *testing.B) {
	f := start(b, "[port p1]\naddress = 127.0.0.1\nservice = 0\n[dc d]\nports = p1\n[subsystem s]\nnqn = nqn.2024-01.org.example:s\n"+
		"count = 10000\nports = p1\nnamespace = 1T\n")
	h := connect(b, f, "p1", alice, "")
	for b.Loop() {
		log, err := h.ReadDiscoveryLog(b.Context(), 0)
		if err != nil || len(log.Entries) != 10001 {
			b.Fatal(err)
		}
	}
}

// BenchmarkZoneChange is from a change of a zone until the host has its event.
func BenchmarkZoneChange(b *testing.B) {
	f := start(b, sample)
	h := connect(b, f, "p1", alice, "")
	if err := h.EnableEvents(b.Context(), nvme.OAESDiscovery); err != nil {
		b.Fatal(err)
	}
	waitRequests(b, f)
	var worst time.Duration
	in := false
	for b.Loop() {
		began := time.Now()
		change := f.AddToZone
		if in {
			change = f.RemoveFromZone
		}
		if err := change("za", "s3"); err != nil {
			b.Fatal(err)
		}
		in = !in
		if _, err := h.WaitEvent(b.Context()); err != nil {
			b.Fatal(err)
		}
		worst = max(worst, time.Since(began))
		b.StopTimer()
		if _, err := h.ReadDiscoveryLog(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(worst.Microseconds()), "µs-worst")
}
