package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TC-03: what a reader that knows nothing of this package sees while entries are made,
// changed and removed.
func TestReadersNeverSeeAPart(t *testing.T) {
	rounds := 10_000
	base := memDir(t)
	if !strings.HasPrefix(base, "/dev/shm/") || testing.Short() {
		rounds = 500
	}
	h := newHostIn(t, base)
	var done atomic.Bool
	var seen atomic.Int64
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				if owner, err := pollOnce(h.Root()); err != nil {
					t.Error(err)
					return
				} else if owner {
					seen.Add(1)
				}
			}
		})
	}
	for i := range rounds {
		if t.Failed() {
			break
		}
		_, err := h.Create("nvme3", Stas, map[string]string{"stas-source": "first"})
		h.must(err)
		h.must(h.Set("nvme3", "stas-source", "second"))
		if i%3 == 0 {
			h.must(h.Remove("nvme3"))
		}
	}
	done.Store(true)
	readers.Wait()
	if seen.Load() == 0 {
		t.Error("the reader never saw an entry: nothing was tested")
	}
}

// pollOnce reads every visible entry, and says whether it saw one.
func pollOnce(root string) (saw bool, err error) {
	names, err := filepath.Glob(filepath.Join(root, "nvme*"))
	if err != nil {
		return false, err
	}
	for _, name := range names {
		entry, err := os.OpenRoot(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile: none of it
		}
		if err != nil {
			return saw, err
		}
		err = readWhole(entry, name)
		entry.Close()
		if err != nil {
			return saw, err
		}
		saw = true
	}
	return saw, nil
}

func readWhole(entry *os.Root, name string) error {
	want := map[string][]string{
		"owner": {"stas\n"}, "seqnum": {"100\n"}, "stas-source": {"first\n", "second\n"},
	}
	for attr, values := range want {
		text, err := entry.ReadFile(attr)
		if err != nil {
			// Right only if the entry was taken out of sight before this read.
			if still, e := inSight(entry, name); still || e != nil {
				return errors.Join(err, e)
			}
			return nil
		}
		if got := string(text); got != values[0] && got != values[len(values)-1] {
			return errors.New(name + "/" + attr + " holds " + got)
		}
	}
	return nil
}

// inSight says whether name still leads to the directory that was opened.
func inSight(entry *os.Root, name string) (bool, error) {
	opened, err := entry.Stat(".")
	if err != nil {
		return false, err
	}
	now, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(opened, now), err
}
