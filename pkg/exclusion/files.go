package exclusion

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// settled is the age from which on the time of a file's last change tells it from any
// later version: file systems count in steps of up to 2 s (FAT), Linux in clock ticks.
const settled = 3 * time.Second

// Files are the host-wide lists on disk. Ask Current right before every attempt to
// connect; it reads again whenever anything may have changed. All methods may be called
// from many goroutines.
type Files struct {
	main, dropin string

	mu       sync.Mutex
	list     *List // nil before the first reading
	version  []stamp
	certain  bool // equal stamps mean equal content
	listing  listing
	problems []Problem
	reported map[Problem]bool
}

// listing is what was found in the drop-in directory.
type listing struct {
	dir      stamp
	certain  bool // an equal stamp means the same names
	names    []string
	problems []Problem
}

// NewFiles names the lists; it reads nothing. An empty path stands for the default.
func NewFiles(mainFile, dropinDir string) *Files {
	f := &Files{main: filepath.Clean(mainFile), dropin: filepath.Clean(dropinDir)}
	if mainFile == "" {
		f.main = DefaultFile
	}
	if dropinDir == "" {
		f.dropin = DefaultDropIn
	}
	return f
}

// Current gives the lists as they are on disk now. When nothing changed that costs one stat for the
// directory and one per file, and the list is the same one as before.
func (f *Files) Current() *List {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	version := f.stamps(now)
	if f.list != nil && f.certain && slices.Equal(version, f.version) {
		return f.list
	}
	// The stamps are older than the content: a change in between shows next time.
	l, problems := Load(f.main, f.dropin)
	// Nothing need change about a file that could not be read before it can be.
	unread := slices.ContainsFunc(problems, func(p Problem) bool { return p.Kind == Unreadable })
	f.version, f.certain = version, old(version, now) && !unread
	f.problems = problems
	switch {
	case f.list == nil:
		l.generation = 1
		f.list = l
	case !slices.Equal(l.entries, f.list.entries):
		l.generation = f.list.generation + 1
		f.list = l
	}
	return f.list
}

// Problems are those of the present files that no earlier call returned, so that each is
// logged once per change and not once per connect.
func (f *Files) Problems() []Problem {
	f.mu.Lock()
	defer f.mu.Unlock()
	var fresh []Problem
	reported := make(map[Problem]bool, len(f.problems))
	for _, p := range f.problems {
		if !f.reported[p] && !reported[p] {
			fresh = append(fresh, p)
		}
		reported[p] = true
	}
	f.reported = reported
	return fresh
}

// stamp is what tells one version of a file from another without reading it. The time
// of the last inode change is part of it because, unlike that of the last
// modification, nobody can set it.
type stamp struct {
	path         string
	dev, inode   uint64
	size         int64
	mtime, ctime syscall.Timespec
	errno        syscall.Errno
}

func (f *Files) stamps(now time.Time) []stamp {
	l := f.look(now)
	version := make([]stamp, 0, 2+len(l.names)+len(l.problems))
	version = append(version, l.dir, stampOf(f.main))
	for _, name := range l.names {
		version = append(version, stampOf(name))
	}
	for _, p := range l.problems {
		version = append(version, stamp{path: p.Error()})
	}
	return version
}

// look lists the drop-in directory where it may have other names in it than last time.
func (f *Files) look(now time.Time) listing {
	dir := stampOf(f.dropin)
	if f.listing.certain && dir == f.listing.dir {
		return f.listing
	}
	l := listing{dir: dir}
	l.names, l.problems = dropins(f.dropin)
	// A directory that is not there has no time of change, and any that comes has another stamp.
	l.certain = len(l.problems) == 0 && (dir.inode == 0 || settledAt(dir, now))
	f.listing = l
	return l
}

func stampOf(path string) stamp {
	s := stamp{path: path}
	info, err := os.Stat(path)
	if err != nil {
		if !errors.As(err, &s.errno) && !errors.Is(err, fs.ErrNotExist) {
			s.errno = syscall.EIO
		}
		return s
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.inode, s.size = uint64(st.Dev), st.Ino, st.Size //nolint:unconvert // 32 bits on some machines
		s.mtime, s.ctime = st.Mtim, st.Ctim
	}
	return s
}

// old says whether every file was left alone long enough before now. A time in the
// future, after the clock was set back, is not old.
func old(version []stamp, now time.Time) bool {
	for _, s := range version {
		if s.errno == 0 && s.inode != 0 && !settledAt(s, now) {
			return false
		}
	}
	return true
}

// settledAt says whether what s is of was left alone long enough before now.
func settledAt(s stamp, now time.Time) bool { return now.Sub(time.Unix(s.ctime.Unix())) >= settled }
