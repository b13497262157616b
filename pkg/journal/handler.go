// Package journal writes log records the way the systemd journal reads them from a service's
// standard error: one line a record, with its priority in front (sd-daemon(3), "<N>").
package journal

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/journal"
)

// Connected says whether standard error leads to the journal.
func Connected() bool {
	yes, err := journal.StderrIsJournalStream()
	return err == nil && yes
}

// Handler is an [slog.Handler]: "message key=value …", values quoted where they hold white space.
// Safe for concurrent use.
type Handler struct {
	out      io.Writer
	level    slog.Leveler
	prefixed bool
	attrs    string // rendered attributes of With
	group    string
	mu       *sync.Mutex
}

// NewHandler gives a Handler that writes records of level and above to out, each behind its
// priority where prefixed is set.
func NewHandler(out io.Writer, level slog.Leveler, prefixed bool) *Handler {
	return &Handler{out: out, level: level, prefixed: prefixed, mu: new(sync.Mutex)}
}

// Enabled implements [slog.Handler].
func (h *Handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// priority maps levels to those of syslog(3).
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}

// Handle implements [slog.Handler]. A record is one write, and nothing in it begins another record or hides it:
// the journal ends one at a line break and at a NUL too, and shows one with control characters as "blob data".
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if h.prefixed {
		fmt.Fprintf(&b, "<%d>", priority(r.Level))
	} else {
		fmt.Fprintf(&b, "%s %-5s ", r.Time.Format("15:04:05.000"), r.Level)
	}
	b.WriteString(oneLine(r.Message))
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		appendAttr(&b, h.group, a)
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.out, b.String())
	return err
}

// oneLine also takes out what is not UTF-8, as [strings.Map] does.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// plain says whether a value needs no quotes.
func plain(s string) bool {
	return s != "" && !strings.ContainsAny(s, " \"=") && utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func appendAttr(b *strings.Builder, group string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		for _, member := range v.Group() {
			appendAttr(b, group+a.Key+".", member)
		}
		return
	}
	if a.Equal(slog.Attr{}) {
		return
	}
	text := v.String()
	if err, ok := v.Any().(error); ok && err == nil {
		text = ""
	}
	if !plain(text) {
		text = strconv.Quote(text)
	}
	b.WriteString(" " + group + a.Key + "=" + text)
}

// WithAttrs implements [slog.Handler].
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	for _, a := range attrs {
		appendAttr(&b, h.group, a)
	}
	c := *h
	c.attrs += b.String()
	return &c
}

// WithGroup implements [slog.Handler].
func (h *Handler) WithGroup(name string) slog.Handler {
	c := *h
	c.group += name + "."
	return &c
}

var _ slog.Handler = (*Handler)(nil)
