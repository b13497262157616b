package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// counts are those of tests and subtests.
type counts struct{ passed, failed, skipped int }

func (c *counts) add(d counts) {
	c.passed += d.passed
	c.failed += d.failed
	c.skipped += d.skipped
}

// event is a line of `go test -json` (see `go doc test2json`).
type event struct {
	Action     string
	Package    string
	ImportPath string // instead of Package in build-output
	Test       string
	Output     string
}

// reader counts the tests in the output of go test, in either form, and prints what is worth reading.
type reader struct {
	counts
	out    io.Writer
	output map[string][]string // of tests that still run, by package and name
	failin map[string]int      // failed tests by package
}

var result = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): `)

func (r *reader) line(s string) {
	var e event
	if strings.HasPrefix(s, "{") && json.Unmarshal([]byte(s), &e) == nil && e.Action != "" {
		r.event(e)
		return
	}
	if m := result.FindStringSubmatch(s); m != nil {
		switch m[1] {
		case "PASS":
			r.passed++
		case "FAIL":
			r.failed++
		case "SKIP":
			r.skipped++
		}
	}
	_, _ = fmt.Fprintln(r.out, s)
}

func (r *reader) event(e event) {
	if r.output == nil {
		r.output, r.failin = make(map[string][]string), make(map[string]int)
	}
	test := e.Package + " " + e.Test
	switch {
	case e.Action == "output" && e.Test != "":
		r.output[test] = append(r.output[test], e.Output)
	case e.Action == "output" && e.Output != "PASS\n", e.Action == "build-output":
		_, _ = io.WriteString(r.out, e.Output)
	case e.Test == "" && e.Action == "fail" && r.failin[e.Package] == 0:
		// It does not build, it panicked outside of a test, or TestMain found something.
		_, _ = fmt.Fprintf(r.out, "--- FAIL: %s\n", e.Package)
		r.failed++
	case e.Test == "":
	case e.Action == "pass":
		r.passed++
		r.show(test, false)
	case e.Action == "skip":
		r.skipped++
		r.show(test, true)
	case e.Action == "fail":
		r.failed++
		r.failin[e.Package]++
		r.show(test, true)
	}
}

// show prints the end of a test: its result line, or all of its output.
func (r *reader) show(test string, all bool) {
	for _, line := range r.output[test] {
		if strings.HasPrefix(line, "=== ") || !all && !result.MatchString(line) {
			continue
		}
		_, _ = io.WriteString(r.out, line)
	}
	delete(r.output, test)
}
