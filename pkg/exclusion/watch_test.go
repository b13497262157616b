package exclusion

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const testSoak = 20 * time.Millisecond

// patience is for what must come, not for what must not.
const patience = 60 * time.Second

func startWatch(t *testing.T, f *tree, soak time.Duration) (*Files, <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	files := NewFiles(f.main, f.dropin)
	files.Current()
	changed, err := files.Watch(ctx, soak)
	f.must(err)
	t.Cleanup(func() {
		cancel()
		for range changed { // until it is closed
		}
	})
	return files, changed
}

// await changes something and waits until the watcher has told of it.
func await(t *testing.T, files *Files, changed <-chan struct{}, want bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case <-changed:
			// Read as the daemons do; a first, half-made state may come before the last.
			if excludes(files.Current()) == want {
				return
			}
		case <-limit:
			t.Fatalf("not told; excluded %v, want %v", excludes(files.Current()), want)
		}
	}
}

func TestWatchTellsOfEveryKindOfChange(t *testing.T) {
	f := newTree(t)
	extra := filepath.Join(f.dropin, "x.conf")
	files, changed := startWatch(t, f, testSoak)
	for _, step := range []struct {
		what   string
		want   bool
		change func()
	}{
		{"directories appear with a list", true, func() { f.mkdir(); f.list(extra, "trsvcid=4420") }},
		{"removed", false, func() { f.must(os.Remove(extra)) }},
		{"main file renamed into place", true, func() { f.renamed(f.main, "trsvcid=4420") }},
		{"rewritten in place", false, func() { f.list(f.main, "trsvcid=4421") }},
		{"drop-in renamed into place", true, func() { f.renamed(extra, "trsvcid=4420") }},
		{"renamed away", false, func() { f.must(os.Rename(extra, extra+"~")) }},
		{"renamed back", true, func() { f.must(os.Rename(extra+"~", extra)) }},
		{"drop-in directory moved away", false, func() { f.must(os.Rename(f.dropin, f.dropin+".old")) }},
		{"and back", true, func() { f.must(os.Rename(f.dropin+".old", f.dropin)) }},
		{"everything removed", false, func() { f.must(os.RemoveAll(f.dir)) }},
		{"everything new", true, func() { f.mkdir(); f.renamed(extra, "trsvcid=4420") }},
		{"directory moved away", false, func() { f.must(os.Rename(f.dir, f.dir+".old")) }},
		{"and back", true, func() { f.must(os.Rename(f.dir+".old", f.dir)) }},
		{"changed there", false, func() { f.renamed(extra, "trsvcid=4421") }},
	} {
		step.change()
		t.Log(step.what)
		await(t, files, changed, step.want)
	}
}

func TestWatchTellsWhatChangedBeforeIt(t *testing.T) {
	f := newTree(t)
	f.mkdir()
	files := NewFiles(f.main, f.dropin)
	files.Current()
	f.list(f.main, "trsvcid=4420")
	ctx, cancel := context.WithCancel(t.Context())
	changed, err := files.Watch(ctx, time.Hour)
	f.must(err)
	await(t, files, changed, true)
	cancel()
	if _, open := <-changed; open {
		t.Error("told again")
	}
}

func TestWatchCoalesces(t *testing.T) {
	f := newTree(t)
	f.mkdir()
	files, changed := startWatch(t, f, time.Second)
	f.renamed(f.main, "trsvcid=4420")
	await(t, files, changed, true) // the watches are in place now
	before, began := files.Current().Generation(), time.Now()
	for range 5 {
		f.renamed(filepath.Join(f.dropin, "y.conf"), "trsvcid=4422")
		f.renamed(f.main, "trsvcid=4421")
		f.renamed(filepath.Join(f.dropin, "y.conf"), "trsvcid=4423")
	}
	most := 1 + uint64(time.Since(began)/time.Second) // once, unless the machine stood still
	await(t, files, changed, false)
	if got := files.Current().Generation() - before; got < 1 || got > most {
		t.Errorf("looked %d times at what changed at once, want at most %d", got, most)
	}
}

func TestWatchIgnoresOtherFiles(t *testing.T) {
	w := &watcher{files: NewFiles("/etc/nvme/exclusions.conf", "/etc/nvme/exclusions.conf.d")}
	for path, want := range map[string]bool{
		"/etc/nvme/exclusions.conf":                    true,
		"/etc/nvme/exclusions.conf.d/a.conf":           true,
		"/etc/nvme/hostnqn":                            false,
		"/etc/nvme/.excl.tmp.abcdef":                   false,
		"/etc/nvme/exclusions.conf.d/.excl.tmp.abcdef": false,
		"/etc/nvme/exclusions.conf.d/a.conf~":          false,
		"/etc/nvme/a.conf":                             false,
	} {
		if w.concerns(path) != want || w.above(path) {
			t.Errorf("%s: concerns %v, above %v", path, w.concerns(path), w.above(path))
		}
	}
	for path, want := range map[string]bool{"/": true, "/etc": true, "/etc/nvme": true, "/etc/nvme/exclusions.conf.d": true, "/etc/nv": false, "/usr": false} {
		if w.above(path) != want {
			t.Errorf("%s: above %v", path, w.above(path))
		}
	}
}

func TestWatchNearest(t *testing.T) {
	f := newTree(t)
	w := &watcher{files: NewFiles(f.main, f.dropin)}
	base := filepath.Dir(filepath.Dir(f.dir))
	check := func(want ...string) {
		t.Helper()
		if got := w.nearest(); len(got) != len(want) || got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
			t.Errorf("watches %v, want %v", got, want)
		}
	}
	check(base)
	f.must(os.MkdirAll(f.dir, 0o755))
	check(f.dir)
	f.mkdir()
	check(f.dir, f.dropin)
}
