package netif

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// watched are the groups that tell of interfaces coming, going, changing, and of addresses.
const watched = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR

// watchBuffer is the receive buffer in bytes. That it overflows costs nothing: the
// notice says that something changed, not what.
const watchBuffer = 1 << 20

// Watch tells when interfaces or addresses may have changed, an IPv6 address leaving
// duplicate detection among it: take a new [Read]. Many changes make one notice as long
// as nobody takes it. The subscription is in force when Watch returns, so watch first and
// read after. The channel is closed when ctx ends, or the socket fails for good.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	fd, err := dial(watched)
	if err != nil {
		return nil, fmt.Errorf("cannot watch network interfaces: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, watchBuffer)
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot watch network interfaces: %w", err)
	}
	file := os.NewFile(uintptr(fd), "rtnetlink")
	conn, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("cannot watch network interfaces: %w", err)
	}
	changed := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { _ = file.Close() })
	go func() {
		defer close(changed)
		defer func() {
			if stop() {
				_ = file.Close()
			}
		}()
		buf := make([]byte, dumpBuffer)
		for {
			err := next(conn, buf)
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, nil
}

// next waits for a datagram of the kernel. What it says is not looked at: level, not edge.
func next(conn syscall.RawConn, buf []byte) error {
	var err error
	waitErr := conn.Read(func(fd uintptr) bool {
		for {
			var from unix.Sockaddr
			_, from, err = unix.Recvfrom(int(fd), buf, 0)
			addr, ok := from.(*unix.SockaddrNetlink)
			switch {
			case err == unix.EINTR, err == nil && (!ok || addr.Pid != 0):
				continue
			}
			return err != unix.EAGAIN
		}
	})
	return errors.Join(waitErr, err)
}
