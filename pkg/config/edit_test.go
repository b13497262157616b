package config

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestSetAndClearKey(t *testing.T) {
	for name, c := range map[string]struct{ before, after, cleared string }{
		"no file":       {"", "[Host]\nsymname=new\n", "[Host]\n"},
		"commented":     {"# top\n[Host]\n# about nqn\n#nqn=x\n", "# top\n[Host]\nsymname=new\n# about nqn\n#nqn=x\n", "# top\n[Host]\n# about nqn\n#nqn=x\n"},
		"spacing":       {"[Host]\n  SymName  =  old one\nid=1\n", "[Host]\n  SymName  =  new\nid=1\n", "[Host]\nid=1\n"},
		"behind others": {"[Host]\nnqn=a\n\n; end\n[Other]\nsymname=o", "[Host]\nnqn=a\nsymname=new\n\n; end\n[Other]\nsymname=o", "[Host]\nnqn=a\n\n; end\n[Other]\nsymname=o"},
		"no line end":   {"[Host]\nnqn=a", "[Host]\nnqn=a\nsymname=new\n", "[Host]\nnqn=a\n"},
		"CRLF":          {"\ufeff[Host]\r\nsymname=old\r\nid=1\r\n", "\ufeff[Host]\r\nsymname=new\r\nid=1\r\n", "\ufeff[Host]\r\nid=1\r\n"},
		"twice":         {"[Host]\nsymname=a\nsymname=b\n", "[Host]\nsymname=a\nsymname=new\n", "[Host]\n"},
		"no value":      {"[Host]\nsymname\n", "[Host]\nsymname=new\n", "[Host]\n"},
		"other section": {"[Other]\nx=1", "[Other]\nx=1\n[Host]\nsymname=new\n", "[Other]\nx=1\n[Host]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "stas", "sys.conf")
			if c.before != "" {
				write(t, filepath.Dir(path), "sys.conf", c.before)
			}
			for _, step := range []struct {
				do   func() error
				want string
			}{
				{func() error { return SetKey(path, "Host", "symname", "new") }, c.after},
				{func() error { return SetKey(path, "Host", "symname", "new") }, c.after},
				{func() error { return ClearKey(path, "Host", "symname") }, c.cleared},
			} {
				if err := step.do(); err != nil {
					t.Fatal(err)
				}
				if got, _ := os.ReadFile(path); string(got) != step.want {
					t.Fatalf("got %q, want %q", got, step.want)
				}
			}
		})
	}
}

func TestEditingKeepsModeAndLinks(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "real.conf", "[Host]\nkey="+secretA+"\n") // 0600
	link := filepath.Join(dir, "sys.conf")
	if err := os.Symlink("real.conf", link); err != nil {
		t.Fatal(err)
	}
	if err := SetKey(link, "Host", "symname", "x"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info, err)
	}
}

func TestBrokenFilesAreNotEdited(t *testing.T) {
	for _, text := range []string{"[Host", "x=1\n", "[Host]\nx=\x00"} {
		path := write(t, t.TempDir(), "sys.conf", text)
		if err := SetKey(path, "Host", "symname", "x"); err == nil {
			t.Errorf("%q was edited", text)
		}
		if got, _ := os.ReadFile(path); string(got) != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	for _, value := range []string{"", " x", "a\nb"} {
		if err := SetKey(filepath.Join(t.TempDir(), "x"), "Host", "symname", value); err == nil {
			t.Errorf("value %q was taken", value)
		}
	}
}

func TestEditorsTakeTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sys.conf")
	var all sync.WaitGroup
	const n = 16
	for i := range n {
		all.Go(func() {
			if err := SetKey(path, "Host", fmt.Sprintf("k%d", i), "v"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	text, _ := os.ReadFile(path)
	entries, err := parseINI(path, text)
	if err != nil || len(entries) != n+1 {
		t.Errorf("%d entries, %v:\n%s", len(entries), err, text)
	}
}
