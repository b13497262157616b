package registry

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// emptyOwnerLock is held by whoever removes an empty owner file. Readers pass over its
// name as over that of every unfinished attribute.
const emptyOwnerLock = AttrOwner + ".tmp.lock"

// dropEmptyOwner removes a zero-length owner file, which means "no owner" and yet keeps
// a link from being made. Only one of us at a time looks and removes: one that saw the
// empty file and was slow would otherwise take away the owner that came next, and a
// third one could win in that moment. Those who write by rename know no lock, so the
// file is moved aside before it is judged, and an owner that was written meanwhile is
// put back.
func dropEmptyOwner(entry string) error {
	owner := filepath.Join(entry, AttrOwner)
	if empty, err := isEmpty(owner); !empty {
		return err
	}
	unlock, err := lockEmptyOwner(entry)
	if err != nil {
		return err
	}
	defer unlock()
	if empty, err := isEmpty(owner); !empty {
		return err
	}
	f, err := os.CreateTemp(entry, AttrOwner+".tmp.*")
	if err != nil {
		return err
	}
	f.Close()
	aside := f.Name()
	defer os.Remove(aside)
	if err := os.Rename(owner, aside); err != nil {
		return err
	}
	info, err := os.Lstat(aside)
	if err != nil || info.Size() == 0 {
		return err
	}
	if err := os.Link(aside, owner); err != nil && !taken(err) {
		return err
	}
	return nil
}

func isEmpty(path string) (bool, error) {
	info, err := os.Lstat(path)
	return err == nil && info.Size() == 0 && info.Mode().IsRegular(), err
}

// lockEmptyOwner waits for the lock. The kernel gives it up when its holder dies, and
// nobody but root can open it: a stranger could hold a lock on the entry itself, which
// all may read.
func lockEmptyOwner(entry string) (unlock func(), err error) {
	path := filepath.Join(entry, emptyOwnerLock)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.EINTR
	for errors.Is(err, syscall.EINTR) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err == nil {
		err = stillAt(f, path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() {
		os.Remove(path)
		f.Close()
	}, nil
}

// stillAt says errRaced when the holder before removed the file that we waited for.
func stillAt(f *os.File, path string) error {
	held, err := f.Stat()
	if err != nil {
		return err
	}
	if now, err := os.Lstat(path); err != nil || !os.SameFile(held, now) {
		return errRaced
	}
	return nil
}
