package netif

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stas-go/stas/pkg/tid"
)

var _ tid.Interfaces = (*Table)(nil)

func mac(last byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, last} }

// bonded is a host with a bond of two, a VLAN on it, a bridge, and a VRF.
var bonded = newTable([]Interface{
	{Index: 1, Name: "lo"},
	{Index: 2, Name: "eth0", MAC: mac(1), Perm: mac(1), Master: 5},
	{Index: 3, Name: "eth1", MAC: mac(1), Perm: mac(2), Master: 5},
	{Index: 4, Name: "eth2", MAC: mac(3), Perm: mac(3), Master: 8},
	{Index: 5, Name: "bond0", MAC: mac(1), Kind: "bond"},
	{Index: 6, Name: "bond0.100", MAC: mac(1), Kind: "vlan", VLAN: 100, Parent: 5},
	{Index: 7, Name: "eth2.5", MAC: mac(9), Kind: "vlan", VLAN: 5, Parent: 4},
	{Index: 8, Name: "red", MAC: mac(8), Kind: "vrf"},
}, []Address{
	{Index: 6, Addr: netip.MustParseAddr("192.0.2.1"), Bits: 24, Usable: true},
	{Index: 4, Addr: netip.MustParseAddr("fe80::1"), Bits: 64, Usable: true},
	{Index: 6, Addr: netip.MustParseAddr("fe80::1"), Bits: 64, Usable: true},
	{Index: 4, Addr: netip.MustParseAddr("2001:db8::1"), Bits: 64},
	{Index: 4, Addr: netip.MustParseAddr("198.51.100.1"), Bits: 24, Usable: true},
	{Index: 5, Addr: netip.MustParseAddr("198.51.100.1"), Bits: 24, Usable: true},
})

func TestInterfaceOf(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "bond0.100", "::ffff:192.0.2.1": "bond0.100", "192.0.2.2": "",
		"fe80::1": "", "fe80::1%eth2": "eth2", "fe80::1%6": "bond0.100", "fe80::1%eth0": "",
		"2001:db8::1": "eth2", "198.51.100.1": "",
	} {
		if got := bonded.InterfaceOf(netip.MustParseAddr(addr)); got != want {
			t.Errorf("InterfaceOf(%s) = %q, want %q", addr, got, want)
		}
	}
}

func TestUsable(t *testing.T) {
	for addr, want := range map[string]bool{"192.0.2.1": true, "2001:db8::1": false, "192.0.2.2": false, "fe80::1%eth2": true, "fe80::1%bond0": false} {
		if got := bonded.Usable(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Usable(%s) = %v, want %v", addr, got, want)
		}
	}
}

func TestByMAC(t *testing.T) {
	for _, c := range []struct {
		mac  net.HardwareAddr
		vlan int
		want string
	}{
		{mac(1), 0, "bond0"},       // of the first part, which gave the bond its address
		{mac(2), 0, "bond0"},       // burned into the second part
		{mac(2), 100, "bond0.100"}, // a VLAN over the bond
		{mac(1), 100, "bond0.100"},
		{mac(1), 7, ""},
		{mac(3), 0, "eth2"}, // a part of a VRF keeps its addresses
		{mac(3), 5, "eth2.5"},
		{mac(9), 5, "eth2.5"},
		{mac(77), 0, ""},
		{nil, 0, ""},
	} {
		got, ok := bonded.ByMAC(c.mac, c.vlan)
		if got.Name != c.want || ok != (c.want != "") {
			t.Errorf("ByMAC(%v, %d) = %q, %v; want %q", c.mac, c.vlan, got.Name, ok, c.want)
		}
	}
}

func TestShared(t *testing.T) {
	if got := bonded.Shared(); len(got) != 1 || got[0].String() != "198.51.100.1" {
		t.Errorf("Shared = %v", got)
	}
}

func TestLoopOfMasters(t *testing.T) {
	looped := newTable([]Interface{{Index: 1, Name: "a", MAC: mac(1), Master: 2}, {Index: 2, Name: "b", MAC: mac(2), Master: 1}}, nil)
	if _, ok := looped.ByMAC(mac(1), 0); !ok {
		t.Error("nothing found")
	}
}
