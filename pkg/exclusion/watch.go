package exclusion

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// DefaultSoak is how long Watch waits for more changes after the first.
const DefaultSoak = time.Second

// lookAnyway is how often Watch looks without having been told: notification knows
// nothing of the targets of symbolic links, of mounts and of remote writers. It wakes an idle
// daemon, so it is rare; before every attempt to connect the files are read anyway.
const lookAnyway = 10 * time.Minute

// Watch tells when the lists have changed since the last call of Current before Watch,
// and from then on: the channel holds at most one value, and that means "ask Current".
// Changes within soak (0: DefaultSoak) make one value; a change of comments makes none.
// The directories may appear and vanish at any time. The channel is closed after ctx ends.
//
// It makes removals of entries take effect without delay. It is no substitute for asking
// Current before every attempt. The error is that of a host without free inotify instances.
func (f *Files) Watch(ctx context.Context, soak time.Duration) (<-chan struct{}, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("cannot watch exclusion lists: %w", err)
	}
	if soak <= 0 {
		soak = DefaultSoak
	}
	w := &watcher{files: f, notify: notify, soak: soak, changed: make(chan struct{}, 1)}
	f.mu.Lock()
	w.told = f.list.Generation()
	f.mu.Unlock()
	go w.run(ctx)
	return w.changed, nil
}

// watcher belongs to its one goroutine.
type watcher struct {
	files   *Files
	notify  *fsnotify.Watcher
	soak    time.Duration
	changed chan struct{}
	told    uint64 // generation that the receiver was told of
}

func (w *watcher) run(ctx context.Context) {
	defer close(w.changed)
	defer w.notify.Close()
	w.place()
	w.look()
	again := time.NewTicker(lookAnyway)
	defer again.Stop()
	var due <-chan time.Time // nil while nothing soaks
	for {
		dirty := false
		select {
		case <-ctx.Done():
			return
		case <-due:
			due = nil
			w.look()
		case <-again.C:
			w.place()
			w.look()
		case event, ok := <-w.notify.Events:
			if !ok {
				return
			}
			dirty = w.concerns(event.Name)
			if w.above(event.Name) {
				w.place()
				dirty = true
			}
		case _, ok := <-w.notify.Errors:
			if !ok {
				return
			}
			// Events were lost, most likely: start over.
			w.place()
			dirty = true
		}
		if dirty && due == nil {
			due = time.After(w.soak)
		}
	}
}

// look tells the receiver when there is something to tell.
func (w *watcher) look() {
	generation := w.files.Current().Generation()
	if generation == w.told {
		return
	}
	w.told = generation
	select {
	case w.changed <- struct{}{}:
	default: // one is waiting already
	}
}

// concerns says whether path is a list. Files that are being written are not.
func (w *watcher) concerns(path string) bool {
	if path == w.files.main {
		return true
	}
	dir, name := filepath.Split(path)
	return filepath.Clean(dir) == w.files.dropin && dropinName(name) && !strings.HasPrefix(name, TempPrefix)
}

// above says whether path is a directory that holds lists or leads to them.
func (w *watcher) above(path string) bool {
	for _, dir := range w.dirs() {
		if path == dir || path == "/" || strings.HasPrefix(dir, path+"/") {
			return true
		}
	}
	return false
}

func (w *watcher) dirs() []string { return []string{filepath.Dir(w.files.main), w.files.dropin} }

// place watches every directory with lists, and where one is missing the nearest above
// it that exists. It starts from nothing, because a watch sticks to a directory that was
// moved away from its name.
func (w *watcher) place() {
	const tries = 10 // directories may come and go meanwhile
	for range tries {
		for _, dir := range w.notify.WatchList() {
			_ = w.notify.Remove(dir) // gone by itself
		}
		want := w.nearest()
		for _, dir := range want {
			// What cannot be watched is looked at anyway, only later.
			_ = w.notify.Add(dir)
		}
		if slices.Equal(want, w.nearest()) {
			return
		}
	}
}

func (w *watcher) nearest() []string {
	var list []string
	for _, dir := range w.dirs() {
		for {
			if info, err := os.Stat(dir); err == nil && info.IsDir() || dir == filepath.Dir(dir) {
				break
			}
			dir = filepath.Dir(dir)
		}
		if !slices.Contains(list, dir) {
			list = append(list, dir)
		}
	}
	return list
}
