package tid

import (
	"fmt"
	"log/slog"
)

// redacted is all that any formatting, logging or marshalling of a Secret shows.
const redacted = "[redacted]"

// Secret is a key. It is comparable, and it prints, logs and marshals as
// "[redacted]" whatever the verb; only [Secret.Reveal] gives its text, and only
// the package that talks to the kernel has a reason to call that.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// IsZero says whether there is no secret.
func (s Secret) IsZero() bool { return s.text == "" }

// Reveal gives the text.
func (s Secret) Reveal() string { return s.text }

func (s Secret) shown() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// String implements [fmt.Stringer].
func (s Secret) String() string { return s.shown() }

// GoString implements [fmt.GoStringer].
func (s Secret) GoString() string { return s.shown() }

// Format implements [fmt.Formatter] for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.shown())) }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.shown()) }

// MarshalText implements [encoding.TextMarshaler], and so JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.shown()), nil }
