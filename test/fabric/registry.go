package fabric

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

const registryRoot = "/run/nvme/registry"

// Entries holds when which entry of the ownership registry came into being, seen by inotify.
type Entries struct {
	mu  sync.Mutex
	all []Entry
	err error
}

// Entry is an entry of the registry as it was when it appeared.
type Entry struct {
	Time  time.Time
	Name  string // nvme3
	Owner string
}

// WatchRegistry notes every entry that appears in the registry until the end of the test.
func WatchRegistry(t testing.TB) *Entries {
	t.Helper()
	if err := os.MkdirAll(registryRoot, 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := fsnotify.NewBufferedWatcher(4096)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(registryRoot); err != nil {
		t.Fatal(err)
	}
	e := &Entries{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.read(w)
	}()
	t.Cleanup(func() {
		_ = w.Close()
		<-done
		if e.err != nil {
			t.Errorf("the record of registry entries is not complete: %v", e.err)
		}
	})
	return e
}

func (e *Entries) read(w *fsnotify.Watcher) {
	events, failures := w.Events, w.Errors
	for events != nil {
		select {
		case event, ok := <-events:
			now := time.Now()
			if !ok {
				return
			}
			name := filepath.Base(event.Name)
			if !event.Has(fsnotify.Create) || !strings.HasPrefix(name, "nvme") {
				continue
			}
			e.mu.Lock()
			e.all = append(e.all, Entry{Time: now, Name: name, Owner: Controller{Name: name}.Owner()})
			e.mu.Unlock()
		case err, ok := <-failures:
			if !ok {
				failures = nil
				continue
			}
			e.mu.Lock()
			e.err = errors.Join(e.err, err)
			e.mu.Unlock()
		}
	}
}

// All are the entries that have appeared so far, in order.
func (e *Entries) All() []Entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Entry(nil), e.all...)
}
