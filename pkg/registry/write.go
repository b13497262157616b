package registry

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Set writes one attribute of an existing entry, so that a reader sees the old value or
// the new one and never a part. Private attributes carry the prefix "stas-"; they go
// when the next connection of that name makes its entry. Owner and seqnum cannot be set
// this way, since that could take a controller from its owner: Create and Claim write
// them. An absent entry is fs.ErrNotExist and is not made.
func (d *Dir) Set(name, attr, value string) error {
	if err := cmp.Or(checkName(name), checkPrivate(attr), checkValue(attr, value)); err != nil {
		return fmt.Errorf("cannot set a registry attribute: %w", err)
	}
	if err := replaceAttr(d.entry(name), attr, value); err != nil {
		return fmt.Errorf("cannot set %s of registry entry %s: %w", attr, name, err)
	}
	return nil
}

// Delete removes one attribute; that it is absent already is success. Owner and seqnum
// stay with their entry.
func (d *Dir) Delete(name, attr string) error {
	if err := cmp.Or(checkName(name), checkPrivate(attr)); err != nil {
		return fmt.Errorf("cannot delete a registry attribute: %w", err)
	}
	err := os.Remove(filepath.Join(d.entry(name), attr))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(d.entry(name))
	}
	if err != nil {
		return fmt.Errorf("cannot delete %s of registry entry %s: %w", attr, name, err)
	}
	return nil
}

func checkPrivate(attr string) error {
	if attr == AttrOwner || attr == AttrSeqnum {
		return fmt.Errorf("%w attribute name %q: written with the entry only", ErrInvalid, attr)
	}
	return checkAttr(attr)
}

// replaceAttr puts a complete file in the place of an attribute.
func replaceAttr(entry, attr, value string) error {
	temp, err := writeTemp(entry, attr, value)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(entry, attr)); err != nil {
		os.Remove(temp)
		return err
	}
	return syncDir(entry)
}

// writeTemp writes a value to a new file beside its attribute. The random part of the
// name keeps two writers apart, its dots keep readers off.
func writeTemp(entry, attr, value string) (path string, err error) {
	f, err := os.CreateTemp(entry, attr+".tmp.*")
	if err != nil {
		return "", err
	}
	if err := fill(f, value); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// writeNew writes an attribute of an entry that no reader can see yet. It goes without the os package, which asks the poller
// about each file: every connection that is made waits for its entry.
func writeNew(entry, attr, value string) error {
	path := filepath.Join(entry, attr)
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_CLOEXEC, fileMode)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	text := []byte(value + "\n")
	n, err := 0, syscall.Fchmod(fd, fileMode) // a umask would narrow it
	if err == nil {
		n, err = syscall.Write(fd, text)
	}
	if err == nil && n < len(text) {
		err = syscall.ENOSPC
	}
	if err = cmp.Or(err, syscall.Close(fd)); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// fill writes a value and its line end, and closes f. The mode is set by hand because a
// umask would narrow it.
func fill(f *os.File, value string) error {
	err := f.Chmod(fileMode)
	if err == nil {
		_, err = f.WriteString(value + "\n")
	}
	if err == nil {
		err = f.Sync()
	}
	return cmp.Or(err, f.Close())
}

// makeRoot makes the registry and what is missing above it, readable by everybody
// whatever the umask. What exists keeps its mode.
func (d *Dir) makeRoot() error { return makeDir(d.root) }

func makeDir(path string) error {
	err := os.Mkdir(path, dirMode)
	switch {
	case err == nil:
		return os.Chmod(path, dirMode)
	case errors.Is(err, fs.ErrExist):
		return nil
	case !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path:
		return err
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	return makeDir(path)
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// Some file systems cannot sync a directory; that is no reason to fail.
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
