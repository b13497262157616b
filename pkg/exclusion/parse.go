package exclusion

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stas-go/stas/pkg/tid"
)

// maxFile bounds what is read of one file. Longer ones count up to their last complete
// line within it. (libnvme's interface for editors has the same limit.)
const maxFile = 1 << 20

// MaxProblems bounds how many problems are reported of one file.
const MaxProblems = 100

// Kind says what sort of problem a Problem is.
type Kind uint8

// Kinds of problems. None of them keeps anybody from working.
const (
	// Unreadable: a file or directory contributes nothing.
	Unreadable Kind = iota
	// BadHeader: a "[" without "]". What follows belongs to no section.
	BadHeader
	// StrayEntry: an exclusion outside [exclusions]. It is ignored.
	StrayEntry
	// BadEntry: malformed or empty. It matches nothing.
	BadEntry
	// Suspicious: valid or ignored, and hardly what was meant.
	Suspicious
)

// Problem is something in a list that does not do what its writer expects.
type Problem struct {
	File string
	Line int // 0: the file as a whole
	Kind Kind
	Text string
}

// Error reads "file:line: text".
func (p Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Parse reads one list file. filename is for messages. Problems are reported, up to
// MaxProblems of them, and none stops the reading: what is not understood is left out.
func Parse(r io.Reader, filename string) ([]Entry, []Problem) {
	p := parser{file: filename}
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		p.problem(Unreadable, "cannot read the list, nothing in it counts: %v", err)
		return nil, p.problems
	}
	if len(text) > maxFile {
		// A line that is cut short could match more than the whole one.
		text = text[:bytes.LastIndexByte(text[:maxFile], '\n')+1]
		p.problem(Unreadable, "longer than %d bytes, the rest does not count", maxFile)
	}
	for line := range strings.Lines(string(text)) {
		p.line++
		p.read(trim(line))
	}
	return p.entries, p.problems
}

type parser struct {
	file     string
	line     int
	inside   bool
	entries  []Entry
	problems []Problem
}

func (p *parser) problem(kind Kind, format string, args ...any) {
	switch len(p.problems) {
	case MaxProblems:
		return
	case MaxProblems - 1:
		format, args = "problems from here on are not listed", nil
	}
	p.problems = append(p.problems, Problem{File: p.file, Line: p.line, Kind: kind, Text: fmt.Sprintf(format, args...)})
}

func (p *parser) read(line string) {
	switch {
	case line == "" || line[0] == '#' || line[0] == ';':
	case line[0] == '[':
		p.header(line)
	default:
		p.assignment(line)
	}
}

// Section gives the name in a section header. A line that starts with "[" and has no "]"
// is no header, and ends the section before it. What follows the "]" does not count.
func Section(line string) (name string, ok bool) {
	line = trim(line)
	if !strings.HasPrefix(line, "[") {
		return "", false
	}
	name, _, ok = strings.Cut(line[1:], "]")
	return trim(name), ok
}

// section is the one that counts, case-sensitive.
const section = "exclusions"

func (p *parser) header(line string) {
	name, ok := Section(line)
	p.inside = ok && name == section
	switch {
	case !ok:
		p.problem(BadHeader, "section header without \"]\": the lines after it belong to no section")
	case !p.inside:
		p.problem(Suspicious, "section [%s] is ignored, only [%s] counts", tid.HideSecrets(name), section)
	}
}

func (p *parser) assignment(line string) {
	name, value, ok := strings.Cut(line, "=")
	switch name = trim(name); {
	case !ok || name != "exclusion":
		p.problem(Suspicious, "line is ignored, only \"exclusion = ...\" counts")
		return
	case !p.inside:
		p.problem(StrayEntry, "exclusion outside of section [%s] is ignored", section)
		return
	}
	e, err := ParseEntry(value)
	if err != nil {
		p.problem(BadEntry, "exclusion matches nothing: %v", unwrapEmpty(err))
		return
	}
	if e.looksCommented {
		p.problem(Suspicious, "\" #\" does not start a comment here, it is part of the value")
	}
	e.File, e.Line = p.file, p.line
	p.entries = append(p.entries, e)
}

func unwrapEmpty(err error) error {
	if errors.Is(err, ErrEmpty) {
		return errors.New("it sets no field")
	}
	return err
}
