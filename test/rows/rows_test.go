// Package rows keeps test/ROWS true: every id is there once, and what is named exists.
package rows

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// ids are all that must have a row.
func ids() []string {
	var list []string
	for n := range 111 {
		list = append(list, fmt.Sprint(n+1))
	}
	for n := range 50 {
		list = append(list, fmt.Sprintf("W%d", n+1))
	}
	for n := range 75 {
		list = append(list, fmt.Sprintf("TC-%02d", n+1))
	}
	return list
}

var declared = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w*)\(`)

// tests are the names of all tests of the tree, as PACKAGE.TEST.
func tests(t *testing.T) map[string]bool {
	names := map[string]bool{}
	for _, dir := range []string{"pkg", "test", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range declared.FindAllSubmatch(text, -1) {
				names[filepath.Base(filepath.Dir(path))+"."+string(m[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

func TestRows(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "test", "ROWS"))
	if err != nil {
		t.Fatal(err)
	}
	exists := tests(t)
	seen := map[string]bool{}
	all := ids()
	for n, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, rest, _ := strings.Cut(line, "\t")
		bad := func(why string, args ...any) {
			t.Errorf("test/ROWS:%d: %s %s", n+1, id, fmt.Sprintf(why, args...))
		}
		if seen[id] {
			bad("has two rows")
		}
		seen[id] = true
		if !slices.Contains(all, id) {
			bad("is no id")
		}
		if reason, none := strings.CutPrefix(rest, "- "); none {
			if len(strings.Fields(reason)) < 4 {
				bad("has no test and no reason")
			}
			continue
		}
		if strings.TrimSpace(rest) == "" {
			bad("has neither a test nor a reason")
		}
		for _, name := range strings.Fields(rest) {
			if !exists[name] {
				bad("names %s, which does not exist", name)
			}
		}
	}
	for _, id := range all {
		if !seen[id] {
			t.Errorf("test/ROWS has no row for %s", id)
		}
	}
}
