package daemon

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
	"github.com/stas-go/stas/pkg/veto"
)

// What is excluded while a daemon looks at its first connections is not missed, however late the goroutine that waits for it
// gets to run.
func TestExcludedDuringTheStart(t *testing.T) {
	dir := t.TempDir()
	main := filepath.Join(dir, "exclusions.conf")
	d := &daemon{log: slog.New(slog.NewTextHandler(io.Discard, nil)), hostWide: veto.NewHostWide(main, main+".d")}
	first := tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.2014-08.org.example:first"}
	second := first
	second.Traddr = "192.0.2.2"
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan struct{}, 1)
	watch := d.watchExclusions(ctx, func() { told <- struct{}{} })
	if d.hostWide.Excluded(first, tid.Host{}) {
		t.Fatal("excluded by nothing")
	}
	if err := os.WriteFile(main, []byte("[exclusions]\nexclusion = traddr=192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.hostWide.Excluded(second, tid.Host{}) // another one is looked at
	if !d.hostWide.Excluded(first, tid.Host{}) {
		t.Fatal("not excluded", d.hostWide.Problems())
	}
	ended := make(chan struct{})
	go func() { watch(ctx); close(ended) }()
	select {
	case <-told:
	case <-time.After(10 * time.Second):
		t.Error("what was looked at before is not looked at again")
	}
	cancel()
	<-ended
}
