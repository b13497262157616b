package daemon

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/config"
)

// At the first boot the identity is made while the daemons start. One that comes right after the first reading is not missed,
// however late the goroutine that waits for it gets to run.
func TestIdentityMadeDuringTheStart(t *testing.T) {
	dir := t.TempDir()
	d := &daemon{log: slog.New(slog.NewTextHandler(io.Discard, nil)), again: make(chan struct{}, 1),
		identity: config.IdentitySource{SysConf: filepath.Join(dir, "sys.conf"), Dir: dir}}
	ctx, cancel := context.WithCancel(t.Context())
	watch := d.watchIdentity(ctx)
	if id := d.loadIdentity(); id.Missing == "" {
		t.Fatal("there is an identity")
	}
	nqn := "nqn.2014-08.org.nvmexpress:uuid:0c1bf5dd-2b0c-4b5a-8d5f-0a1b2c3d4e5f\n"
	if err := os.WriteFile(filepath.Join(dir, "hostnqn"), []byte(nqn), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { watch(ctx); close(ended) }()
	select {
	case <-d.again:
	case <-time.After(5 * time.Second):
		t.Error("nobody asks for the reload that takes it up")
	}
	cancel()
	<-ended
}
