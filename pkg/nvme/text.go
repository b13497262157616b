package nvme

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	errNotUTF8 = errors.New("not UTF-8")
	errComma   = errors.New("has a comma, which an option of /dev/nvme-fabrics cannot carry")
)

// fieldText gives what a fixed-size text field holds: up to its first NUL (NQNs and
// the kernel's target pad so), without the spaces that the specification pads with.
func fieldText(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return bytes.TrimRight(b, " ")
}

// checkText refuses text that could break an option string, a bus message or a
// terminal: a comma, what is not UTF-8, what does not print, and white space, which
// neither an address nor an NQN has.
func checkText(b []byte) error {
	for i := 0; i < len(b); {
		c := b[i]
		if c > 0x20 && c < 0x7f && c != ',' {
			i++
			continue
		}
		if c == ',' {
			return errComma
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return errNotUTF8
		}
		if !unicode.IsGraphic(r) || unicode.IsSpace(r) {
			return fmt.Errorf("has character %U", r)
		}
		i += n
	}
	return nil
}

// printable gives descriptive text (a model, a serial number) that is only ever
// shown: what cannot be shown becomes '?'.
func printable(b []byte) string {
	s := strings.ToValidUTF8(string(fieldText(b)), "?")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s))
}

// putText writes s into the field b, filling up with pad; what does not fit is cut.
func putText(b []byte, s string, pad byte) {
	for i := copy(b, s); i < len(b); i++ {
		b[i] = pad
	}
}

// interner makes strings of bytes, equal ones only once, and packs them into blocks:
// a page of 10 000 entries costs a few hundred allocations instead of 30 000.
type interner struct {
	seen  map[string]string
	block strings.Builder
}

const internBlock = 4096

func (in *interner) intern(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := in.seen[string(b)]; ok {
		return s
	}
	if in.block.Cap()-in.block.Len() < len(b) {
		in.block = strings.Builder{}
		in.block.Grow(max(internBlock, len(b)))
	}
	at := in.block.Len()
	in.block.Write(b)
	s := in.block.String()[at:]
	if in.seen == nil {
		in.seen = make(map[string]string)
	}
	in.seen[s] = s
	return s
}
