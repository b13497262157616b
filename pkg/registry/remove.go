package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// leftoverAge is how old a hidden directory must be before CleanStale takes it for the
// remains of a writer that was killed. Writing an entry takes milliseconds.
const leftoverAge = time.Hour

// Remove deletes an entry, whosever it is; that it is absent already is success. A
// reader sees all of it or nothing. Prefer RemoveIfOurs.
func (d *Dir) Remove(name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("cannot remove a registry entry: %w", err)
	}
	trash, err := d.takeAway(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.RemoveAll(trash)
	}
	if err != nil {
		return fmt.Errorf("cannot remove registry entry %s: %w", name, err)
	}
	return nil
}

// RemoveIfOurs deletes an entry that still is the one the caller wrote: same owner and
// same stamp, as Create or Claim returned it. Device names are recycled, so an owner
// alone proves nothing, and an empty seqnum removes nothing. The caller has seen that
// the controller is gone, or is no longer the connection it registered. On hosts with
// the udev rule for removed controllers there is mostly nothing left to do.
func (d *Dir) RemoveIfOurs(name, owner, seqnum string) (removed bool, err error) {
	if err := checkName(name); err != nil {
		return false, fmt.Errorf("cannot remove a registry entry: %w", err)
	}
	if seqnum == "" {
		return false, nil
	}
	return d.removeIf(name, func(entry string) bool {
		return attrIs(entry, AttrOwner, owner) && attrIs(entry, AttrSeqnum, seqnum)
	})
}

// CleanStale deletes the entries of owner whose controllers do not exist, and returns
// their names. It is meant for the start of a daemon. Entries of others stay. It also
// clears away hidden directories that writers killed long ago left behind. The first
// error is returned after everything has been tried.
func (d *Dir) CleanStale(owner string) (removed []string, err error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		gone, e := d.removeIf(name, func(entry string) bool {
			return attrIs(entry, AttrOwner, owner) && d.deviceGone(name)
		})
		if gone {
			removed = append(removed, name)
		}
		if err == nil {
			err = e
		}
	}
	d.dropLeftovers()
	return removed, err
}

func attrIs(entry, attr, value string) bool {
	v, err := readAttr(entry, attr)
	return err == nil && v == value
}

// removeIf removes an entry that is right to remove. It asks again once the entry is out
// of everybody's sight, and puts it back when somebody had replaced it in between.
func (d *Dir) removeIf(name string, right func(entry string) bool) (bool, error) {
	if !right(d.entry(name)) {
		return false, nil
	}
	trash, err := d.takeAway(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot remove registry entry %s: %w", name, err)
	}
	away := filepath.Join(trash, name)
	ours := right(away)
	if !ours {
		if err := os.Rename(away, d.entry(name)); err != nil && !taken(err) {
			return false, fmt.Errorf("cannot put registry entry %s back: %w", name, err)
		}
	}
	if err := os.RemoveAll(trash); err != nil {
		return ours, fmt.Errorf("cannot remove registry entry %s: %w", name, err)
	}
	return ours, nil
}

// takeAway moves an entry into a new hidden directory, for the caller to delete. The
// error for an absent entry is fs.ErrNotExist.
func (d *Dir) takeAway(name string) (trash string, err error) {
	trash, err = os.MkdirTemp(d.root, ".trash.*")
	if err != nil {
		return "", err
	}
	if err := os.Rename(d.entry(name), filepath.Join(trash, name)); err != nil {
		os.Remove(trash)
		return "", err
	}
	return trash, nil
}

func (d *Dir) dropLeftovers() {
	files, err := os.ReadDir(d.root)
	if err != nil {
		return
	}
	for _, f := range files {
		if !leftoverName(f.Name()) {
			continue
		}
		if info, err := f.Info(); err == nil && info.IsDir() && time.Since(info.ModTime()) > leftoverAge {
			os.RemoveAll(filepath.Join(d.root, f.Name()))
		}
	}
}

// leftoverName recognises the hidden names of this package and of libnvme.
func leftoverName(name string) bool {
	if strings.HasPrefix(name, ".trash.") {
		return true
	}
	entry, _, ok := strings.Cut(strings.TrimPrefix(name, "."), ".tmp.")
	return ok && name[0] == '.' && ValidName(entry)
}
