package journal_test

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/stas-go/stas/pkg/journal"
	"github.com/stas-go/stas/pkg/tid"
)

func TestRecordsAreLinesWithPriority(t *testing.T) {
	var out bytes.Buffer
	var level slog.LevelVar
	log := slog.New(journal.NewHandler(&out, &level, true))
	log.Debug("hidden")
	log.Info("connected", "device", "nvme3", "dc", "(tcp, 192.0.2.1, 8009)")
	log.With("name", "x").Warn("two\nlines", "error", errors.New("a \"b\"\nc"))
	log.Error("key", "secret", tid.NewSecret("DHHC-1:00:abc:"))
	level.Set(slog.LevelDebug)
	log.WithGroup("g").Debug("shown", "a", 1)
	want := "<6>connected device=nvme3 dc=\"(tcp, 192.0.2.1, 8009)\"\n" +
		"<4>two lines name=x error=\"a \\\"b\\\"\\nc\"\n" +
		"<3>key secret=[redacted]\n" +
		"<7>shown g.a=1\n"
	if out.String() != want {
		t.Errorf("got:\n%swant:\n%s", out.String(), want)
	}
}
