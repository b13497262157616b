package exclusion

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Where the lists are.
const (
	DefaultFile   = "/etc/nvme/exclusions.conf"
	DefaultDropIn = "/etc/nvme/exclusions.conf.d"
)

// TempPrefix starts the names of files that writers rename into place.
const TempPrefix = ".excl.tmp."

// Load reads the main file, then every drop-in in the byte order of names, and joins
// them. What is missing is no problem, what cannot be read is one, and neither keeps the
// rest from counting: the list is never nil.
func Load(mainFile, dropinDir string) (*List, []Problem) {
	names, problems := dropins(dropinDir)
	if old := obsoleteDir(mainFile); old != "" {
		problems = append(problems, Problem{File: old, Kind: Suspicious,
			Text: "this directory is not read, lists are in " + dropinDir})
	}
	l := new(List)
	for _, path := range append([]string{mainFile}, names...) {
		entries, found := parseFile(path)
		l.entries = append(l.entries, entries...)
		problems = append(problems, found...)
	}
	return l, problems
}

// parseFile opens without blocking and takes regular files only, so that nothing that
// stands in the place of a list can hold up a connect.
func parseFile(path string) ([]Entry, []Problem) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, unreadable(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, unreadable(path, errors.New("not a regular file"))
	}
	return Parse(f, path)
}

func unreadable(path string, err error) []Problem {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return []Problem{{File: path, Kind: Unreadable, Text: "cannot read it, nothing in it counts: " + err.Error()}}
}

// dropins are the paths of the lists in dir, sorted.
func dropins(dir string) ([]string, []Problem) {
	// A FIFO in the place of the directory must not stop the daemon.
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, unreadable(dir, err)
	}
	defer f.Close()
	// Not os.ReadDir: names are enough, and what it got before an error counts.
	names, err := f.Readdirnames(-1)
	var problems []Problem
	if err != nil {
		problems = unreadable(dir, err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !dropinName(name) })
	slices.Sort(names)
	for i := range names {
		names[i] = filepath.Join(dir, names[i])
	}
	return names, problems
}

// dropinName says whether a file in the drop-in directory is a list: its last extension
// is ".conf", case-sensitive, and it has a name before that.
func dropinName(name string) bool {
	return strings.HasSuffix(name, ".conf") && name != ".conf"
}

// obsoleteDir is the directory where drafts of the contract had the lists, if it exists.
func obsoleteDir(mainFile string) string {
	dir := filepath.Join(filepath.Dir(mainFile), "exclusions")
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return dir
	}
	return ""
}
