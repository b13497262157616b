package edit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stas-go/stas/pkg/exclusion"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

func get(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return string(content)
}

// onlyFile fails when a writer left something beside the list.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if len(files) != 1 || files[0].Name() != filepath.Base(path) {
		t.Errorf("files: %v", files)
	}
}

func TestAddMakesTheList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etc/nvme/exclusions.conf.d/lab.conf")
	old := syscall.Umask(0o077)
	added, err := Add(path, "traddr=192.168.1.10; transport=tcp")
	syscall.Umask(old)
	if !added || err != nil {
		t.Fatal(added, err)
	}
	text := get(t, path)
	lines := strings.Split(text, "\n")
	for i := range 3 {
		if !strings.HasPrefix(lines[i], "# ") {
			t.Errorf("line %d is no comment: %s", i+1, lines[i])
		}
	}
	if diff := cmp.Diff([]string{"", "[exclusions]", "exclusion = transport=tcp;traddr=192.168.1.10", ""}, lines[3:]); diff != "" {
		t.Error(diff)
	}
	dir := filepath.Dir(path)
	for name, mode := range map[string]fs.FileMode{path: 0o644, dir: 0o755 | fs.ModeDir, filepath.Dir(dir): 0o755 | fs.ModeDir} {
		info, err := os.Lstat(name)
		must(t, err)
		if info.Mode() != mode {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	onlyFile(t, path)
	if added, err := Add(path, "transport=tcp;traddr=::ffff:192.168.1.10;"); added || err != nil || get(t, path) != text {
		t.Errorf("an equal entry: added %v, %v", added, err)
	}
}

func TestAddKeepsTheRest(t *testing.T) {
	const entry = "exclusion = nqn=n\n"
	for before, after := range map[string]string{
		"":                              "\n[exclusions]\n" + entry,
		"[exclusions]":                  "[exclusions]\n" + entry,
		"# a\n[exclusions]\n# b\n":      "# a\n[exclusions]\n" + entry + "# b\n",
		"[exclusions]\nexclusion=nqn=m": "[exclusions]\nexclusion=nqn=m\n" + entry,
		"[exclusions]\r\nexclusion = nqn=m\r\n# end":    "[exclusions]\r\nexclusion = nqn=m\r\n" + entry + "# end",
		"[ exclusions ]\nexclusion=nqn=m\n[other]\na=b": "[ exclusions ]\nexclusion=nqn=m\n" + entry + "[other]\na=b",
		"[other]\na=b": "[other]\na=b\n\n[exclusions]\n" + entry,
		"[exclusions]\n[other]\n[exclusions]\n[more]\n": "[exclusions]\n[other]\n[exclusions]\n" + entry + "[more]\n",
	} {
		path := filepath.Join(t.TempDir(), "x.conf")
		put(t, path, before)
		added, err := Add(path, "nqn=n")
		if !added || err != nil {
			t.Errorf("%q: %v, %v", before, added, err)
		}
		if diff := cmp.Diff(after, get(t, path)); diff != "" {
			t.Errorf("%q: %s", before, diff)
		}
		if n, err := Remove(path, "nqn=n"); n != 1 || err != nil {
			t.Errorf("%q: removed %d, %v", before, n, err)
		}
		onlyFile(t, path)
	}
}

func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.conf")
	if _, err := Remove(path, "nqn=n"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent list: %v", err)
	}
	put(t, path, "# nqn=n\n[exclusions]\nexclusion = traddr=fe80::1\nexclusion = nqn=n\n exclusion=traddr=FE80:0::1 ;\n")
	if n, err := Remove(path, "nqn=m"); n != 0 || err != nil {
		t.Errorf("absent entry: %d, %v", n, err)
	}
	n, err := Remove(path, "traddr=fe80::0:1")
	if n != 2 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	if diff := cmp.Diff("# nqn=n\n[exclusions]\nexclusion = nqn=n\n", get(t, path)); diff != "" {
		t.Error(diff)
	}
	if _, err := Remove(path, "foo"); !errors.Is(err, exclusion.ErrMalformed) {
		t.Errorf("malformed entry: %v", err)
	}
}

func TestNothingInvalidIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.conf")
	for _, content := range []string{
		"exclusion = nqn=n\n", "[broken\n", "[exclusions]\nexclusion = foo\n", "[exclusions]\nexclusion =\n",
		"[other]\nexclusion = nqn=n\n", strings.Repeat("#", maxFile+1), strings.Repeat("x\n", 200) + "[broken\n",
	} {
		if err := Write(path, []byte(content), 0); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.40q: %v", content, err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%.40q: written (%v)", content, err)
		}
	}
	put(t, path, "[exclusions]\nexclusion = foo\n")
	_, err := Add(path, "nqn=n")
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "x.conf:2:") || strings.Contains(get(t, path), "nqn=n") {
		t.Errorf("added to a broken list: %v", err)
	}
	if _, err := Add(path, "transport=tcp;traddr=name"); !errors.Is(err, exclusion.ErrMalformed) {
		t.Errorf("malformed entry: %v", err)
	}
	if _, err := Add(filepath.Join(t.TempDir(), "z.conf"), "nqn=a\nnqn=b"); !errors.Is(err, exclusion.ErrMalformed) {
		t.Errorf("two entries for one: %v", err)
	}
	must(t, Write(filepath.Join(t.TempDir(), "y.conf"), []byte("x\n; y\n[other]\n"), 0)) // harmless
}

func TestTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.conf")
	if content, token, err := Read(path); content != nil || token != 0 || err != nil {
		t.Errorf("absent: %q, %d, %v", content, token, err)
	}
	if err := Delete(path, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("delete what is absent: %v", err)
	}
	must(t, Create(path))
	if err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create twice: %v", err)
	}
	content, token, err := Read(path)
	must(t, err)
	if string(content) != header {
		t.Errorf("new list: %q", content)
	}
	must(t, Check(path, content))
	if err := Write(path, content, 0); !errors.Is(err, ErrStale) {
		t.Errorf("make what exists: %v", err)
	}
	if _, err := Add(path, "nqn=n"); err != nil {
		t.Error(err)
	}
	if err := Write(path, content, token); !errors.Is(err, ErrStale) {
		t.Errorf("write with an old token: %v", err)
	}
	if err := Delete(path, token); !errors.Is(err, ErrStale) {
		t.Errorf("delete with an old token: %v", err)
	}
	_, token, err = Read(path)
	must(t, err)
	must(t, Write(path, []byte("# empty\n"), token))
	_, token, err = Read(path)
	must(t, err)
	must(t, Delete(path, token))
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	// FNV-1a of 64 bits: the offset basis, and "a" (the vectors of its authors).
	if tokenOf(nil) != 0xcbf29ce484222325 || tokenOf([]byte("a")) != 0xaf63dc4c8601ec8c {
		t.Error("the token is not FNV-1a")
	}
}

func TestLinksAreLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.conf")
	put(t, path+".real", "[exclusions]\n")
	must(t, os.Symlink("x.conf.real", path))
	if _, err := Add(path, "nqn=n"); err == nil {
		t.Error("wrote through a link")
	}
	if target, err := os.Readlink(path); err != nil || target != "x.conf.real" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
}

func TestPath(t *testing.T) {
	for name, want := range map[string]string{"": "/m", "lab": "/d/lab.conf", "A-b_9": "/d/A-b_9.conf"} {
		if got, err := Path("/m", "/d", name); got != want || err != nil {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"a.b", "../x", "a/b", " ", "ä", "a\x00"} {
		if got, err := Path("/m", "/d", name); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
}

// Writers that take turns lose nothing, and readers always see a whole list.
func TestWritersTakeTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.conf")
	must(t, Create(path))
	const writers, each = 6, 5
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if added, err := Add(path, fmt.Sprintf("nqn=n%d-%d", w, i)); !added || err != nil {
					t.Errorf("added %v, %v", added, err)
				}
				l, problems := exclusion.Load(path, "")
				if problems != nil || l.Len() == 0 {
					t.Errorf("a reader sees %d entries, %v", l.Len(), problems)
				}
			}
		})
	}
	wg.Wait()
	if l, _ := exclusion.Load(path, ""); l.Len() != writers*each {
		t.Errorf("%d entries", l.Len())
	}
	onlyFile(t, path)
}

func TestDirectoryThatIsAFIFO(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "exclusions.conf.d")
	must(t, syscall.Mkfifo(dir, 0o644))
	path := filepath.Join(dir, "lab.conf")
	for name, change := range map[string]func() error{
		"add":    func() error { _, err := Add(path, "transport=tcp"); return err },
		"remove": func() error { _, err := Remove(path, "transport=tcp"); return err },
		"create": func() error { return Create(path) },
		"delete": func() error { return Delete(path, 1) },
	} {
		done := make(chan error)
		go func() { done <- change() }()
		select {
		case err := <-done:
			if !errors.Is(err, syscall.ENOTDIR) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the FIFO is waited for", name)
		}
	}
}
