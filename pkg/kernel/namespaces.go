package kernel

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace is one namespace as seen through one controller.
type Namespace struct {
	Device string // block device, nvme1n3
	Path   string // nvme1c2n3, the path through this controller; Device where there is no multipath
	NSID   uint32
	UUID   string // "" where the namespace has none
	NGUID  string // as above
	WWID   string
	Size   uint64 // bytes
	ANA    string // optimized, non-optimized, inaccessible, …; "" without ANA
}

// Namespaces lists the namespaces of a controller in the order of their devices. The
// error is [ErrGone] where the controller is not there; a namespace that goes meanwhile is left out.
func (s Sysfs) Namespaces(name string) ([]Namespace, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("cannot list namespaces: %w", err)
	}
	entries, err := os.ReadDir(s.classDir() + "/" + name)
	if err != nil {
		return nil, fmt.Errorf("cannot list namespaces of %s: %w", name, goneOr(err))
	}
	var list []Namespace
	for _, e := range entries {
		device, ok := headOf(e.Name())
		if !ok {
			continue
		}
		ns := Namespace{Device: device, Path: e.Name()}
		if ns.read(s.classDir() + "/" + name + "/" + e.Name()) {
			list = append(list, ns)
		}
	}
	slices.SortFunc(list, func(a, b Namespace) int {
		if len(a.Device) != len(b.Device) {
			return len(a.Device) - len(b.Device)
		}
		return strings.Compare(a.Device, b.Device)
	})
	return list, nil
}

// headOf maps nvme1c2n3 and nvme1n3 to the block device nvme1n3 (drivers/nvme/host/multipath.c,
// nvme_mpath_set_disk_name). The last number is the kernel's, not the NSID.
func headOf(entry string) (string, bool) {
	rest, ok := strings.CutPrefix(entry, "nvme")
	if !ok {
		return "", false
	}
	subsystem, rest := leadingDigits(rest)
	if path, ok := strings.CutPrefix(rest, "c"); ok {
		var digits string
		if digits, rest = leadingDigits(path); digits == "" {
			return "", false
		}
	}
	head, ok := strings.CutPrefix(rest, "n")
	if digits, tail := leadingDigits(head); !ok || subsystem == "" || digits == "" || tail != "" {
		return "", false
	}
	return "nvme" + subsystem + "n" + head, true
}

func leadingDigits(s string) (digits, rest string) {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:n], s[n:]
}

// read says false where there is nothing to read any more.
func (ns *Namespace) read(path string) bool {
	dir, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(dir) }()
	size, err := strconv.ParseUint(attribute(dir, "size"), 10, 64)
	if err != nil {
		return false
	}
	ns.Size = size * 512 // sysfs counts sectors of 512 bytes whatever the block size
	nsid, _ := strconv.ParseUint(attribute(dir, "nsid"), 10, 32)
	ns.NSID = uint32(nsid)
	ns.UUID = unlessZero(attribute(dir, "uuid"))
	ns.NGUID = unlessZero(attribute(dir, "nguid"))
	ns.WWID = attribute(dir, "wwid")
	ns.ANA = attribute(dir, "ana_state")
	return true
}

func unlessZero(id string) string {
	if strings.Trim(id, "0-") == "" {
		return ""
	}
	return id
}

// attribute reads one attribute below an open directory, "" where that is not possible.
func attribute(dir int, name string) string {
	cName, err := unix.BytePtrFromString(name)
	if err != nil {
		return ""
	}
	var buf [256]byte
	n, _ := readAt(dir, cName, buf[:])
	return known(strings.Trim(string(buf[:n]), " \n\x00"))
}
