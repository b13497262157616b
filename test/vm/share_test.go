package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestCommandLine has a shell run the line: arguments and environment arrive as they were given.
func TestCommandLine(t *testing.T) {
	awkward := []string{"", "two words", "it's", `$HOME "x" \`, "*", "line\nline"}
	script := `for a in "$VALUE" "$@"; do printf '<%s>' "$a"; done`
	line := commandLine([]string{"VALUE=a=b 'c'"}, append([]string{"sh", "-c", script, "name"}, awkward...))
	out, err := exec.Command("bash", "-c", line).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := "<a=b 'c'>"
	for _, a := range awkward {
		want += "<" + a + ">"
	}
	if string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestLastLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if got := lastLines(name, 2); got != nil {
		t.Errorf("no file: %q", got)
	}
	if err := os.WriteFile(name, []byte("a\nb\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int][]string{2: {"b", "c"}, 3: {"a", "b", "c"}, 9: {"a", "b", "c"}} {
		if got := lastLines(name, n); !slices.Equal(got, want) {
			t.Errorf("%d lines: %q, want %q", n, got, want)
		}
	}
}

// TestFill prepares a share as the guest wants it.
func TestFill(t *testing.T) {
	share, tree, file := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "program")
	for _, f := range []string{file, filepath.Join(tree, "installed")} {
		if err := os.WriteFile(f, []byte("x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r := run{tree: tree, files: list{file}, command: []string{"true"}}
	if err := r.fill(share); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"guest.sh", "settings", "command", "files/program", "files.tar", "tree.tar", "out"} {
		if !fileExists(filepath.Join(share, name)) {
			t.Errorf("no %s", name)
		}
	}
	if out, err := exec.Command("bash", "-n", filepath.Join(share, "guest.sh")).CombinedOutput(); err != nil {
		t.Errorf("guest.sh: %s", out)
	}
	r.files = list{filepath.Join(tree, "absent")}
	if err := r.fill(t.TempDir()); err == nil {
		t.Error("a file that is not there was put in")
	}
}
