package config

import (
	"errors"
	"fmt"
)

// source keeps, for each of the two sets of files, what was read last without an error.
type source[T any] struct {
	own, other bool // the set was good at least once
	entries    []entry
	fabrics    *fabricsSet
	lost       bool // the version of nvme-stas.conf in force lacks controllers that it names
}

// read reads both sets and keeps what is good. The problems are those of the files as they are;
// the error is about the sets that cannot be used.
func (s *source[T]) read(f Files, make build[T]) (*T, []Problem, error) {
	var errs []error
	other := &report{}
	if f.Fabrics == "" {
		s.other = true
	} else if files, err := loadFabrics(f.Fabrics, other); err != nil {
		errs = append(errs, unjoin(err)...)
	} else {
		s.fabrics = resolve(files, other)
		s.other, s.lost = true, other.incomplete
	}
	entries, problems, err := readSet(f.Own)
	problems = append(problems, other.all()...)
	if err == nil {
		// Some values are only checked when they are taken.
		v, r := make(f.Own, entries, s.fabrics)
		problems = append(problems, r.all()...)
		if err = r.rejected; err == nil {
			s.own, s.entries = true, entries
			return v, problems, errors.Join(errs...)
		}
	}
	errs = append(errs, unjoin(err)...)
	v, _ := make(f.Own, s.entries, s.fabrics)
	return v, problems, errors.Join(errs...)
}

// current makes the configuration in force, and tells why it is not what the files say.
func (s *source[T]) current(f Files, make build[T], common func(*T) *Common) (*T, []Problem) {
	v, problems, err := s.read(f, make)
	if err != nil {
		for _, e := range unjoin(err) {
			problems = append(problems, fileProblem(e))
		}
	}
	c := common(v)
	c.Incomplete = c.Incomplete || s.lost || !s.own || !s.other
	for _, set := range []struct {
		good bool
		path string
	}{{s.own, f.Own}, {s.other, f.Fabrics}} {
		if !set.good {
			problems = append(problems, Problem{ID: UnusableFile, File: set.path, Severity: Error,
				Message: fmt.Sprintf("no version of this file with its drop-ins in %s.d could be used yet; nothing is disconnected until one can", set.path)})
		}
	}
	return v, problems
}

// StafSource reads stafd's configuration again and again. A set of files that cannot be used
// leaves the last good version of that set in force. It belongs to one goroutine.
type StafSource struct {
	Files Files
	from  source[Staf]
}

// Load gives the configuration in force, never nil, and every problem with the files as they
// are now. A problem that is an [Error] without a Key is a file that is not used as it is.
func (s *StafSource) Load() (*Staf, []Problem) {
	return s.from.current(s.Files, buildStaf, func(v *Staf) *Common { return &v.Common })
}

// StacSource reads stacd's configuration again and again; see [StafSource].
type StacSource struct {
	Files Files
	from  source[Stac]
}

// Load gives the configuration in force; see [StafSource.Load].
func (s *StacSource) Load() (*Stac, []Problem) {
	return s.from.current(s.Files, buildStac, func(v *Stac) *Common { return &v.Common })
}

// Format implements [fmt.Formatter]: what was read has secrets.
func (s StafSource) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprint(f, "stafd's configuration of ", s.Files.Own)
}

// Format implements [fmt.Formatter]: what was read has secrets.
func (s StacSource) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprint(f, "stacd's configuration of ", s.Files.Own)
}
