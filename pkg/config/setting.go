package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stas-go/stas/pkg/tid"
)

// setting is one key of a file: where it stands, what it may say and what it sets.
type setting struct {
	section, key string
	allowed      string // in words, for messages
	usual        string // what holds where the key is absent or bad, in words
	deprecated   string // non-empty: the key still works, or is ignored; says what to write instead
	secret       bool
	strict       bool                     // a bad value rejects the file: nothing may be connected less securely than it says
	set          func(value string) error // for a key that counts once; leaves everything as it is on an error
	add          func(e entry, r *report) // for a key that may repeat
	check        func(value string) []odd // what to warn about in a value that was taken
	took         func(e entry)            // for who wants to know where the value stood
	renew        func(e entry) string     // the command that writes a deprecated key anew
}

// odd is a value that was taken and may not be what was meant; clear says the same without
// doubt. Where clear is empty the key's successor does.
type odd struct{ text, clear string }

// report collects problems, and whether a line that may name a controller was lost.
type report struct {
	problems   []Problem
	incomplete bool
	rejected   error // the files as a whole cannot be used
	unlisted   int   // problems beyond maxProblems
}

// maxProblems bounds what one broken file puts into the journal.
const maxProblems = 200

// draft is a Problem that can still be changed; it is no error that must be looked at.
type draft Problem

func (r *report) add(e entry, id ID, value, format string, args ...any) *draft {
	if len(r.problems) >= maxProblems {
		r.unlisted++
		return &draft{}
	}
	r.problems = append(r.problems, Problem{ID: id, File: e.file, Line: e.line, Section: shown(e.section), Key: e.key,
		Value: value, Message: tid.HideSecrets(fmt.Sprintf(format, args...)), Severity: id.severity()})
	p := (*draft)(&r.problems[len(r.problems)-1])
	if e.line > 0 {
		p.Remedy = commentOut(e.file, e.line, e.line)
	}
	return p
}

// all gives the problems, and how many more there are.
func (r *report) all() []Problem {
	if r.unlisted == 0 {
		return r.problems
	}
	last := r.problems[len(r.problems)-1]
	return append(r.problems, Problem{ID: Unlisted, File: last.File, Severity: Error,
		Message: fmt.Sprintf("%d more problems are not listed", r.unlisted), Remedy: last.Remedy})
}

// controllersSection is where controllers are named; whatever is not understood there may be one.
const controllersSection = "Controllers"

// apply takes entries, in the order in which they count, into what the settings set. Of a key
// that counts once the last one wins, and a bad last one leaves the default.
func apply(settings []setting, entries []entry, r *report) {
	type name struct{ section, key string }
	known := make(map[name]*setting, len(settings))
	sections := make(map[string]bool)
	for i := range settings {
		s := &settings[i]
		known[name{s.section, s.key}] = s
		sections[s.section] = true
	}
	last := make(map[name]entry)
	for i, e := range entries {
		n := name{e.section, e.key}
		s := known[n]
		switch {
		case e.key == "":
			if e.fault != "" {
				r.add(e, IgnoredText, "", "%s", e.fault).Remedy = fmt.Sprintf("sed -i '%ds/\\].*/]/' %s", e.line, quote(e.file))
			}
			if !sections[e.section] {
				unknownSection(settings, e, r).Remedy = commentOut(e.file, e.line, lastOfSection(entries[i:]))
			}
		case !sections[e.section]:
			// Said once, at the header; but a controller may be meant.
			if e.key == "controller" {
				r.add(e, LostController, "", "a controller in a section that is not known; it belongs in [%s]; the line is ignored", controllersSection)
				r.incomplete = true
			}
		case s == nil:
			unknownKey(settings, e, r)
		case s.add != nil:
			if e.indented {
				r.add(e, IndentedLine, "", "the line is indented further than the one before; it is taken as a line of its own").Remedy =
					fmt.Sprintf("sed -i '%ds/^[ \\t]*//' %s", e.line, quote(e.file))
			}
			s.add(e, r)
		default:
			if old, ok := last[n]; ok && old.file == e.file {
				r.add(e, RepeatedKey, display(s, e), "given before in line %d; this later line counts", old.line).Remedy =
					commentOut(old.file, old.line, old.line)
			}
			last[n] = e
		}
	}
	for i := range settings {
		s := &settings[i]
		if e, ok := last[name{s.section, s.key}]; ok {
			applyOne(s, e, r)
		}
	}
}

func applyOne(s *setting, e entry, r *report) {
	if s.deprecated != "" {
		p := r.add(e, DeprecatedKey, display(s, e), "deprecated; %s", s.deprecated)
		if s.renew != nil {
			p.Remedy = s.renew(e)
		}
	}
	err := fmt.Errorf("%s", e.fault)
	if e.fault == "" {
		if e.value == "" {
			err = fmt.Errorf("there is no value")
		} else {
			err = s.set(e.value)
		}
	}
	if err != nil && s.strict {
		// What is not understood in how to secure a connection is never left out for good: TLS with a key that is not there
		// fails, and that is better than none.
		mend := fmt.Sprintf("sed -i '%ds/^/#/;%datls=true' %s", e.line, e.line, quote(e.file))
		if e.key == "tls" || e.key == "concat" {
			mend = rewrite(e, e.key+"=true")
		}
		r.rejected = errors.Join(r.rejected, &FileError{File: e.file, Line: e.line, mend: mend,
			Reason: tid.HideSecrets(fmt.Sprintf("[%s] %s: %v; allowed %s", e.section, e.key, err, s.allowed))})
		return
	}
	if err != nil {
		r.add(e, BadValue, display(s, e), "%v; allowed %s; using %s", err, s.allowed, s.usual)
		return
	}
	if s.took != nil {
		s.took(e)
	}
	if s.secret && s.strict {
		warnReadable(e.file, r)
	}
	if s.check != nil {
		for _, o := range s.check(e.value) {
			p := r.add(e, OddValue, display(s, e), "%s", o.text)
			if o.clear == "" {
				p.Remedy = s.renew(e)
			} else {
				p.Remedy = rewrite(e, e.key+"="+o.clear)
			}
		}
	}
}

func display(s *setting, e entry) string {
	if s.secret && e.value != "" {
		return "[redacted]"
	}
	return shown(e.value)
}

// lastOfSection gives the last line of the section whose header comes first.
func lastOfSection(entries []entry) int {
	last := entries[0].line
	for _, e := range entries[1:] {
		if e.key == "" || e.file != entries[0].file {
			break
		}
		last = e.line
	}
	return last
}

func unknownSection(settings []setting, e entry, r *report) *draft {
	for _, s := range settings {
		if strings.EqualFold(strings.TrimSpace(e.section), s.section) {
			return r.add(e, UnknownSection, "", "unknown section; it is spelled [%s]; everything in it is ignored", s.section)
		}
	}
	if file := elsewhere[e.section]; file != "" {
		return r.add(e, UnknownSection, "", "this section belongs in %s; everything in it is ignored", file)
	}
	return r.add(e, UnknownSection, "", "unknown section; everything in it is ignored")
}

// elsewhere tells in which file sections stand that only one daemon, or none, reads.
var elsewhere = map[string]string{
	dcSection: "stafd.conf", "Service Discovery": "stafd.conf", ioSection: "stacd.conf", "Host": "sys.conf",
	sectDC: "nvme-stas.conf", sectSubsystem: "nvme-stas.conf", sectDCDefaults: "nvme-stas.conf", sectIODefaults: "nvme-stas.conf",
}

// unknownKey never shows the value: it may be a secret under a misspelled key.
func unknownKey(settings []setting, e entry, r *report) {
	if e.section == controllersSection || e.key == "controller" {
		r.incomplete = true
	}
	key := e.key
	if e.odd {
		e.key = "" // it could be anything, part of a secret too
	}
	switch {
	case e.indented:
		r.add(e, ContinuedLine, "", "a value cannot continue on the next line; the line is ignored")
		return
	case e.odd:
		if word := keyBefore(settings, e.section, key); word != "" {
			e.key = word
			r.add(e, UnknownKey, "", "a \"=\" must follow the key; the line is ignored")
			return
		}
		r.add(e, UnknownKey, "", "the line is not of the form key=value; it is ignored")
		return
	}
	for _, s := range settings {
		if s.key == key {
			r.add(e, UnknownKey, "", "unknown key in this section; it belongs in [%s]; the line is ignored", s.section)
			return
		}
	}
	if near := nearest(settings, e); near != "" {
		r.add(e, UnknownKey, "", "unknown key; did you mean %s? The line is ignored", near)
		return
	}
	r.add(e, UnknownKey, "", "unknown key; the line is ignored")
}

// keyBefore gives the key of a section that text begins with, where something else than "=" follows it.
func keyBefore(settings []setting, section, text string) string {
	word := strings.TrimRight(text[:strings.IndexAny(text+" ", ": \t")], " \t")
	for _, s := range settings {
		if s.section == section && s.key == word {
			return word
		}
	}
	return ""
}

// nearest gives the key of e's section that is at most two edits away.
func nearest(settings []setting, e entry) string {
	best, near := 3, ""
	for _, s := range settings {
		if s.section == e.section && s.deprecated == "" && len(e.key) > 2 {
			if d := edits(e.key, s.key); d < best {
				best, near = d, s.key
			}
		}
	}
	return near
}

// edits is the Levenshtein distance; keys are short.
func edits(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
