package mdns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/holoplot/go-avahi"
)

// instance identifies an announcement as Avahi does. The interface counts by its index: its
// name may be gone or taken by another one when the announcement is withdrawn.
type instance struct {
	ifindex           int32
	proto             int32
	name, typ, domain string
}

func instanceOf(s avahi.Service) instance {
	return instance{s.Interface, s.Protocol, s.Name, s.Type, s.Domain}
}

// String is for log lines.
func (in instance) String() string {
	return fmt.Sprintf("%q (%s, interface %d, %s)", clean(in.name), in.typ, in.ifindex, in.protocol())
}

func (in instance) protocol() Protocol {
	if in.proto == avahi.ProtoInet6 {
		return IPv6
	}
	return IPv4
}

// acceptable says whether an announcement is of the kind that we browse for: multicast,
// not unicast DNS, with a real interface.
func acceptable(s avahi.Service) bool {
	return s.Flags&avahi.LookupResultMulticast != 0 && s.Flags&avahi.LookupResultWideArea == 0 &&
		s.Interface > 0 && (s.Type == TypeTCP || s.Type == TypeUDP) &&
		(s.Protocol == avahi.ProtoInet || s.Protocol == avahi.ProtoInet6)
}

// iface is what serviceOf needs to know of a network interface.
type iface struct {
	name     string
	loopback bool
}

func ifaceByIndex(index int32) (iface, error) {
	i, err := net.InterfaceByIndex(int(index))
	if err != nil {
		return iface{}, fmt.Errorf("cannot name interface %d: %w", index, err)
	}
	return iface{i.Name, i.Flags&net.FlagLoopback != 0}, nil
}

// serviceOf makes a Service of the answer r to a lookup of in. Errors say what is wrong with the announcement.
func serviceOf(in instance, r avahi.Service, on iface) (Service, error) {
	addr, err := usableAddr(r.Address, on)
	if err != nil {
		return Service{}, err
	}
	if r.Port == 0 {
		return Service{}, errors.New("port is 0")
	}
	// Avahi keeps the strings of a TXT record last one first, and hands them out so
	// (avahi-common/strlst.c), while the first one on the wire has to win.
	wire := slices.Clone(r.Txt)
	slices.Reverse(wire)
	rec, err := parseRecord(wire)
	if err != nil {
		return Service{}, err
	}
	return Service{
		Transport: rec.transport,
		Traddr:    addr.String(),
		Trsvcid:   strconv.Itoa(int(r.Port)),
		NQN:       rec.nqn,
		Interface: on.name,
		IfIndex:   int(in.ifindex),
		Protocol:  in.protocol(),
		Name:      clean(in.name),
		Type:      clean(in.typ),
		Domain:    clean(in.domain),
	}, nil
}

// usableAddr reads an address and refuses those that cannot be a peer on the interface.
func usableAddr(s string, on iface) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("address %.64q is not an IP address", s)
	}
	addr = addr.WithZone("").Unmap()
	switch {
	case addr.IsUnspecified(), addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return netip.Addr{}, fmt.Errorf("address %s is not that of a host", addr)
	case addr.IsLoopback() && !on.loopback:
		return netip.Addr{}, fmt.Errorf("address %s does not belong on interface %s", addr, on.name)
	case addr.Is6() && addr.IsLinkLocalUnicast():
		addr = addr.WithZone(on.name)
	}
	return addr, nil
}

// clean makes a string from the network fit for the bus and for a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}
