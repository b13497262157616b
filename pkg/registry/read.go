package registry

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Entry is one registered controller.
type Entry struct {
	Name  string // nvme3
	Owner Owner
}

// Owner reads who owns a controller, now: never keep the answer beyond the decision it
// was asked for. No entry, an entry without owner, and a zero-length owner file are
// "none"; every other failure is "unknown". An owner file that holds just a newline
// names the owner "", which is somebody else.
func (d *Dir) Owner(name string) Owner {
	owner, err := d.Attr(name, AttrOwner)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return NoOwner()
	case err != nil:
		return UnknownOwner(err)
	}
	return OwnedBy(owner)
}

// Attr reads one attribute without its line end; other white space counts. An absent
// entry, an absent attribute and a zero-length file are all fs.ErrNotExist.
func (d *Dir) Attr(name, attr string) (string, error) {
	if err := cmp.Or(checkName(name), checkAttr(attr)); err != nil {
		return "", fmt.Errorf("cannot read the registry: %w", err)
	}
	return readAttr(d.entry(name), attr)
}

func readAttr(entry, attr string) (string, error) {
	value, err := readValue(filepath.Join(entry, attr))
	if err != nil {
		return "", fmt.Errorf("cannot read %s of registry entry %s: %w", attr, filepath.Base(entry), err)
	}
	return value, nil
}

// readValue opens without blocking and reads regular files only, so that nothing
// somebody left in the tree can hold the caller up. It goes without the os package, as writeNew does.
func readValue(path string) (string, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = syscall.Close(fd) }()
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return "", &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return "", fmt.Errorf("%s: not a regular file", path)
	}
	if stat.Size > maxValue {
		return "", fmt.Errorf("%s: longer than %d bytes", path, maxValue)
	}
	// One read: a value is written before others see its file. Who writes in place may have made it longer since.
	text := make([]byte, max(stat.Size, 511)+1)
	n, err := syscall.Read(fd, text)
	switch {
	case err != nil:
		return "", &fs.PathError{Op: "read", Path: path, Err: err}
	case n <= 0:
		return "", &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	return strings.TrimRight(string(text[:n]), "\r\n"), nil
}

// List reads all entries whose device exists, in the order of their numbers. Names that
// cannot be entries, hidden names and plain files are passed over, and so are entries
// of controllers that have gone. No registry at all is an empty list.
func (d *Dir) List() ([]Entry, error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	var list []Entry
	for _, name := range names {
		// Stat rather than Lstat, and "surely absent" only: an error hides nobody's entry.
		if _, err := os.Stat(filepath.Join(d.dev, name)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		list = append(list, Entry{Name: name, Owner: d.Owner(name)})
	}
	return list, nil
}

// names lists the directories that can be entries, device or not.
func (d *Dir) names() ([]string, error) {
	files, err := os.ReadDir(d.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the registry: %w", err)
	}
	var names []string
	for _, f := range files {
		if f.IsDir() && ValidName(f.Name()) {
			names = append(names, f.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	return names, nil
}

// Attrs reads every attribute of an entry. Temporary and hidden files are passed over,
// and so is an attribute that vanishes meanwhile or is zero-length. An absent entry is
// fs.ErrNotExist. With an error about single attributes come the others.
func (d *Dir) Attrs(name string) (map[string]string, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("cannot read the registry: %w", err)
	}
	files, err := os.ReadDir(d.entry(name))
	if err != nil {
		return nil, fmt.Errorf("cannot read registry entry %s: %w", name, err)
	}
	attrs := make(map[string]string, len(files))
	var errs []error
	for _, f := range files {
		// No valid attribute has a dot: this passes over ".x" and "owner.tmp.x" alike.
		if !ValidAttr(f.Name()) {
			continue
		}
		value, err := readAttr(d.entry(name), f.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		attrs[f.Name()] = value
	}
	return attrs, errors.Join(errs...)
}
