// Package registry holds the ownership registry of NVMe controllers, which every
// orchestrator of a host shares: /run/nvme/registry, one directory per controller
// device (nvme3), one file per attribute. The attribute "owner" says whose
// connection it is, "seqnum" when that was written, counted in kernel uevents.
//
// The package owns the reading and writing of that tree and nothing else. It
// promises that readers see an entry whole or not at all, that an owner is never
// taken from anybody, and that what could not be read counts neither as ours nor as
// free. Whether a device may be disconnected is decided elsewhere.
//
// The contract (names, modes, order of writing) is the one of libnvme 3
// (libnvme/design/REGISTRY.md, libnvme/src/nvme/registry.c). It is cooperative: all
// who take part are root.
package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Where things are on a Linux host.
const (
	DefaultRoot   = "/run/nvme/registry"
	DefaultDevDir = "/dev"
	DefaultSysDir = "/sys"
)

// The two attributes with a meaning of their own.
const (
	AttrOwner  = "owner"
	AttrSeqnum = "seqnum" // /sys/kernel/uevent_seqnum when the owner was written, decimal
)

// Identities in use. Any other name is somebody else's too.
const (
	Stas        = "stas"        // both daemons of this project
	NBFT        = "nbft"        // connections that boot firmware asked for
	Discoverd   = "discoverd"   // nvme-discoverd
	Autoconnect = "autoconnect" // connect-all run by nvme-cli's udev rule
)

const (
	dirMode  = 0o755
	fileMode = 0o644

	// maxValue bounds what is read from one attribute file. Real ones hold a word.
	maxValue = 64 << 10

	// maxTries bounds how often an operation that lost a race starts again.
	maxTries = 64
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrInvalid is wrapped by errors about names and values that the contract forbids.
	ErrInvalid = errors.New("invalid")
	// ErrOwned is wrapped by an OwnedError.
	ErrOwned = errors.New("owned by another")
)

// OwnedError says that an entry belongs to somebody else and was left as it is.
type OwnedError struct {
	Name  string // nvme3
	Owner string // who has it; may be "", which is an owner too
}

func (e *OwnedError) Error() string { return fmt.Sprintf("%s is owned by %q", e.Name, e.Owner) }

// Is makes errors.Is(err, ErrOwned) true.
func (e *OwnedError) Is(target error) bool { return target == ErrOwned }

// Dir is a registry. It keeps no state besides paths, so that every answer is read
// when it is asked for (device names are recycled), and it may be used from many
// goroutines and processes at once.
type Dir struct {
	root, dev, sys string
}

// Open names a registry; it touches nothing. An empty path stands for the default of
// the host. Directories are made when the first entry is.
func Open(root, devDir, sysDir string) *Dir {
	return &Dir{
		root: pathOr(root, DefaultRoot),
		dev:  pathOr(devDir, DefaultDevDir),
		sys:  pathOr(sysDir, DefaultSysDir),
	}
}

func pathOr(path, otherwise string) string {
	if path == "" {
		return otherwise
	}
	return filepath.Clean(path)
}

// Root is the directory that holds the entries.
func (d *Dir) Root() string { return d.root }

func (d *Dir) entry(name string) string { return filepath.Join(d.root, name) }

// ValidName says whether name can be an entry: "nvme" and a decimal number. A
// namespace (nvme7n1) cannot.
func ValidName(name string) bool {
	digits, ok := strings.CutPrefix(name, "nvme")
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// ValidAttr says whether name can be an attribute: letters, digits, "_" and "-". A dot
// cannot occur, which keeps temporary files apart from attributes.
func ValidAttr(name string) bool {
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return name != ""
}

func checkName(name string) error {
	if !ValidName(name) {
		return fmt.Errorf("%w controller name %q", ErrInvalid, name)
	}
	return nil
}

func checkAttr(name string) error {
	if !ValidAttr(name) {
		return fmt.Errorf("%w attribute name %q", ErrInvalid, name)
	}
	return nil
}

// checkValue refuses what a reader would not get back: an attribute is one line.
func checkValue(attr, value string) error {
	if strings.ContainsAny(value, "\n\r\x00") || len(value) >= maxValue {
		return fmt.Errorf("%w value of attribute %s: not one line of text", ErrInvalid, attr)
	}
	return nil
}

func checkOwner(owner string) error {
	if owner == "" {
		return fmt.Errorf("%w owner: empty", ErrInvalid)
	}
	return checkValue(AttrOwner, owner)
}

// stamp is the number of the newest uevent, or "" when the kernel does not tell.
func (d *Dir) stamp() string {
	fd, err := syscall.Open(d.sys+"/kernel/uevent_seqnum", syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	var text [32]byte // sysfs gives a value with one read
	n, _ := syscall.Read(fd, text[:])
	_ = syscall.Close(fd)
	s := strings.TrimSpace(string(text[:max(n, 0)]))
	if _, err := strconv.ParseUint(s, 10, 64); err != nil {
		return ""
	}
	return s
}

// deviceGone says whether the host surely has no controller of that name.
func (d *Dir) deviceGone(name string) bool {
	return absent(filepath.Join(d.sys, "class/nvme", name)) && absent(filepath.Join(d.dev, name))
}

func absent(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// taken says whether err means that a name is in use already.
func taken(err error) bool {
	return errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY)
}
