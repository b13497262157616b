package nvmetcp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Endpoint is where to connect to, and from where.
type Endpoint struct {
	// Addr is the transport address and service. An IPv6 link-local address needs
	// its zone, or HostIface, which then is taken as the zone.
	Addr netip.AddrPort
	// HostIface binds the socket to an interface (SO_BINDTODEVICE, as the kernel's
	// host_iface does); empty leaves it to the routes.
	HostIface string
	// HostTraddr is the source address; the zero value leaves it to the routes.
	HostTraddr netip.Addr
}

// dial opens the TCP connection, and gives up when ctx ends. Errors are classed.
func (e Endpoint) dial(ctx context.Context) (*net.TCPConn, error) {
	addr := netip.AddrPortFrom(e.Addr.Addr().Unmap(), e.Addr.Port())
	if addr.Addr().IsLinkLocalUnicast() && addr.Addr().Is6() && addr.Addr().Zone() == "" && e.HostIface != "" {
		addr = netip.AddrPortFrom(addr.Addr().WithZone(e.HostIface), addr.Port())
	}
	if !addr.IsValid() || addr.Port() == 0 {
		return nil, &classError{[]error{ErrLocal}, errors.New("no address and port to connect to")}
	}
	to := netip.AddrPortFrom(numbered(addr.Addr()), addr.Port())
	d := net.Dialer{FallbackDelay: -1}
	d.SetMultipathTCP(false) // the default since Go 1.24 is for listeners only; be plain
	if e.HostTraddr.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(numbered(e.HostTraddr.Unmap()), 0))
	}
	if e.HostIface != "" {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var bind error
			err := c.Control(func(fd uintptr) { bind = syscall.BindToDevice(int(fd), e.HostIface) })
			return errors.Join(err, os.NewSyscallError("SO_BINDTODEVICE "+e.HostIface, bind))
		}
	}
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, classify(err, nil)
	}
	return c.(*net.TCPConn), nil
}

// numbered gives a with the index of the interface that is its zone. Package net remembers indexes by name for
// a minute, in which an interface that is made anew has the wrong one.
func numbered(a netip.Addr) netip.Addr {
	if a.Zone() == "" {
		return a
	}
	i, err := net.InterfaceByName(a.Zone())
	if err != nil {
		return a
	}
	return a.WithZone(strconv.Itoa(i.Index))
}

// classify puts a network error into its class. Something that timed out belongs
// to late too, when that is given.
func classify(err, late error) error {
	var proto *ProtocolError
	var term *TerminatedError
	var errno syscall.Errno
	var ne net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &proto), errors.Is(err, ErrNotNVMe), errors.Is(err, ErrClosed), errors.Is(err, ErrTimeout):
		return err
	case errors.As(err, &term):
		return &classError{[]error{ErrClosed}, err}
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		if late != nil {
			return &classError{[]error{late, ErrTimeout}, nil}
		}
		return &classError{[]error{ErrTimeout}, err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return &classError{[]error{ErrClosed}, err}
	case errors.As(err, &errno):
		return classifyErrno(errno, err)
	}
	return &classError{[]error{ErrLocal}, err}
}

func classifyErrno(errno syscall.Errno, err error) error {
	switch errno {
	case syscall.ECONNREFUSED:
		return &classError{[]error{ErrRefused}, err}
	case syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED:
		return &classError{[]error{ErrClosed}, err}
	case syscall.ETIMEDOUT:
		return &classError{[]error{ErrTimeout}, err}
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.ENONET,
		syscall.ENOPROTOOPT, syscall.EPROTO:
		return &classError{[]error{ErrUnreachable}, err}
	}
	// EADDRNOTAVAIL, ENODEV, EINVAL, EPERM, EMFILE: nothing left this host.
	return &classError{[]error{ErrLocal}, err}
}

// whileContext calls f with c's deadline set to ctx's, and makes f's pending
// input and output fail when ctx ends first.
func whileContext(ctx context.Context, c net.Conn, f func() error) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Time{}
	}
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() && err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}
