package tid

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"unique"
)

// redacted is all that any formatting, logging or marshalling of a Secret shows.
const redacted = "[redacted]"

// Secret is a key. It is comparable, and it prints, logs and marshals as
// "[redacted]" whatever the verb; only [Secret.Reveal] gives its text, and only
// the package that talks to the kernel has a reason to call that.
//
// The text lies behind a pointer, as package fmt goes past all methods where it
// complains about a verb: %p, or %g of a structure that holds a pointer to a secret.
type Secret struct{ text unique.Handle[string] }

// NewSecret wraps text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{unique.Make(text)}
}

// secretForm finds keys in their standard representations (DH-HMAC-CHAP secrets: Base 2.1,
// section 8.3.5.5.7; TLS PSK interchange format: NVMe/TCP transport 1.1, section 3.6.1.5).
var secretForm = regexp.MustCompile(`(?i)(dhhc-1|nvmetlskey-1)[^;\s"]*`)

// secretValue finds what follows the name of a secret, whatever its form: the value of another key may have run into it.
var secretValue = regexp.MustCompile(`(?i)(-secret\s*=\s*)[^;\s"]+`)

// HideSecrets takes keys in their standard representations, and the values of secrets, out of a text that quotes what
// somebody wrote: whatever else is wrong with it, these never reach a message.
func HideSecrets(text string) string {
	text = secretValue.ReplaceAllString(text, "${1}"+redacted)
	return secretForm.ReplaceAllStringFunc(text, func(key string) string {
		if strings.HasPrefix(key, "DHHC-1:<hash>:") || strings.HasPrefix(key, "NVMeTLSkey-1:<hash>:") {
			return key // the form in words; no key has a "<"
		}
		return redacted
	})
}

// IsZero says whether there is no secret.
func (s Secret) IsZero() bool { return s == Secret{} }

// Reveal gives the text.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.text.Value()
}

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
