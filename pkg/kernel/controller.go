package kernel

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// ErrGone says that a controller is not there, or went while it was read.
var ErrGone = errors.New("no such controller")

// The values of Controller.State (drivers/nvme/host/sysfs.c, nvme_sysfs_show_state).
const (
	StateNew        = "new"
	StateLive       = "live"
	StateResetting  = "resetting"
	StateConnecting = "connecting"
	StateDeleting   = "deleting"
	StateDeletingIO = "deleting (no IO)"
	StateDead       = "dead"
)

// Values of Controller.CntrlType and Controller.DCType.
const (
	TypeIO        = "io"
	TypeDiscovery = "discovery"
	TypeAdmin     = "admin"

	DCTypeNone = "none"
	DCTypeDDC  = "ddc"
	DCTypeCDC  = "cdc"
)

// Controller is one controller as sysfs shows it. It is a plain value. An attribute
// that the kernel does not have, or cannot tell yet (as long as the first connect runs
// it says "(efault)"), is empty or 0.
type Controller struct {
	Name     string // nvme3
	Instance int    // 3

	// Inode of the sysfs directory. The kernel gives names again; two controllers that
	// had the same name one after the other differ in it.
	Inode uint64

	tid.Live

	HostID    string
	CntrlType string // io, discovery, admin; "" while unknown and before Linux 5.18
	DCType    string // none, ddc, cdc; "" as above
	State     string

	CntlID         int
	KATO           int // seconds, 0 for none
	ReconnectDelay int // seconds
	CtrlLossTmo    int // seconds, -1 for never giving up
	QueueCount     int // the admin queue included: 1 for a discovery controller

	Model, Serial, Firmware string
}

// Live says whether a controller in this state takes commands.
func Live(state string) bool { return state == StateLive }

// Name is the device name of an instance: nvme3.
func Name(instance int) string { return "nvme" + strconv.Itoa(instance) }

// instanceOf is the inverse of Name. Namespaces (nvme3n1) and nvme-subsys3 are no controllers.
func instanceOf(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "nvme")
	if !ok || digits == "" || len(digits) > 9 || len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	n := 0
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		n = n*10 + int(digits[i]-'0')
	}
	return n, true
}

func checkName(name string) error {
	if _, ok := instanceOf(name); !ok {
		return fmt.Errorf("%q is not the name of an NVMe controller", name)
	}
	return nil
}

// Identity is what must not have changed between the decision to disconnect a
// controller and doing it.
type Identity struct {
	Transport nvme.Transport
	Traddr    string
	Trsvcid   string
	NQN       string // of the Identify data, as sysfs shows it
	HostNQN   string
	CntlID    int
	Inode     uint64 // 0 leaves it out
}

// Identity gives what identifies c.
func (c *Controller) Identity() Identity {
	return Identity{c.Transport, c.Traddr, c.Trsvcid, c.NQN, c.HostNQN, c.CntlID, c.Inode}
}

// differs names the first field in which now is not what was expected, "" where there is none.
func (want Identity) differs(now Identity) string {
	switch {
	case want.Inode != 0 && want.Inode != now.Inode:
		return "device"
	case want.Transport != now.Transport:
		return "transport"
	case want.Traddr != now.Traddr && !tid.SameIP(want.Traddr, now.Traddr):
		return "traddr"
	case want.Trsvcid != now.Trsvcid:
		return "trsvcid"
	case want.NQN != now.NQN:
		return "subsystem NQN"
	case want.HostNQN != now.HostNQN:
		return "host NQN"
	case want.CntlID != now.CntlID:
		return "controller ID"
	}
	return ""
}
