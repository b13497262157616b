package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/tid"
)

// Severity grades a [Problem].
type Severity uint8

// The severities. An Error means that something which was asked for is not in force; a
// Warning that it is, but should be written differently.
const (
	Warning Severity = iota
	Error
)

func (s Severity) String() string {
	if s == Error {
		return "error"
	}
	return "warning"
}

// Problem is one thing in a file that was not taken as written.
type Problem struct {
	ID       ID
	File     string // path of the file
	Line     int    // 1-based; 0 where the problem is the file itself
	Section  string // without brackets; empty outside of sections
	Key      string // as it is spelled in the manual page; empty where the problem is not about a key
	Value    string // shortened, and "[redacted]" wherever it could be a secret
	Message  string // what is wrong, what is allowed, what was done instead
	Remedy   string // a shell command after which the problem is gone
	Severity Severity
}

// String is the one-line form "FILE:LINE: [SECTION] KEY=VALUE: MESSAGE".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		b.WriteString(":" + strconv.Itoa(p.Line))
	}
	b.WriteString(": ")
	if p.Section != "" {
		b.WriteString("[" + p.Section + "] ")
	}
	if p.Key != "" {
		b.WriteString(p.Key)
		if p.Value != "" {
			b.WriteString("=" + p.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Error implements error with the text of String.
func (p Problem) Error() string { return p.String() }

// FileError says that a file as a whole cannot be used; what was in force before stays in force.
type FileError struct {
	File   string
	Line   int // 0 where no line is to blame
	Reason string
	Err    error // the cause, where there is one

	mend string // a command after which this is no error any more; empty: the general one
}

func (e *FileError) Error() string {
	where := e.File
	if e.Line > 0 {
		where += ":" + strconv.Itoa(e.Line)
	}
	if e.Err != nil {
		return fmt.Sprintf("cannot read %s: %s: %v", where, e.Reason, e.Err)
	}
	return fmt.Sprintf("cannot use %s: %s", where, e.Reason)
}

// remedy is a command after which the error is gone. Whatever else the file says stays in force wherever that is
// possible: without its other lines their connections would be taken for unwanted.
func (e *FileError) remedy() string {
	switch {
	case e.mend != "":
		return e.mend
	case errors.Is(e.Err, fs.ErrPermission):
		return "sudo stasadm check"
	case e.Line > 0:
		return commentOut(e.File, e.Line, e.Line)
	}
	return setAside(e.File)
}

// Unwrap gives the cause.
func (e *FileError) Unwrap() error { return e.Err }

// maxShown bounds how much of a bad value a message repeats.
const maxShown = 80

// shown makes text that an administrator wrote fit for a message.
func shown(s string) string {
	if strings.Contains(strings.ToLower(s), "secret") {
		return "[redacted]" // most likely a line that slipped
	}
	s = tid.HideSecrets(s)
	if len(s) > maxShown {
		s = strings.ToValidUTF8(s[:maxShown], "") + "..."
	}
	if quoted := strconv.Quote(s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}
