package registry

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// errRaced says that somebody changed the entry meanwhile: look again.
var errRaced = errors.New("others keep writing the entry")

// Claim registers a live connection that somebody made without registering it, and
// returns the stamp of the entry. It never takes an owner away: when there is one, also
// one that comes first by a hair, the error is an *OwnedError with the winner. An owner
// that cannot be read is an error too. Claiming what is registered under owner already
// succeeds and changes nothing.
//
// An error is a warning to the caller and no reason to drop the connection. The device
// must be looked at once more afterwards, as after Create.
func (d *Dir) Claim(name, owner string) (seqnum string, err error) {
	if err := cmp.Or(checkName(name), checkOwner(owner)); err != nil {
		return "", fmt.Errorf("cannot claim a controller: %w", err)
	}
	for range maxTries {
		seqnum, err = d.tryClaim(name, owner)
		if !errors.Is(err, errRaced) {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("cannot claim %s: %w", name, err)
	}
	return seqnum, nil
}

// Reassert writes the owner of a live connection that we hold again when somebody
// erased it, and returns the stamp of the entry; restored says whether that was needed.
// It yields to a new owner just as Claim does.
func (d *Dir) Reassert(name, owner string) (seqnum string, restored bool, err error) {
	restored = d.Owner(name).Kind() == KindNone
	seqnum, err = d.Claim(name, owner)
	return seqnum, restored && err == nil, err
}

func (d *Dir) tryClaim(name, owner string) (seqnum string, err error) {
	switch o := d.Owner(name); {
	case o.Kind() == KindUnknown:
		return "", o.Err()
	case o.Is(owner):
		return d.seqnumOf(name), nil
	case o.Kind() != KindNone:
		return "", &OwnedError{Name: name, Owner: o.Name()}
	case absent(d.entry(name)):
		return d.claimAbsent(name, owner)
	}
	return d.claimBare(name, owner)
}

func (d *Dir) seqnumOf(name string) string {
	// Unreadable is as good as absent: a stamp is best effort.
	seqnum, _ := d.Attr(name, AttrSeqnum)
	return seqnum
}

// claimAbsent brings in a whole entry. A rename that does not remove first fails when
// somebody else was faster.
func (d *Dir) claimAbsent(name, owner string) (seqnum string, err error) {
	temp, seqnum, err := d.build(name, owner, nil)
	if err != nil {
		return "", err
	}
	if err := os.Rename(temp, d.entry(name)); err != nil {
		os.RemoveAll(temp)
		if taken(err) {
			return "", errRaced
		}
		return "", err
	}
	return seqnum, nil
}

// claimBare adds the owner to an entry that has none. A link, unlike a rename, fails
// when the name exists.
func (d *Dir) claimBare(name, owner string) (seqnum string, err error) {
	entry := d.entry(name)
	if s := d.stamp(); s != "" {
		if err := replaceAttr(entry, AttrSeqnum, s); err != nil {
			return "", vanished(err)
		}
	}
	temp, err := writeTemp(entry, AttrOwner, owner)
	if err != nil {
		return "", vanished(err)
	}
	defer os.Remove(temp)
	err = os.Link(temp, filepath.Join(entry, AttrOwner))
	switch {
	case taken(err):
		if err := dropEmptyOwner(entry); err != nil {
			return "", vanished(err)
		}
		return "", errRaced
	case err != nil:
		return "", vanished(err)
	}
	return d.seqnumOf(name), syncDir(entry)
}

// vanished turns the disappearance of an entry under our hands into a fresh look.
func vanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errRaced
	}
	return err
}
