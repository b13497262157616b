package main

import (
	"strings"
	"testing"
)

func TestReader(t *testing.T) {
	for _, c := range []struct {
		name  string
		input string
		want  counts
		show  string // appears
		hide  string // does not
	}{
		{"json", `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: chatter\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- PASS: TestA (0.00s)\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p"}`, counts{passed: 1}, "--- PASS: TestA", "chatter"},
		{"json failure", `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: reason\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- FAIL: TestA (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}`, counts{failed: 1}, "reason", "FAIL: p\n"},
		{"no build", `{"ImportPath":"p","Action":"build-output","Output":"p.go:1: undefined\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"fail","Package":"p"}`, counts{failed: 1}, "undefined", "never"},
		{"text", "=== RUN   TestA\n--- PASS: TestA (1.00s)\n    --- FAIL: TestA/sub (0.00s)\n--- SKIP: TestB (0.00s)\nPASS",
			counts{passed: 1, failed: 1, skipped: 1}, "=== RUN", "never"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			r := reader{out: &out}
			for line := range strings.Lines(c.input) {
				r.line(strings.TrimSuffix(line, "\n"))
			}
			if r.counts != c.want {
				t.Errorf("got %+v, want %+v", r.counts, c.want)
			}
			if !strings.Contains(out.String(), c.show) || strings.Contains(out.String(), c.hide) {
				t.Errorf("output %q: must have %q and not %q", out.String(), c.show, c.hide)
			}
		})
	}
}
