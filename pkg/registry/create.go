package registry

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// Create registers a connection that was just made, and returns the stamp it wrote.
// Call it first thing after the kernel named the new device: until then others take the
// controller for unowned. What is there under that name describes an earlier
// controller, since the kernel gives numbers again, so it goes as a whole.
//
// The entry is built out of sight, seqnum first and owner last, and appears by a
// rename. attrs are further attributes (private ones carry the prefix "stas-"), or nil.
// The stamp is "" when the kernel does not tell its uevent number; that is no error.
//
// An error must not undo the connection: it is a warning. After success look once more
// whether the device is still the one that was connected; when it has gone meanwhile the
// udev rule may have run before the entry was there, and RemoveIfOurs cleans up.
func (d *Dir) Create(name, owner string, attrs map[string]string) (seqnum string, err error) {
	err = cmp.Or(checkName(name), checkOwner(owner))
	for attr, value := range attrs {
		err = cmp.Or(err, checkPrivate(attr), checkValue(attr, value))
	}
	if err != nil {
		return "", fmt.Errorf("cannot register a controller: %w", err)
	}
	temp, seqnum, err := d.build(name, owner, attrs)
	if err != nil {
		return "", fmt.Errorf("cannot register %s: %w", name, err)
	}
	if err := d.install(temp, name); err != nil {
		os.RemoveAll(temp)
		return "", fmt.Errorf("cannot register %s: %w", name, err)
	}
	return seqnum, nil
}

// build makes a complete entry under a hidden name in the registry. Nothing is flushed: the registry is in memory.
func (d *Dir) build(name, owner string, attrs map[string]string) (temp, seqnum string, err error) {
	temp, err = os.MkdirTemp(d.root, "."+name+".tmp.*")
	if errors.Is(err, fs.ErrNotExist) {
		if err = d.makeRoot(); err == nil {
			temp, err = os.MkdirTemp(d.root, "."+name+".tmp.*")
		}
	}
	if err != nil {
		return "", "", err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(temp)
		}
	}()
	if err = os.Chmod(temp, dirMode); err != nil {
		return "", "", err
	}
	// The stamp is best effort: without it the udev rule still has the device node to go by.
	if seqnum = d.stamp(); seqnum != "" && writeNew(temp, AttrSeqnum, seqnum) != nil {
		seqnum = ""
		os.Remove(temp + "/" + AttrSeqnum)
	}
	for _, attr := range slices.Sorted(maps.Keys(attrs)) {
		if err = writeNew(temp, attr, attrs[attr]); err != nil {
			return "", "", err
		}
	}
	if err = writeNew(temp, AttrOwner, owner); err != nil {
		return "", "", err
	}
	return temp, seqnum, nil
}

// install gives a built entry its name, in the place of whatever has it.
func (d *Dir) install(temp, name string) error {
	for range maxTries {
		err := os.Rename(temp, d.entry(name))
		if err == nil {
			return nil
		}
		if absent(d.entry(name)) && !taken(err) {
			return err
		}
		trash, err := d.takeAway(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		os.RemoveAll(trash)
	}
	return errors.New("others keep writing the entry")
}
