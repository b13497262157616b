package kernel

import (
	"errors"
	"strconv"
	"strings"
	"unsafe"

	"github.com/stas-go/stas/pkg/nvme"
	"golang.org/x/sys/unix"
)

// The attributes that make a Controller (drivers/nvme/host/sysfs.c). What tells whether the rest is
// of interest comes first. The two that every
// controller has come last: where they can be read, those before were not missing because
// the controller was on its way out.
const (
	attrCntrlType = iota
	attrAddress
	attrSubsysNQN
	attrHostNQN
	attrHostID
	attrDCType
	attrCntlID
	attrKATO
	attrReconnectDelay
	attrCtrlLossTmo
	attrQueueCount
	attrModel
	attrSerial
	attrFirmware
	attrTransport
	attrState
	attrCount
)

var attrNames = [attrCount]string{"cntrltype", "address", "subsysnqn", "hostnqn", "hostid", "dctype",
	"cntlid", "kato", "reconnect_delay", "ctrl_loss_tmo", "queue_count", "model", "serial", "firmware_rev", "transport", "state"}

// attrCNames are the names as system calls want them, made once.
var attrCNames = func() (names [attrCount]*byte) {
	for i, n := range attrNames {
		names[i], _ = unix.BytePtrFromString(n)
	}
	return names
}()

// attrSize is the most that sysfs gives for one attribute: a page (fs/sysfs/file.c).
const attrSize = 4096

// attrReader collects attributes in one buffer, from which one string is made.
type attrReader struct {
	dir  int
	buf  []byte
	ends [attrCount]int
	err  error // the first that says nothing about the attribute
}

// next appends attribute i, nothing where it cannot be read.
func (r *attrReader) next(i int) {
	if cap(r.buf)-len(r.buf) < attrSize {
		r.buf = append(make([]byte, 0, 2*cap(r.buf)+attrSize), r.buf...)
	}
	n, err := readAt(r.dir, attrCNames[i], r.buf[len(r.buf):len(r.buf)+attrSize])
	// The last two are always there, unless the controller is not.
	if r.err == nil && err != nil && (short(err) || i >= attrTransport && !errors.Is(goneOr(err), ErrGone)) {
		r.err = err
	}
	r.buf = r.buf[:len(r.buf)+n]
	r.ends[i] = len(r.buf)
}

// kind goes by the first attribute, if that tells it.
func (r *attrReader) kind() (Kind, error) {
	if k := kindOf(strings.Trim(string(r.buf), " \n\x00"), "", "", 0); k.Known || r.err != nil {
		return k, r.err
	}
	return kindAt(r.dir)
}

// short tells errors for want of something from those that tell of the attribute: what
// could not be looked at must not pass for gone.
func short(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EINTR)
}

// readAt reads a file below dir with one read, as sysfs wants it. It goes without
// the os package, which would allocate, and ask the poller about each file.
func readAt(dir int, name *byte, buf []byte) (int, error) {
	fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(name)), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	n, err := unix.Read(int(fd), buf)
	_ = unix.Close(int(fd))
	return max(n, 0), err
}

// texts gives the attributes, trimmed of padding and line ends. They share one string.
func (r *attrReader) texts() (texts [attrCount]string) {
	all, start := string(r.buf), 0
	for i, end := range r.ends {
		texts[i] = known(strings.Trim(all[start:end], " \n\x00"))
		start = end
	}
	return texts
}

// known maps what the kernel prints for "no value" to "": a NULL pointer makes printk
// write "(efault)" or "(null)" (lib/vsprintf.c).
func known(s string) string {
	switch s {
	case "(efault)", "(null)":
		return ""
	}
	return s
}

func (c *Controller) fill(text *[attrCount]string) {
	c.Transport = nvme.Transport(text[attrTransport])
	c.State = text[attrState]
	c.NQN, c.HostNQN, c.HostID = text[attrSubsysNQN], text[attrHostNQN], text[attrHostID]
	c.CntrlType, c.DCType = settled(text[attrCntrlType]), settled(text[attrDCType])
	c.Model, c.Serial, c.Firmware = text[attrModel], text[attrSerial], text[attrFirmware]
	c.CntlID, c.KATO = number(text[attrCntlID]), number(text[attrKATO])
	c.ReconnectDelay, c.QueueCount = number(text[attrReconnectDelay]), number(text[attrQueueCount])
	c.CtrlLossTmo = number(text[attrCtrlLossTmo])
	if c.Transport.Fabric() {
		c.address(text[attrAddress])
	}
	k := kindOf(text[attrCntrlType], c.NQN, c.State, c.QueueCount)
	c.Kind, c.KindKnown = k.Kind, k.Known
}

// number reads a decimal attribute; "off" is how timeouts spell -1, what is no number is 0.
func number(s string) int {
	if s == "off" {
		return -1
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}

// address takes apart traddr=A,trsvcid=S,host_traddr=H,host_iface=I,src_addr=X, of which
// only what is present is printed (drivers/nvme/host/fabrics.c, nvmf_get_address). An FC
// address of the old style has a comma itself: what is no key=value belongs to the one before.
func (c *Controller) address(s string) {
	for s != "" {
		end := len(s)
		for i := range len(s) {
			if s[i] == ',' && addressKey(s[i+1:]) {
				end = i
				break
			}
		}
		key, value, _ := strings.Cut(s[:end], "=")
		value = known(value)
		if value == "none" {
			value = ""
		}
		switch key {
		case "traddr":
			c.Traddr = value
		case "trsvcid":
			c.Trsvcid = value
		case "host_traddr":
			c.HostTraddr = value
		case "host_iface":
			c.HostIface = value
		case "src_addr":
			c.SrcAddr = value
		}
		s = s[min(end+1, len(s)):]
	}
}

// addressKey says whether s begins with a lower-case key and "=".
func addressKey(s string) bool {
	for i := range len(s) {
		switch {
		case s[i] == '=':
			return i > 0
		case s[i] != '_' && (s[i] < 'a' || s[i] > 'z'):
			return false
		}
	}
	return false
}
