package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readTimeout bounds each wait for the kernel, which answers at once.
	readTimeout = 5 * time.Second

	// maxDumps is how often a dump is asked for that changes interrupt.
	maxDumps = 10

	// dumpBuffer is what the kernel fills at most per datagram of a dump (32 KiB, net/netlink/af_netlink.c, netlink_dump).
	dumpBuffer = 64 << 10
)

// errInterrupted: something changed during the dump, which may be inconsistent.
var errInterrupted = errors.New("the dump was interrupted by changes")

// Read takes a picture of the host's interfaces and addresses.
func Read() (*Table, error) {
	fd, err := dial(0)
	if err != nil {
		return nil, fmt.Errorf("cannot read network interfaces: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	s := &socket{fd: fd, buf: make([]byte, dumpBuffer)}
	for range maxDumps {
		var t *Table
		if t, err = s.table(); !errors.Is(err, errInterrupted) {
			if err != nil {
				return nil, fmt.Errorf("cannot read network interfaces: %w", err)
			}
			return t, nil
		}
	}
	return nil, fmt.Errorf("cannot read network interfaces: %w", err)
}

// dial opens a socket that gets the multicast groups of a bit mask (RTMGRP_*).
func dial(groups uint32) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, err
	}
	timeout := unix.NsecToTimeval(int64(readTimeout))
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// socket asks the kernel for dumps, one at a time.
type socket struct {
	fd  int
	seq uint32
	buf []byte
}

func (s *socket) table() (*Table, error) {
	var links []Interface
	err := s.dump(unix.RTM_GETLINK, unix.RTM_NEWLINK, unix.SizeofIfInfomsg, func(b []byte) error {
		l, err := parseLink(b)
		links = append(links, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	var addrs []Address
	err = s.dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, unix.SizeofIfAddrmsg, func(b []byte) error {
		a, ok, err := parseAddress(b)
		if ok {
			addrs = append(addrs, a)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return newTable(links, addrs), nil
}

// dump sends a request and hands each answer of the wanted kind to f.
func (s *socket) dump(request, answer uint16, size int, f func([]byte) error) error {
	s.seq++
	n := binary.NativeEndian
	b := make([]byte, unix.NLMSG_HDRLEN+size)
	n.PutUint32(b, uint32(len(b)))
	n.PutUint16(b[4:], request)
	n.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	n.PutUint32(b[8:], s.seq)
	if err := unix.Sendto(s.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	c := collector{seq: s.seq, answer: answer, each: f}
	for !c.done {
		n, err := s.receive()
		if err != nil {
			return err
		}
		if err := c.datagram(s.buf[:n]); err != nil {
			return err
		}
	}
	if c.interrupted {
		return errInterrupted
	}
	return nil
}

// receive waits for a datagram of the kernel.
func (s *socket) receive() (int, error) {
	for {
		n, from, err := unix.Recvfrom(s.fd, s.buf, unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, fmt.Errorf("the kernel does not answer within %v", readTimeout)
		case err != nil:
			return 0, err
		case n > len(s.buf):
			return 0, fmt.Errorf("%w: a datagram of %d bytes is longer than allowed", errMalformed, n)
		}
		if addr, ok := from.(*unix.SockaddrNetlink); ok && addr.Pid == 0 {
			return n, nil
		}
	}
}

// collector follows the answer to one dump.
type collector struct {
	seq         uint32
	answer      uint16
	each        func([]byte) error
	done        bool
	interrupted bool
}

func (c *collector) datagram(b []byte) error {
	for len(b) > 0 && !c.done {
		m, rest, err := split(b)
		if err != nil {
			return err
		}
		b = rest
		if m.seq != c.seq {
			continue // of a dump that was given up
		}
		if m.flags&unix.NLM_F_DUMP_INTR != 0 {
			c.interrupted = true
		}
		switch m.kind {
		case unix.NLMSG_DONE:
			c.done = true
			if err := errorIn(m.body); err != nil {
				return err
			}
		case unix.NLMSG_ERROR:
			if err := errorIn(m.body); err != nil {
				return err
			}
			return fmt.Errorf("%w: an acknowledgement instead of a dump", errMalformed)
		case c.answer:
			if err := c.each(m.body); err != nil {
				return err
			}
		}
	}
	return nil
}

// errorIn reads the error that NLMSG_ERROR and NLMSG_DONE begin with: 0 or a negative errno.
func errorIn(b []byte) error {
	if len(b) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(b)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}
