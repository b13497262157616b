package exclusion

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// tree is an /etc/nvme of its own.
type tree struct {
	t            *testing.T
	dir          string
	main, dropin string
}

func newTree(t *testing.T) *tree {
	t.Helper()
	base := t.TempDir()
	return treeIn(t, filepath.Join(base, "etc/nvme"))
}

func treeIn(t *testing.T, dir string) *tree {
	return &tree{t: t, dir: dir, main: filepath.Join(dir, "exclusions.conf"), dropin: filepath.Join(dir, "exclusions.conf.d")}
}

func (f *tree) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *tree) mkdir() {
	f.t.Helper()
	f.must(os.MkdirAll(f.dropin, 0o755))
}

// list writes a list with one entry, in place.
func (f *tree) list(path, entry string) {
	f.t.Helper()
	f.must(os.WriteFile(path, []byte("[exclusions]\nexclusion = "+entry+"\n"), 0o644))
}

// renamed writes it as tools do.
func (f *tree) renamed(path, entry string) {
	f.t.Helper()
	temp := filepath.Join(filepath.Dir(path), TempPrefix+"abcdef")
	f.list(temp, entry)
	f.must(os.Rename(temp, path))
}

func excludes(l *List, edits ...string) bool {
	_, ok := l.Match(c(edits...))
	return ok
}

// TC-47
func TestLoadTakesDropinsByName(t *testing.T) {
	for name, want := range map[string]bool{
		"a.conf": true, ".a.conf": true, "a b.conf": true, "a.b.conf": true,
		".conf": false, "a.conf~": false, "a.CONF": false, "a.txt": false, "aconf": false, ".excl.tmp.x": false,
	} {
		f := newTree(t)
		f.mkdir()
		f.list(filepath.Join(f.dropin, name), "transport=tcp")
		l, problems := Load(f.main, f.dropin)
		if excludes(l) != want || problems != nil {
			t.Errorf("%q: excluded %v, %v", name, excludes(l), problems)
		}
	}
}

func TestLoadJoinsAllFiles(t *testing.T) {
	f := newTree(t)
	f.mkdir()
	f.list(f.main, "trsvcid=1")
	f.list(filepath.Join(f.dropin, "b.conf"), "trsvcid=2")
	f.list(filepath.Join(f.dropin, "a.conf"), "trsvcid=3")
	f.must(os.Mkdir(filepath.Join(f.dir, "exclusions"), 0o755))
	l, problems := Load(f.main, f.dropin)
	var order []string
	for _, e := range l.Entries() {
		order = append(order, e.String()+"@"+filepath.Base(e.Where()))
	}
	if got := strings.Join(order, " "); got != "trsvcid=1@exclusions.conf:2 trsvcid=3@a.conf:2 trsvcid=2@b.conf:2" {
		t.Error(got)
	}
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "exclusions: this directory is not read") {
		t.Errorf("obsolete directory: %v", problems)
	}
}

// TC-48
func TestLoadIsFailOpen(t *testing.T) {
	broken := map[string]struct {
		prepare  func(f *tree)
		problems int
	}{
		"nothing there":          {func(*tree) {}, 0},
		"empty directory":        {func(f *tree) { f.mkdir() }, 0},
		"main is a directory":    {func(f *tree) { f.must(os.MkdirAll(f.main, 0o755)) }, 1},
		"drop-in is a directory": {func(f *tree) { f.must(os.MkdirAll(filepath.Join(f.dropin, "x.conf"), 0o755)) }, 1},
		"conf.d is a file":       {func(f *tree) { f.must(os.MkdirAll(f.dir, 0o755)); f.list(f.dropin, "transport=tcp") }, 1},
		"dangling link":          {func(f *tree) { f.mkdir(); f.must(os.Symlink("nowhere", filepath.Join(f.dropin, "x.conf"))) }, 0},
		"link to itself":         {func(f *tree) { f.mkdir(); f.must(os.Symlink("x.conf", filepath.Join(f.dropin, "x.conf"))) }, 1},
	}
	for what, b := range broken {
		t.Run(what, func(t *testing.T) {
			f := newTree(t)
			b.prepare(f)
			l, problems := Load(f.main, f.dropin)
			if l == nil || excludes(l) || len(problems) != b.problems {
				t.Errorf("%v, problems %v", l, problems)
			}
			// What is readable beside it counts.
			good := filepath.Join(f.dropin, "z.conf")
			if what == "conf.d is a file" || what == "nothing there" {
				good = f.main
				f.must(os.MkdirAll(f.dir, 0o755))
			} else {
				f.mkdir()
			}
			f.list(good, "trsvcid=4420")
			if l, _ := Load(f.main, f.dropin); !excludes(l) {
				t.Error("a readable list does not count")
			}
		})
	}
}

// TC-50, TC-52: every change is seen by the next question, however it was made.
func TestFilesSeeEveryChange(t *testing.T) {
	f := newTree(t)
	files := NewFiles(f.main, f.dropin)
	step := func(what string, want bool, change func()) {
		t.Helper()
		change()
		if got := excludes(files.Current()); got != want {
			t.Fatalf("%s: excluded %v, want %v", what, got, want)
		}
	}
	extra := filepath.Join(f.dropin, "x.conf")
	step("nothing there", false, func() {})
	step("main file appears", true, func() { f.must(os.MkdirAll(f.dir, 0o755)); f.list(f.main, "trsvcid=4420") })
	// Same inode, same size, same clock tick.
	for range 20 {
		step("rewritten in place", false, func() { f.list(f.main, "trsvcid=4421") })
		step("rewritten in place", true, func() { f.list(f.main, "trsvcid=4420") })
	}
	step("with the old times put back", false, func() {
		info, err := os.Stat(f.main)
		f.must(err)
		f.list(f.main, "trsvcid=4421")
		f.must(os.Chtimes(f.main, info.ModTime(), info.ModTime()))
	})
	step("renamed into place", true, func() { f.renamed(f.main, "trsvcid=4420") })
	step("removed", false, func() { f.must(os.Remove(f.main)) })
	step("drop-in", true, func() { f.mkdir(); f.renamed(extra, "trsvcid=4420") })
	step("drop-in renamed away", false, func() { f.must(os.Rename(extra, extra+"~")) })
	step("drop-in renamed back", true, func() { f.must(os.Rename(extra+"~", extra)) })
	step("all gone", false, func() { f.must(os.RemoveAll(f.dir)) })
}

func TestFilesReadNothingTwice(t *testing.T) {
	f := newTree(t)
	f.mkdir()
	began := time.Now()
	f.list(f.main, "trsvcid=4420")
	f.list(filepath.Join(f.dropin, "x.conf"), "trsvcid=4421")
	files := NewFiles(f.main, f.dropin)
	first := files.Current()
	if first.Generation() != 1 || files.certain && time.Since(began) < settled-100*time.Millisecond {
		t.Fatalf("generation %d, certain %v right after a change", first.Generation(), files.certain)
	}
	if files.Current() != first {
		t.Error("an unchanged list is another one")
	}
	f.must(os.WriteFile(f.main, []byte("# comment\n[exclusions]\n"), 0o644))
	if l := files.Current(); l.Generation() != 2 || l.Len() != 1 {
		t.Errorf("generation %d, %d entries", l.Generation(), l.Len())
	}
	// Long after the last change the stamps are enough.
	var last time.Time // change
	for _, s := range files.version {
		if at := time.Unix(s.ctime.Unix()); at.After(last) {
			last = at
		}
	}
	if !old(files.version, last.Add(settled+time.Second)) || old(files.version, last) || old(files.version, last.Add(-time.Hour)) || last.Before(began.Add(-time.Second)) {
		t.Error("the age of the files is misjudged")
	}
	files.certain = true
	files.list = &List{generation: 7}
	if files.Current().Generation() != 7 {
		t.Error("read again although nothing changed")
	}
	f.list(filepath.Join(f.dropin, "y.conf"), "trsvcid=4422")
	if l := files.Current(); l.Generation() != 8 || l.Len() != 2 {
		t.Errorf("generation %d, %d entries", l.Generation(), l.Len())
	}
}

// The directory is listed again only where its stamp is another, or young enough to stand for two versions.
func TestDirectoryIsListedWhenItChanges(t *testing.T) {
	f := newTree(t)
	f.mkdir()
	f.list(filepath.Join(f.dropin, "x.conf"), "trsvcid=4421")
	files := NewFiles(f.main, f.dropin)
	now := time.Now()
	if l := files.look(now); l.certain || len(l.names) != 1 {
		t.Fatalf("right after a change: certain %v, %d names", l.certain, len(l.names))
	}
	if l := files.look(now.Add(settled + time.Second)); !l.certain || len(l.names) != 1 {
		t.Fatalf("long after the last change: certain %v, %d names", l.certain, len(l.names))
	}
	files.listing.names = nil
	if l := files.look(now); len(l.names) != 0 {
		t.Error("listed again although nothing changed")
	}
	for before := stampOf(f.dropin); stampOf(f.dropin) == before; { // a clock tick may pass
		f.must(os.Remove(filepath.Join(f.dropin, "x.conf")))
		f.list(filepath.Join(f.dropin, "x.conf"), "trsvcid=4421")
	}
	if l := files.look(now); l.certain || len(l.names) != 1 {
		t.Errorf("after a change: certain %v, %d names", l.certain, len(l.names))
	}
	f.must(os.RemoveAll(f.dropin))
	if l := files.look(now); !l.certain || len(l.names) != 0 {
		t.Errorf("gone: certain %v, %d names", l.certain, len(l.names))
	}
	f.mkdir()
	f.list(filepath.Join(f.dropin, "x.conf"), "trsvcid=4421")
	if l := files.look(now); len(l.names) != 1 {
		t.Errorf("there again: %d names", len(l.names))
	}
}

func TestProblemsAreToldOnce(t *testing.T) {
	f := newTree(t)
	f.mkdir()
	f.list(f.main, "foo")
	files := NewFiles(f.main, f.dropin)
	if p := files.Problems(); p != nil {
		t.Errorf("before reading: %v", p)
	}
	files.Current()
	if p := files.Problems(); len(p) != 1 || p[0].Line != 2 {
		t.Errorf("first: %v", p)
	}
	files.Current()
	if p := files.Problems(); p != nil {
		t.Errorf("second: %v", p)
	}
	f.list(filepath.Join(f.dropin, "x.conf"), "bar")
	files.Current()
	if p := files.Problems(); len(p) != 1 || filepath.Base(p[0].File) != "x.conf" {
		t.Errorf("another file: %v", p)
	}
	f.list(f.main, "trsvcid=4420")
	files.Current()
	if p := files.Problems(); p != nil {
		t.Errorf("mended: %v", p)
	}
	f.list(f.main, "foo")
	files.Current()
	if p := files.Problems(); len(p) != 1 {
		t.Errorf("broken again: %v", p)
	}
}

func TestNewFilesDefaults(t *testing.T) {
	if f := NewFiles("", ""); f.main != DefaultFile || f.dropin != DefaultDropIn {
		t.Errorf("%s, %s", f.main, f.dropin)
	}
}

func BenchmarkCurrentUnchanged(b *testing.B) {
	dir := b.TempDir()
	files := NewFiles(filepath.Join(dir, "exclusions.conf"), filepath.Join(dir, "exclusions.conf.d"))
	if err := os.MkdirAll(files.dropin, 0o755); err != nil {
		b.Fatal(err)
	}
	for _, path := range []string{files.main, filepath.Join(files.dropin, "a.conf"), filepath.Join(files.dropin, "b.conf")} {
		if err := os.WriteFile(path, []byte("[exclusions]\nexclusion = nqn=x\n"), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	files.Current()
	files.certain = true
	b.ReportAllocs()
	for b.Loop() {
		files.Current()
	}
}

// A list that could not be read for a moment counts again as soon as it can be, though nothing about the file tells.
func TestUnreadableIsReadAgain(t *testing.T) {
	f := newTree(t)
	f.mkdir()
	f.list(f.main, "trsvcid=4420")
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(100 * 365 * 24 * time.Hour) // the file is as it is for long
		files := NewFiles(f.main, f.dropin)
		if !excludes(files.Current()) || !files.certain {
			t.Fatal("not excluded")
		}
		files = NewFiles(f.main, f.dropin)
		// Whoever opens a file that another has a lease of, without waiting, is told to try again.
		held, err := os.OpenFile(f.main, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		lease := func(kind uintptr) syscall.Errno {
			_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, held.Fd(), syscall.F_SETLEASE, kind)
			return errno
		}
		if errno := lease(syscall.F_WRLCK); errno != 0 {
			t.Skip("no leases here:", errno)
		}
		if excludes(files.Current()) || len(files.Problems()) != 1 {
			t.Error("it could be read")
		}
		lease(syscall.F_UNLCK)
		if !excludes(files.Current()) {
			t.Error("not read again")
		}
	})
}

// What stands in the place of the directory holds nobody up: the daemons read it before every connect.
func TestDirectoryThatIsAFIFO(t *testing.T) {
	f := newTree(t)
	f.must(os.MkdirAll(f.dir, 0o755))
	f.list(f.main, "transport=tcp")
	f.must(syscall.Mkfifo(f.dropin, 0o644))
	done := make(chan struct{})
	go func() {
		defer close(done)
		files := NewFiles(f.main, f.dropin)
		l := files.Current()
		if p := files.Problems(); !excludes(l) || len(p) != 1 || p[0].Kind != Unreadable || p[0].File != f.dropin {
			t.Errorf("%v, %v", l.Entries(), p)
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("it is waited for")
		f.must(os.WriteFile(f.dropin, nil, 0o644)) // lets the reader go on
		<-done
	}
}
