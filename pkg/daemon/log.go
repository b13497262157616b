package daemon

import (
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/stas-go/stas/pkg/journal"
)

// tracing is the switch that tron and troff turn.
type tracing struct {
	level slog.LevelVar
	asked atomic.Bool // on the command line: the configuration cannot switch it off
}

func newTracing(on bool) *tracing {
	t := &tracing{}
	t.asked.Store(on)
	t.SetTron(on)
	return t
}

// Tron says whether tracing is on.
func (t *tracing) Tron() bool { return t.level.Level() <= slog.LevelDebug }

// SetTron switches tracing.
func (t *tracing) SetTron(on bool) {
	if on {
		t.level.Set(slog.LevelDebug)
	} else {
		t.level.Set(slog.LevelInfo)
	}
}

// LogLevel is the level in the spelling of nvme-stas 2.x.
func (t *tracing) LogLevel() string { return t.level.Level().String() }

// configure applies the configuration's tron.
func (t *tracing) configure(on bool) { t.SetTron(on || t.asked.Load()) }

// newLog gives the log of a daemon. That nobody reads it any more, as when the journal is stopped, must not end the daemon: the Go runtime
// would, by SIGPIPE, whatever systemd has set, and to systemd that is no failure after which it starts a daemon anew.
func newLog(t *tracing, prefixed bool) *slog.Logger {
	signal.Ignore(syscall.SIGPIPE)
	return slog.New(journal.NewHandler(os.Stderr, &t.level, prefixed || journal.Connected()))
}
