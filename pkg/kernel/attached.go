package kernel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Attached is what the kernel changes around a controller without an event about the
// controller itself.
type Attached struct {
	State        string
	Subsystem    string   // nvme-subsys0, "" where that is not known
	BlockDevices []string // nvme0n1, in order
}

// Attached reads the state of a controller and what it leads to. It takes a handful of system
// calls, whatever else the host has. The error is [ErrGone] where the controller is not there.
func (s Sysfs) Attached(name string) (Attached, error) {
	if err := checkName(name); err != nil {
		return Attached{}, fmt.Errorf("cannot read controller: %w", err)
	}
	dir, err := unix.Open(s.classDir()+"/"+name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Attached{}, fmt.Errorf("cannot read controller %s: %w", name, goneOr(err))
	}
	defer func() { _ = unix.Close(dir) }()
	a := Attached{State: attribute(dir, "state")}
	entries, err := entriesOf(dir)
	if err != nil {
		return Attached{}, fmt.Errorf("cannot read controller %s: %w", name, goneOr(err))
	}
	// A subsystem has the number of its first controller, and the block devices of native
	// multipath have that of the subsystem (drivers/nvme/host/core.c, nvme_init_subsystem).
	subsystems := []string{strings.TrimPrefix(name, "nvme")}
	for _, e := range entries {
		device, ok := headOf(e)
		if !ok {
			continue
		}
		if !slices.Contains(a.BlockDevices, device) {
			a.BlockDevices = append(a.BlockDevices, device)
		}
		if n, _ := leadingDigits(strings.TrimPrefix(device, "nvme")); !slices.Contains(subsystems, n) {
			subsystems = append(subsystems, n)
		}
	}
	slices.SortFunc(a.BlockDevices, compareDevices)
	for _, n := range subsystems {
		subsystem := "nvme-subsys" + n
		var stat unix.Stat_t
		if err := unix.Lstat(s.root()+"/class/nvme-subsystem/"+subsystem+"/"+name, &stat); err == nil {
			a.Subsystem = subsystem
			break
		}
	}
	return a, nil
}

// entriesOf lists an open directory, in no order.
func entriesOf(dir int) (names []string, err error) {
	buf := make([]byte, 8<<10) // a controller has some fifty entries of 32 bytes
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil || n <= 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// compareDevices orders nvme0n2 before nvme0n10.
func compareDevices(a, b string) int {
	numbers := func(s string) [2]int {
		first, rest := leadingDigits(strings.TrimPrefix(s, "nvme"))
		x, _ := strconv.Atoi(first)
		y, _ := strconv.Atoi(strings.TrimPrefix(rest, "n"))
		return [2]int{x, y}
	}
	x, y := numbers(a), numbers(b)
	return slices.Compare(x[:], y[:])
}
