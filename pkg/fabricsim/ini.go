package fabricsim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// section is "[kind name]" and what follows it.
type section struct {
	kind, name string
	line       int
	settings   []setting
}

// setting is one "key = value".
type setting struct {
	key, value string
	line       int
}

// maxConfigLine bounds a line of the configuration, in bytes.
const maxConfigLine = 64 << 10

// parseINI reads sections. Lines that start with # or ; are comments; a line that
// starts with white space continues the value before it.
func parseINI(r io.Reader) ([]section, error) {
	var list []section
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxConfigLine)
	n := 0
	for in.Scan() {
		n++
		raw := in.Text()
		line := strings.TrimSpace(raw)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[':
			s, err := parseSection(line, n)
			if err != nil {
				return nil, err
			}
			list = append(list, s)
			continue
		case len(list) == 0:
			return nil, fmt.Errorf("line %d: a section has to come first", n)
		}
		s := &list[len(list)-1]
		if raw[0] == ' ' || raw[0] == '\t' {
			if k := len(s.settings); k > 0 {
				s.settings[k-1].value += " " + line
				continue
			}
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if !ok || !isKey(key) {
			return nil, fmt.Errorf("line %d: it is not of the form key = value", n) // not what it is: it may hold a secret
		}
		s.settings = append(s.settings, setting{strings.ToLower(key), strings.TrimSpace(value), n})
	}
	switch err := in.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d: it has more than %d bytes", n+1, maxConfigLine)
	case err != nil:
		return nil, fmt.Errorf("cannot read: %w", err)
	}
	return list, nil
}

// isKey says whether s has the form of a key, and so can be shown. What has not may be a secret on a line of its own.
func isKey(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

func parseSection(line string, n int) (section, error) {
	inner, ok := strings.CutSuffix(line[1:], "]")
	fields := strings.Fields(inner)
	if !ok || len(fields) == 0 || len(fields) > 2 {
		return section{}, fmt.Errorf("line %d: %.60q is not of the form [kind name]", n, line)
	}
	s := section{kind: strings.ToLower(fields[0]), line: n}
	if len(fields) == 2 {
		s.name = fields[1]
	}
	return s, nil
}
