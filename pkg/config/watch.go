package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// watchSoak lets a writer finish: hostnqn and hostid are mostly made one after the other.
	watchSoak = 200 * time.Millisecond
	// lookAnyway covers what notification does not tell: mounts, and targets of symbolic links. It wakes an idle
	// daemon, so it is rare; a reload looks at once.
	lookAnyway = 10 * time.Minute
)

// WatchIdentity tells when the identity of [LoadIdentity] has become another than it is at the
// time of the call. The channel holds at most one value, which means "load it again"; it is closed after ctx
// ends. The files and their directories may appear and vanish at any time. The error is that of a
// host without free inotify instances.
func WatchIdentity(ctx context.Context, sysConf, etcNVMe string) (<-chan struct{}, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("cannot watch the host identity: %w", err)
	}
	w := &identityWatcher{sysConf: sysConf, dir: etcNVMe, notify: notify, changed: make(chan struct{}, 1)}
	w.told, _, w.files = loadIdentity("", sysConf, etcNVMe)
	w.place()
	go w.run(ctx)
	return w.changed, nil
}

// identityWatcher belongs to its one goroutine.
type identityWatcher struct {
	sysConf, dir string
	notify       *fsnotify.Watcher
	changed      chan struct{}
	told         Identity
	files        []string // that the identity was read from
}

func (w *identityWatcher) run(ctx context.Context) {
	defer close(w.changed)
	defer func() { _ = w.notify.Close() }()
	w.look() // what happened before the first watch was placed
	again := time.NewTicker(lookAnyway)
	defer again.Stop()
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
			due = nil
			w.look()
		case <-again.C:
			w.look()
		case _, ok := <-w.notify.Events:
			if !ok {
				return
			}
			if due == nil {
				due = time.After(watchSoak)
			}
		case _, ok := <-w.notify.Errors: // events were lost
			if !ok {
				return
			}
			if due == nil {
				due = time.After(watchSoak)
			}
		}
	}
}

// look places the watches before it reads, so that nothing falls between.
func (w *identityWatcher) look() {
	w.place()
	now, _, files := loadIdentity("", w.sysConf, w.dir)
	if files != nil && !slices.Equal(files, w.files) {
		w.files = files
		w.place()
		now, _, _ = loadIdentity("", w.sysConf, w.dir)
	}
	if now == w.told {
		return
	}
	w.told = now
	select {
	case w.changed <- struct{}{}:
	default: // one is waiting already
	}
}

// place watches the directories of all files that count, and where one is missing the nearest
// above it that exists.
func (w *identityWatcher) place() {
	dirs := []string{filepath.Dir(w.sysConf), w.sysConf + ".d", w.dir}
	for _, file := range w.files {
		dirs = append(dirs, filepath.Dir(file))
	}
	const tries = 5 // directories may come and go meanwhile
	for range tries {
		want := nearestDirs(dirs)
		for _, dir := range w.notify.WatchList() {
			// A watch sticks to a directory that was moved away from its name: start from nothing.
			_ = w.notify.Remove(dir)
		}
		for _, dir := range want {
			_ = w.notify.Add(dir) // what cannot be watched is looked at anyway, only later
		}
		if slices.Equal(want, nearestDirs(dirs)) {
			return
		}
	}
}

func nearestDirs(dirs []string) []string {
	var list []string
	for _, dir := range dirs {
		if dir = nearestDir(dir); !slices.Contains(list, dir) {
			list = append(list, dir)
		}
	}
	return list
}

func nearestDir(dir string) string {
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
