package config

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/tid"
)

// ID names a kind of [Problem]. IDs are part of the interface of stasadm check and do not change.
type ID string

// The kinds of problems.
const (
	UnusableFile    ID = "unusable-file"    // the file, and with it its set, is not used as it is
	MissingFile     ID = "missing-file"     // the file does not exist
	ReadableSecret  ID = "readable-secret"  // others may read a file with a secret
	UnknownSection  ID = "unknown-section"  // a section that does not exist
	RepeatedSection ID = "repeated-section" // one that should be there once
	UnknownKey      ID = "unknown-key"      // a key that does not exist, or not there
	ContinuedLine   ID = "continued-line"   // a value on two lines
	IndentedLine    ID = "indented-line"    // what 2.x took for a continuation
	BadValue        ID = "bad-value"        // a value that is not allowed
	OddValue        ID = "odd-value"        // one that may mean something else than was meant
	RepeatedKey     ID = "repeated-key"     // a key that counts once
	DeprecatedKey   ID = "deprecated-key"   // one that has a successor
	LostController  ID = "lost-controller"  // a controller that is not connected
	BadField        ID = "bad-field"        // a field of a controller line that is ignored
	OddField        ID = "odd-field"        // one that is repeated or has no meaning
	SameController  ID = "same-controller"  // two lines for one connection
	EmptyLine       ID = "empty-line"       // a line that names nothing
	BadExclude      ID = "bad-exclude"      // a line that excludes nothing
	IgnoredText     ID = "ignored-text"     // what follows a section header
	TrailingComment ID = "trailing-comment" // what looks like a comment and is part of the value
	BadIdentity     ID = "bad-identity"     // a part of the host's identity that cannot be used
	SharedHostID    ID = "shared-host-id"   // one host ID for two host NQNs
	Unlisted        ID = "unlisted"         // there are more problems
)

// severity is the grade of all problems of a kind.
func (id ID) severity() Severity {
	switch id {
	case MissingFile, ReadableSecret, RepeatedSection, IndentedLine, OddValue, RepeatedKey, DeprecatedKey, OddField,
		SameController, EmptyLine, IgnoredText, TrailingComment, SharedHostID:
		return Warning
	}
	return Error
}

// quote makes s one word for a shell.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+,=") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// commentOut is the command that turns lines of a file into comments. What is ignored anyway
// can go without any change, and the administrator still sees it.
func commentOut(file string, from, to int) string {
	lines := fmt.Sprint(from)
	if to > from {
		lines = fmt.Sprintf("%d,%d", from, to)
	}
	return fmt.Sprintf("sed -i '%ss/^/#/' %s", lines, quote(file))
}

// setAside is the command that takes a file out of use and keeps it.
func setAside(file string) string {
	return fmt.Sprintf("mv %s %s", quote(file), quote(file+".rejected"))
}

// deleteBytes is the command that takes bytes, given as a bracket expression of sed, out of a line, or of all
// where line is 0.
func deleteBytes(file string, line int, bytes string) string {
	which := ""
	if line > 0 {
		which = strconv.Itoa(line)
	}
	return fmt.Sprintf("LC_ALL=C sed -i '%ss/[%s]//g' %s", which, bytes, quote(file))
}

// mendHeader is the command that makes a section header of a line that was meant as one; where no name can be made
// out, the section becomes a comment.
func mendHeader(file string, text []byte, line int, header string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(header, "[ \t"), "]")
	name = strings.TrimRight(name, "[ \t")
	if name == "" || strings.Contains(name, "[") {
		return commentOut(file, line, beforeHeader(text, line))
	}
	return rewrite(entry{file: file, line: line}, "["+name+"]")
}

// beforeHeader gives the last line of the section that begins in line, or the last one of text.
func beforeHeader(text []byte, line int) int {
	number, last := 0, line
	for raw := range bytes.Lines(text) {
		number++
		switch trimmed := bytes.TrimSpace(raw); {
		case number <= line || len(trimmed) == 0:
		case trimmed[0] == '[':
			return last
		default:
			last = number
		}
	}
	return last
}

// dropField is the command that takes the field at a position, from 1, out of a controller line.
// It names no value, as that could be a secret.
func dropField(e entry, position int) string {
	if position == 1 {
		return fmt.Sprintf("sed -i '%ds/=[^;]*;*/=/' %s", e.line, quote(e.file))
	}
	return fmt.Sprintf("sed -i '%ds/;[^;]*//%d' %s", e.line, position-1, quote(e.file))
}

// rewrite is the command that replaces a line by another one and appends lines.
func rewrite(e entry, line string, appended ...string) string {
	if tid.HideSecrets(line) != line {
		return commentOut(e.file, e.line, e.line) // a key that slipped into it, which no command repeats
	}
	escape := strings.NewReplacer(`\`, `\\`, "&", `\&`, "/", `\/`, "'", `'\''`)
	cmd := fmt.Sprintf("sed -i '%ds/.*/%s/'", e.line, escape.Replace(line))
	for _, a := range appended {
		cmd += fmt.Sprintf(" -e '$a%s'", escape.Replace(a))
	}
	if len(appended) > 0 {
		cmd = strings.Replace(cmd, "sed -i '", "sed -i -e '", 1)
	}
	return cmd + " " + quote(e.file)
}
