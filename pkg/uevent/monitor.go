package uevent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Group is a multicast group of NETLINK_KOBJECT_UEVENT.
type Group uint32

// The groups. stas listens to the kernel: rules can take keys away from what udev sends on.
const (
	Kernel Group = 1
	Udev   Group = 2 // silent where no systemd-udevd runs
)

// ErrOverflow says that at least one event was lost. The monitor goes on; what it
// would have told must be found out by looking.
var ErrOverflow = errors.New("uevents were lost: the receive buffer overflowed")

// ErrClosed is what Receive returns once the monitor was closed.
var ErrClosed = fmt.Errorf("uevent monitor: %w", fs.ErrClosed)

const (
	// defaultBuffer holds thousands of events. Only as much as is queued takes memory.
	defaultBuffer = 8 << 20

	// messageSize is more than either sender makes of one event: the kernel has
	// UEVENT_BUFFER_SIZE 2048 (include/linux/kobject.h), udev adds its properties.
	messageSize = 32 << 10
)

// Options of a monitor. The zero value listens to the kernel for everything.
type Options struct {
	Group      Group    // 0 means Kernel
	Subsystems []string // nil means all
	Buffer     int      // bytes of receive buffer, 0 means 8 MiB

	// Paths, below /sys, are where the devices of interest are: what the kernel tells of others never reaches the buffer.
	// nil means all. Events of udev, which begin otherwise, are not filtered.
	Paths []string
	// Needless are beginnings, ACTION@PATH, of events that are not wanted all the same. They may be delivered.
	Needless []string
}

// Monitor is an open subscription. Receive is for one goroutine; Close may come from any.
type Monitor struct {
	file   *os.File
	conn   syscall.RawConn
	group  Group
	wanted [][]byte
	buf    []byte
	oob    []byte
	closed atomic.Bool
}

// Open subscribes. From its return on every event is either received or reported as lost:
// so subscribe first, and look at sysfs after that.
func Open(opt Options) (*Monitor, error) {
	if opt.Group == 0 {
		opt.Group = Kernel
	}
	if opt.Buffer == 0 {
		opt.Buffer = defaultBuffer
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("cannot open a uevent socket: %w", err)
	}
	if err := subscribe(fd, opt); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot subscribe to uevents: %w", err)
	}
	file := os.NewFile(uintptr(fd), "uevents")
	conn, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("cannot use the uevent socket: %w", err)
	}
	m := &Monitor{file: file, conn: conn, group: opt.Group, buf: make([]byte, messageSize), oob: make([]byte, unix.CmsgSpace(unix.SizeofUcred))}
	for _, s := range opt.Subsystems {
		m.wanted = append(m.wanted, []byte("\x00SUBSYSTEM="+s+"\x00"))
	}
	return m, nil
}

func subscribe(fd int, opt Options) error {
	// Going over net.core.rmem_max takes CAP_NET_ADMIN; without it less must do.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, opt.Buffer) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, opt.Buffer); err != nil {
			return err
		}
	}
	// The sender's credentials: anybody with CAP_NET_ADMIN in this namespace may send to the group.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return err
	}
	if len(opt.Paths) > 0 {
		program, err := filter(opt.Paths, opt.Needless)
		if err != nil {
			return err
		}
		// Before the first event can come. A kernel without socket filters delivers all, and Receive picks.
		_ = attach(fd, program)
	}
	return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: uint32(opt.Group)})
}

// Receive waits for the next event of the wanted subsystems. Messages of unprivileged
// senders and malformed ones are passed over. After [ErrOverflow] it can be called again;
// any other error is final.
func (m *Monitor) Receive() (Event, error) {
	for {
		n, trusted, err := m.receive()
		switch {
		case m.closed.Load():
			return Event{}, ErrClosed
		case errors.Is(err, unix.ENOBUFS):
			return Event{}, ErrOverflow
		case err != nil:
			return Event{}, fmt.Errorf("cannot receive uevents: %w", err)
		case !trusted:
			continue
		case n > len(m.buf):
			return Event{}, fmt.Errorf("%w (a message of %d bytes)", ErrOverflow, n)
		}
		msg := m.buf[:n]
		if !concerns(msg, m.wanted) {
			continue
		}
		if e, err := Parse(msg); err == nil {
			return e, nil
		}
	}
}

func (m *Monitor) receive() (n int, trusted bool, err error) {
	var oobn int
	var from unix.Sockaddr
	waitErr := m.conn.Read(func(fd uintptr) bool {
		for {
			// MSG_TRUNC makes n the message's real length.
			n, oobn, _, from, err = unix.Recvmsg(int(fd), m.buf, m.oob, unix.MSG_TRUNC)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if waitErr != nil {
		return 0, false, waitErr
	}
	if err != nil {
		return 0, false, err
	}
	return n, m.trusted(from, m.oob[:oobn]), nil
}

// trusted says whether the kernel sent a message, or, in the group of udev, root did.
func (m *Monitor) trusted(from unix.Sockaddr, oob []byte) bool {
	addr, ok := from.(*unix.SockaddrNetlink)
	if !ok || m.group == Kernel && addr.Pid != 0 {
		return false
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return false
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			return cred.Uid == 0
		}
	}
	return false
}

// Close ends the subscription and a Receive that waits. It may be called more than once.
func (m *Monitor) Close() error {
	if m.closed.Swap(true) {
		return nil
	}
	return m.file.Close()
}
