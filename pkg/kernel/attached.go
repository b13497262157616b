package kernel

import (
	"fmt"
	"os"
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
	dir, err := s.openController(name)
	if err != nil {
		return Attached{}, err
	}
	a := Attached{State: attribute(dir, "state")}
	_ = unix.Close(dir)
	entries, err := os.ReadDir(s.classDir() + "/" + name)
	if err != nil {
		return Attached{}, fmt.Errorf("cannot read controller %s: %w", name, goneOr(err))
	}
	// A subsystem has the number of its first controller, and the block devices of native
	// multipath have that of the subsystem (drivers/nvme/host/core.c, nvme_init_subsystem).
	subsystems := []string{strings.TrimPrefix(name, "nvme")}
	for _, e := range entries {
		device, ok := headOf(e.Name())
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
		if _, err := os.Lstat(s.root() + "/class/nvme-subsystem/" + subsystem + "/" + name); err == nil {
			a.Subsystem = subsystem
			break
		}
	}
	return a, nil
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
