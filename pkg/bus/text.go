package bus

import (
	"strings"
	"unicode/utf8"
)

// clean makes s fit for the bus, which takes neither NUL nor what is not UTF-8 (D-Bus
// specification, "Valid UTF-8"): one such byte would turn a whole reply into an error.
func clean(s string) string {
	ok := true
	for i := range len(s) {
		if c := s[i]; c == 0 || c >= utf8.RuneSelf {
			ok = false
			break
		}
	}
	if ok {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	return strings.ReplaceAll(s, "\x00", "\uFFFD")
}

func cleanFields(fields []Field) []Field {
	for i := range fields {
		fields[i].Name, fields[i].Value = clean(fields[i].Name), clean(fields[i].Value)
	}
	return fields
}

// secret says whether a dictionary key names what must not be sent. Names of public
// things (hostkey only says whether there is one) are dealt with where they occur.
func secret(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "secret") || strings.HasPrefix(name, "dhchap") ||
		strings.HasPrefix(name, "kxchap") || strings.Contains(name, "password")
}
