package kernel

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"github.com/stas-go/stas/pkg/nvme"
	"golang.org/x/sys/unix"
)

// fabricsDevice is /dev/nvme-fabrics, opened for one connect or one look at the options.
type fabricsDevice interface {
	Write(options []byte) (int, error)
	ReadAt(buf []byte, offset int64) (int, error)
	Close() error
}

// controllerDevice is /dev/nvmeN.
type controllerDevice interface {
	// Admin performs one command. A status other than success is an [nvme.Status].
	Admin(c *adminCommand, data []byte) (result uint32, err error)
	Close() error
}

// descriptor is an open file without the os package around it, which would offer it to
// the poller and keep a reference while a call sleeps in the kernel.
type descriptor int

func openDescriptor(path string, flags int) (descriptor, error) {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open %s: %w", path, err)
	}
	return descriptor(fd), nil
}

// Write is a single write(2), begun anew where a signal interrupted it: while the kernel waits
// for the TCP connection of a connect it looks for signals, and undoes the connect then.
func (d descriptor) Write(b []byte) (int, error) {
	for {
		n, err := unix.Write(int(d), b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func (d descriptor) ReadAt(b []byte, offset int64) (int, error) {
	return unix.Pread(int(d), b, offset)
}

func (d descriptor) Close() error { return unix.Close(int(d)) }

// passthru is struct nvme_passthru_cmd of include/uapi/linux/nvme_ioctl.h.
type passthru struct {
	opcode      uint8
	flags       uint8
	_           uint16
	nsid        uint32
	_, _        uint32 // cdw2, cdw3
	metadata    uint64
	data        uint64
	metadataLen uint32
	dataLen     uint32
	cdw         [6]uint32 // 10 to 15
	timeoutMS   uint32
	result      uint32
}

// ioctlAdmin is NVME_IOCTL_ADMIN_CMD: _IOWR('N', 0x41, struct nvme_passthru_cmd).
const ioctlAdmin = 3<<30 | uint(unsafe.Sizeof(passthru{}))<<16 | 'N'<<8 | 0x41

// Admin implements controllerDevice by the ioctl for admin commands.
func (d descriptor) Admin(c *adminCommand, data []byte) (uint32, error) {
	cmd := passthru{opcode: c.Opcode, nsid: c.NSID, cdw: c.CDW, timeoutMS: uint32(c.Timeout / time.Millisecond)}
	var pin runtime.Pinner
	defer pin.Unpin()
	if len(data) > 0 {
		// The address travels as a number, which the garbage collector does not see.
		pin.Pin(&data[0])
		cmd.data, cmd.dataLen = uint64(uintptr(unsafe.Pointer(&data[0]))), uint32(len(data))
	}
	status, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d), uintptr(ioctlAdmin), uintptr(unsafe.Pointer(&cmd)))
	runtime.KeepAlive(data)
	if errno != 0 {
		return 0, errno
	}
	return cmd.result, nvme.Status(status).Err()
}

// openController opens /dev/nvmeN. It takes no commands, and so cannot be opened,
// unless it is live (drivers/nvme/host/core.c, nvme_dev_open).
func openController(path string) (controllerDevice, error) {
	d, err := openDescriptor(path, unix.O_RDONLY)
	switch {
	case err == nil:
		return d, nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EWOULDBLOCK):
		return nil, ErrNotLive
	}
	return nil, goneOr(err)
}

// kernelRelease is what uname -r prints.
func kernelRelease() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
