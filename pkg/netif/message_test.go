package netif

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func attr(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(len(value)+4))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, (4-len(value)%4)%4)...)
}

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func packet(kind, flags uint16, seq uint32, body []byte) []byte {
	b := u32(uint32(len(body) + unix.NLMSG_HDRLEN))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = append(append(b, u32(seq)...), 0, 0, 0, 0)
	b = append(b, body...)
	return append(b, make([]byte, (4-len(body)%4)%4)...)
}

func address(family byte, bits, flags byte, index uint32, attrs ...[]byte) []byte {
	return join([]byte{family, bits, flags, 0}, u32(index), join(attrs...))
}

func link(index uint32, flags uint32, attrs ...[]byte) []byte {
	return join([]byte{0, 0, 1, 0}, u32(index), u32(flags), u32(0), join(attrs...))
}

func TestParseAddress(t *testing.T) {
	v4, peer := []byte{192, 0, 2, 1}, []byte{192, 0, 2, 2}
	v6 := netip.MustParseAddr("2001:db8::1").AsSlice()
	for name, c := range map[string]struct {
		msg  []byte
		want Address
	}{
		"plain":          {address(unix.AF_INET, 24, 0, 3, attr(unix.IFA_ADDRESS, v4), attr(unix.IFA_LOCAL, v4)), Address{3, netip.MustParseAddr("192.0.2.1"), 24, true}},
		"point to point": {address(unix.AF_INET, 32, 0, 3, attr(unix.IFA_LOCAL, v4), attr(unix.IFA_ADDRESS, peer)), Address{3, netip.MustParseAddr("192.0.2.1"), 32, true}},
		"peer first":     {address(unix.AF_INET, 32, 0, 3, attr(unix.IFA_ADDRESS, peer), attr(unix.IFA_LOCAL, v4)), Address{3, netip.MustParseAddr("192.0.2.1"), 32, true}},
		"label":          {address(unix.AF_INET, 24, 0, 3, attr(unix.IFA_LABEL, []byte("eth0:vip\x00")), attr(unix.IFA_LOCAL, v4)), Address{3, netip.MustParseAddr("192.0.2.1"), 24, true}},
		"v6":             {address(unix.AF_INET6, 64, 0, 3, attr(unix.IFA_ADDRESS, v6)), Address{3, netip.MustParseAddr("2001:db8::1"), 64, true}},
		"tentative":      {address(unix.AF_INET6, 64, unix.IFA_F_TENTATIVE, 3, attr(unix.IFA_ADDRESS, v6)), Address{3, netip.MustParseAddr("2001:db8::1"), 64, false}},
		"long flags":     {address(unix.AF_INET6, 64, 0, 3, attr(unix.IFA_ADDRESS, v6), attr(unix.IFA_FLAGS, u32(unix.IFA_F_TENTATIVE))), Address{3, netip.MustParseAddr("2001:db8::1"), 64, false}},
		"optimistic":     {address(unix.AF_INET6, 64, unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC, 3, attr(unix.IFA_ADDRESS, v6)), Address{3, netip.MustParseAddr("2001:db8::1"), 64, true}},
		"duplicate":      {address(unix.AF_INET6, 64, unix.IFA_F_DADFAILED|unix.IFA_F_OPTIMISTIC, 3, attr(unix.IFA_ADDRESS, v6)), Address{3, netip.MustParseAddr("2001:db8::1"), 64, false}},
	} {
		got, ok, err := parseAddress(c.msg)
		if err != nil || !ok || got != c.want {
			t.Errorf("%s: %+v, %v, %v; want %+v", name, got, ok, err, c.want)
		}
	}
	if _, ok, err := parseAddress(address(unix.AF_PACKET, 0, 0, 3)); ok || err != nil {
		t.Errorf("another family: %v, %v", ok, err)
	}
	if _, _, err := parseAddress(address(unix.AF_INET, 24, 0, 3)); err == nil {
		t.Error("an address message without address is accepted")
	}
}

func TestParseLink(t *testing.T) {
	vlan := attr(unix.IFLA_LINKINFO, join(attr(unix.IFLA_INFO_KIND, []byte("vlan\x00")), attr(unix.IFLA_INFO_DATA, attr(unix.IFLA_VLAN_ID, []byte{100, 0}))))
	l, err := parseLink(link(7, unix.IFF_UP, attr(unix.IFLA_IFNAME, []byte("eth0.100\x00")), attr(unix.IFLA_ADDRESS, []byte{2, 0, 0, 0, 0, 1}),
		attr(unix.IFLA_LINK, u32(3)), attr(unix.IFLA_MASTER, u32(9)), attr(unix.IFLA_MTU, u32(9000)), vlan))
	if err != nil || l.Index != 7 || l.Name != "eth0.100" || !l.Up || l.Lower || l.Kind != "vlan" || l.VLAN != 100 || l.Parent != 3 || l.Master != 9 || l.MTU != 9000 || l.MAC.String() != "02:00:00:00:00:01" {
		t.Errorf("parseLink = %+v, %v", l, err)
	}
	if l, err := parseLink(link(1, 0, attr(unix.IFLA_IFNAME, []byte("lo\x00")), attr(unix.IFLA_ADDRESS, make([]byte, 6)))); err != nil || l.MAC != nil {
		t.Errorf("loopback: %+v, %v", l, err)
	}
	if _, err := parseLink(link(1, 0)); err == nil {
		t.Error("a link without name is accepted")
	}
}

func collect(t *testing.T, datagrams ...[]byte) (int, *collector, error) {
	t.Helper()
	n := 0
	c := &collector{seq: 5, answer: unix.RTM_NEWLINK, each: func([]byte) error { n++; return nil }}
	for _, d := range datagrams {
		if err := c.datagram(d); err != nil {
			return n, c, err
		}
	}
	return n, c, nil
}

func TestDumpAnswers(t *testing.T) {
	body := link(1, 0, attr(unix.IFLA_IFNAME, []byte("a\x00")))
	one := packet(unix.RTM_NEWLINK, unix.NLM_F_MULTI, 5, body)
	done := packet(unix.NLMSG_DONE, unix.NLM_F_MULTI, 5, u32(0))

	if n, c, err := collect(t, join(one, packet(unix.RTM_NEWLINK, 0, 4, body), one), done); n != 2 || !c.done || c.interrupted || err != nil {
		t.Errorf("whole dump: %d links, %+v, %v", n, c, err)
	}
	if _, c, err := collect(t, packet(unix.RTM_NEWLINK, unix.NLM_F_DUMP_INTR, 5, body), done); !c.interrupted || err != nil {
		t.Errorf("interrupted dump: %+v, %v", c, err)
	}
	if _, c, err := collect(t, one, packet(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, 5, u32(0))); !c.interrupted || err != nil {
		t.Errorf("dump interrupted at its end: %+v, %v", c, err)
	}
	for name, d := range map[string][]byte{
		"error":            packet(unix.NLMSG_ERROR, 0, 5, u32(^uint32(unix.EPERM)+1)),
		"error at the end": packet(unix.NLMSG_DONE, 0, 5, u32(^uint32(unix.EPERM)+1)),
	} {
		if _, _, err := collect(t, d); !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v, want EPERM", name, err)
		}
	}
	for name, d := range map[string][]byte{
		"acknowledgement": packet(unix.NLMSG_ERROR, 0, 5, u32(0)),
		"cut header":      one[:10],
		"cut message":     one[:len(one)-5],
		"length 0":        make([]byte, 16),
	} {
		if _, _, err := collect(t, d); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v, want a malformed message", name, err)
		}
	}
}

func FuzzDatagram(f *testing.F) {
	f.Add(packet(unix.RTM_NEWLINK, 0, 5, link(1, 0, attr(unix.IFLA_IFNAME, []byte("a\x00")))))
	f.Add(packet(unix.RTM_NEWADDR, 0, 5, address(unix.AF_INET, 24, 0, 3, attr(unix.IFA_LOCAL, []byte{1, 2, 3, 4}))))
	f.Add(packet(unix.NLMSG_ERROR, 0, 5, u32(0xFFFFFFFF)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []uint16{unix.RTM_NEWLINK, unix.RTM_NEWADDR} {
			c := &collector{seq: 5, answer: kind, each: func(b []byte) error {
				if kind == unix.RTM_NEWLINK {
					l, err := parseLink(b)
					if err == nil && (l.Name == "" || l.Index <= 0) {
						t.Fatalf("accepted %+v", l)
					}
					return err
				}
				a, ok, err := parseAddress(b)
				if ok && err == nil && !a.Addr.IsValid() {
					t.Fatalf("accepted %+v", a)
				}
				return err
			}}
			_ = c.datagram(b)
		}
	})
}
