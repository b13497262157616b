package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

var errMalformed = errors.New("malformed netlink message")

// message is one message of a datagram.
type message struct {
	kind  uint16
	flags uint16
	seq   uint32
	body  []byte
}

// split takes the first message off a datagram (struct nlmsghdr: length, type, flags,
// sequence, port; lengths are rounded up to 4 bytes).
func split(b []byte) (m message, rest []byte, err error) {
	if len(b) < unix.NLMSG_HDRLEN {
		return m, nil, fmt.Errorf("%w: %d bytes cannot hold a header", errMalformed, len(b))
	}
	n := binary.NativeEndian
	size := int(n.Uint32(b))
	if size < unix.NLMSG_HDRLEN || size > len(b) {
		return m, nil, fmt.Errorf("%w: length %d of %d", errMalformed, size, len(b))
	}
	m = message{n.Uint16(b[4:]), n.Uint16(b[6:]), n.Uint32(b[8:]), b[unix.NLMSG_HDRLEN:size]}
	return m, b[min((size+3)&^3, len(b)):], nil
}

// attributes walks struct rtattr: length, type, value, each rounded up to 4 bytes.
func attributes(b []byte, f func(kind uint16, value []byte)) error {
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return fmt.Errorf("%w: attribute of length %d of %d", errMalformed, size, len(b))
		}
		// The upper bits tell of nesting and byte order (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
		f(binary.NativeEndian.Uint16(b[2:])&0x3FFF, b[unix.SizeofRtAttr:size])
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func number(b []byte) int {
	switch len(b) {
	case 2:
		return int(binary.NativeEndian.Uint16(b))
	case 4:
		return int(int32(binary.NativeEndian.Uint32(b)))
	}
	return 0
}

// hardware copies a hardware address; one of zeroes only is none.
func hardware(b []byte) net.HardwareAddr {
	if len(strings.Trim(string(b), "\x00")) == 0 {
		return nil
	}
	return append(net.HardwareAddr(nil), b...)
}

// iflaPermAddress is IFLA_PERM_ADDRESS of include/uapi/linux/if_link.h, since Linux 5.6.
const iflaPermAddress = 54

// parseLink reads RTM_NEWLINK: struct ifinfomsg and attributes.
func parseLink(b []byte) (Interface, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return Interface{}, fmt.Errorf("%w: link of %d bytes", errMalformed, len(b))
	}
	n := binary.NativeEndian
	flags := n.Uint32(b[8:])
	l := Interface{Index: int(int32(n.Uint32(b[4:]))), Up: flags&unix.IFF_UP != 0, Lower: flags&unix.IFF_LOWER_UP != 0}
	err := attributes(b[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.Name = text(value)
		case unix.IFLA_ADDRESS:
			l.MAC = hardware(value)
		case iflaPermAddress:
			l.Perm = hardware(value)
		case unix.IFLA_MTU:
			l.MTU = number(value)
		case unix.IFLA_LINK:
			l.Parent = number(value)
		case unix.IFLA_MASTER:
			l.Master = number(value)
		case unix.IFLA_LINKINFO:
			linkInfo(&l, value)
		}
	})
	if err == nil && (l.Name == "" || l.Index <= 0) {
		err = fmt.Errorf("%w: link without name or index", errMalformed)
	}
	if l.Parent == l.Index {
		l.Parent = 0
	}
	return l, err
}

// linkInfo reads what depends on the kind of an interface. It is a bonus: what is wrong in
// it is left out.
func linkInfo(l *Interface, b []byte) {
	var data []byte
	_ = attributes(b, func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_INFO_KIND:
			l.Kind = text(value)
		case unix.IFLA_INFO_DATA:
			data = value
		}
	})
	if l.Kind == "vlan" {
		_ = attributes(data, func(kind uint16, value []byte) {
			if kind == unix.IFLA_VLAN_ID {
				l.VLAN = number(value)
			}
		})
	}
}

// parseAddress reads RTM_NEWADDR: struct ifaddrmsg and attributes. It says false for
// families other than IP.
func parseAddress(b []byte) (Address, bool, error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return Address{}, false, fmt.Errorf("%w: address of %d bytes", errMalformed, len(b))
	}
	if b[0] != unix.AF_INET && b[0] != unix.AF_INET6 {
		return Address{}, false, nil
	}
	a := Address{Bits: int(b[1]), Index: int(int32(binary.NativeEndian.Uint32(b[4:])))}
	flags := uint32(b[2])
	var local, peer netip.Addr
	err := attributes(b[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			peer, _ = netip.AddrFromSlice(value)
		case unix.IFA_FLAGS: // all 32 bits of them
			flags = uint32(number(value))
		}
	})
	// On a point-to-point link IFA_ADDRESS is the other end.
	if a.Addr = local; !a.Addr.IsValid() {
		a.Addr = peer
	}
	if err == nil && (!a.Addr.IsValid() || a.Index <= 0) {
		err = fmt.Errorf("%w: address message without address or interface", errMalformed)
	}
	a.Usable = flags&unix.IFA_F_DADFAILED == 0 && (flags&unix.IFA_F_TENTATIVE == 0 || flags&unix.IFA_F_OPTIMISTIC != 0)
	return a, true, err
}
