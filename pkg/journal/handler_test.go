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

// A NUL ends a record of the journal as a line break does, and control characters make it "blob data" for people.
func TestNothingBeginsAnotherRecord(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(journal.NewHandler(&out, slog.LevelInfo, true))
	log.Info("a\x00<2>forged\x1b[31m\xff\u0085 é", "nul", "x\x00<2>y", "esc", "\x1b[2J", "bytes", "\xff", "name", "é")
	want := "<6>a\ufffd<2>forged\ufffd[31m\ufffd\ufffd é nul=\"x\\x00<2>y\" esc=\"\\x1b[2J\" bytes=\"\\xff\" name=é\n"
	if out.String() != want {
		t.Errorf("got:\n%qwant:\n%q", out.String(), want)
	}
}
