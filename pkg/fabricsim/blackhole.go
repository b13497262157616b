package fabricsim

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
)

// blackhole is a listening socket whose queue of connections is full: the kernel drops
// every further SYN (tcp_conn_request, as long as net.ipv4.tcp_abort_on_overflow is 0),
// which to a host looks like an address that nobody answers at.
type blackhole struct{ fds []int }

// openBlackhole listens at addr with the shortest queue and fills it.
func openBlackhole(addr netip.AddrPort) (*blackhole, error) {
	family, sa := sockaddr(addr)
	b := new(blackhole)
	fd, err := b.socket(family)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)),
		os.NewSyscallError("bind", syscall.Bind(fd, sa)),
		os.NewSyscallError("listen", syscall.Listen(fd, 0)))
	if err != nil {
		b.close()
		return nil, err
	}
	// A queue of length 0 holds one connection. The second attempt is dropped as those
	// of everybody else are, and is there for kernels that count otherwise.
	for range 2 {
		c, err := b.socket(family)
		if err == nil {
			if err = syscall.Connect(c, sa); errors.Is(err, syscall.EINPROGRESS) {
				err = nil
			}
		}
		if err != nil {
			b.close()
			return nil, fmt.Errorf("cannot fill the queue of %s: %w", addr, err)
		}
	}
	return b, nil
}

func (b *blackhole) socket(family int) (int, error) {
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	b.fds = append(b.fds, fd)
	return fd, nil
}

func (b *blackhole) close() {
	for _, fd := range b.fds {
		syscall.Close(fd)
	}
	b.fds = nil
}

func sockaddr(addr netip.AddrPort) (int, syscall.Sockaddr) {
	if a := addr.Addr().Unmap(); a.Is4() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: a.As4()}
	}
	return syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16(), ZoneId: zoneIndex(addr.Addr().Zone())}
}

// zoneIndex is the interface of an IPv6 zone, 0 where there is none.
func zoneIndex(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return uint32(i.Index)
}
