package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/stas-go/stas/pkg/tid"
)

// Files are the paths of one daemon's configuration. Beside each file its drop-ins are read:
// the files *.conf of the directory that is named as the file with ".d" behind, by name.
type Files struct {
	Own     string // stafd.conf or stacd.conf
	Fabrics string // nvme-stas.conf; empty: none
}

// LoadStaf reads stafd's files. Problems are what was not taken as written. An error says
// that a file as a whole cannot be used: what was in force before should stay so. [StafSource] does that.
func LoadStaf(f Files) (*Staf, []Problem, error) {
	var s source[Staf]
	v, problems, err := s.read(f, buildStaf)
	if err != nil {
		return nil, problems, err
	}
	v.Incomplete = v.Incomplete || s.lost
	return v, problems, nil
}

// LoadStac reads stacd's files; see [LoadStaf].
func LoadStac(f Files) (*Stac, []Problem, error) {
	var s source[Stac]
	v, problems, err := s.read(f, buildStac)
	if err != nil {
		return nil, problems, err
	}
	v.Incomplete = v.Incomplete || s.lost
	return v, problems, nil
}

// build makes a daemon's configuration of the entries of its own files and of the other set,
// which may be nil.
type build[T any] func(path string, entries []entry, set *fabricsSet) (*T, *report)

// readSet reads a 2.x file and its drop-ins. One unusable file makes the set unusable.
func readSet(path string) ([]entry, []Problem, error) {
	var problems []Problem
	var entries []entry
	texts, err := readTexts(path, maxFile)
	for _, f := range texts {
		readErr := f.err
		if errors.Is(readErr, fs.ErrNotExist) {
			remedy := fmt.Sprintf("mkdir -p %s && touch %s", quote(filepath.Dir(f.path)), quote(f.path))
			problems = append(problems, Problem{ID: MissingFile, File: f.path, Remedy: remedy, Message: "the file does not exist; using the defaults"})
			continue
		}
		var list []entry
		if readErr == nil {
			list, readErr = parseINI(f.path, f.text)
		}
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		entries = append(entries, list...)
	}
	return entries, problems, err
}

func buildStaf(path string, entries []entry, set *fabricsSet) (*Staf, *report) {
	s, old, r, scope := DefaultStaf(), &oldStaf{}, &report{}, &Scope{File: path}
	apply(stafSettings(s, scope, old), entries, r)
	old.settle(s)
	s.merge(tid.Discovery, scope, set, r)
	if set != nil && set.persistent != PersistDefault {
		// That is for what is discovered. Lines of the 2.x file go by their own file, and so does what a section resets.
		for i := range s.Controllers {
			s.Controllers[i].Persistent = cmp.Or(s.Controllers[i].Persistent, s.Persistent)
		}
		s.Persistent = set.persistent
	}
	scope.Discovery, scope.Persistent = s.Defaults, PersistDefault
	return s, r
}

func buildStac(path string, entries []entry, set *fabricsSet) (*Stac, *report) {
	s, old, r, scope := DefaultStac(), &oldStac{}, &report{}, &Scope{File: path}
	apply(stacSettings(s, scope, old), entries, r)
	old.settle(s)
	s.merge(tid.IO, scope, set, r)
	if set != nil {
		for _, c := range set.controllers {
			if c.Kind == tid.Discovery {
				s.DiscoveryControllers = append(s.DiscoveryControllers, c)
			}
		}
	}
	scope.IO = s.Defaults
	return s, r
}

// merge unites the controllers of both sets of files and completes the defaults: the lines of the 2.x
// file get its own defaults, what is discovered gets those of nvme-stas.conf over them.
func (c *Common) merge(kind tid.Kind, scope *Scope, set *fabricsSet, r *report) {
	for i := range c.Controllers {
		l := &c.Controllers[i]
		l.Params = l.Given.Over(c.Defaults)
		// A connection has one of TLS with a key of its own and secure concatenation: what the line says goes before
		// what is said for all.
		switch g := l.Given; {
		case g.WantsTLS():
			l.Params.TLS = tid.On // a line with a key, below a tls=false for all
			if g.Concat == tid.Unset {
				l.Params.Concat = tid.Off
			}
		case g.Concat == tid.On && g.TLS == tid.Unset:
			l.Params.TLS = tid.Off
		}
	}
	if set != nil {
		for _, ctrl := range set.controllers {
			if ctrl.Kind == kind {
				c.Controllers = append(c.Controllers, ctrl)
			}
		}
		c.Defaults = set.over(kind, c.Defaults)
	}
	c.finish(r)
}

// finish keeps one of those controllers that are the same connection: the later one.
func (c *Common) finish(r *report) {
	c.Incomplete = c.Incomplete || r.incomplete
	type name struct {
		kind    tid.Kind
		address string
	}
	at := make(map[name]int, len(c.Controllers))
	kept := c.Controllers[:0]
	for _, ctrl := range c.Controllers {
		n := name{ctrl.Kind, ctrl.address()}
		if i, ok := at[n]; ok {
			old := kept[i].at
			r.add(ctrl.at, SameController, "", "the same connection as in %s; this later line counts", old.where()).Remedy =
				commentOut(old.file, old.line, old.line)
			kept[i] = ctrl
			continue
		}
		at[n] = len(kept)
		kept = append(kept, ctrl)
	}
	c.Controllers = kept
}

// address spells what makes c's connection another than others.
func (c Controller) address() string {
	return fmt.Sprintf("%s;%s;%s;%s;%s;%s;%s", c.Transport, c.Traddr, c.Trsvcid, c.NQN, c.HostTraddr, c.HostIface, cmp.Or(c.HostNQN, c.Scope.Host.NQN))
}
