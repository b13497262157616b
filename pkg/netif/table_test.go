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

func TestGained(t *testing.T) {
	type change func(links []Interface, addrs []Address) ([]Interface, []Address)
	eth0 := Interface{Index: 2, Name: "eth0", Up: true, Lower: true, MTU: 1500}
	down := Interface{Index: 3, Name: "eth1", Up: true, MTU: 1500}
	pair := Interface{Index: 9, Name: "veth12ab", Kind: "veth", Up: true, Lower: true, Master: 4}
	mine := Address{Index: 2, Addr: netip.MustParseAddr("192.0.2.1"), Bits: 24, Usable: true}
	tentative := Address{Index: 2, Addr: netip.MustParseAddr("2001:db8::1"), Bits: 64}
	table := func(c change) *Table {
		links, addrs := []Interface{eth0, down}, []Address{mine, tentative}
		if c != nil {
			links, addrs = c(links, addrs)
		}
		return newTable(links, addrs)
	}
	for name, c := range map[string]struct {
		then change
		want bool
	}{
		"nothing":        {nil, false},
		"mtu":            {func(l []Interface, a []Address) ([]Interface, []Address) { l[0].MTU = 9000; return l, a }, false},
		"link down":      {func(l []Interface, a []Address) ([]Interface, []Address) { l[0].Lower = false; return l, a }, false},
		"interface gone": {func(l []Interface, a []Address) ([]Interface, []Address) { return l[1:], a }, false},
		"address gone":   {func(l []Interface, a []Address) ([]Interface, []Address) { return l, a[1:] }, false},
		"link up":        {func(l []Interface, a []Address) ([]Interface, []Address) { l[1].Lower = true; return l, a }, true},
		"renamed":        {func(l []Interface, a []Address) ([]Interface, []Address) { l[0].Name = "storage0"; return l, a }, true},
		"usable":         {func(l []Interface, a []Address) ([]Interface, []Address) { a[1].Usable = true; return l, a }, true},
		"moved":          {func(l []Interface, a []Address) ([]Interface, []Address) { a[0].Index = 3; return l, a }, true},
		"another tentative": {func(l []Interface, a []Address) ([]Interface, []Address) {
			return l, append(a, Address{3, tentative.Addr, 64, false})
		}, false},
		"interface": {func(l []Interface, a []Address) ([]Interface, []Address) {
			return append(l, Interface{Index: 7, Name: "eth1.5", Up: true, Lower: true}), a
		}, true},
		"interface without link": {func(l []Interface, a []Address) ([]Interface, []Address) {
			return append(l, Interface{Index: 7, Name: "eth1.5", Up: true}), a
		}, false},
		"container": {func(l []Interface, a []Address) ([]Interface, []Address) {
			return append(l, pair), append(a, Address{9, netip.MustParseAddr("fe80::9"), 64, true})
		}, false},
		"pair with an address": {func(l []Interface, a []Address) ([]Interface, []Address) {
			return append(l, pair), append(a, Address{9, netip.MustParseAddr("198.51.100.9"), 24, true})
		}, true},
	} {
		if got := table(c.then).Gained(table(nil)); got != c.want {
			t.Errorf("%s: Gained = %v", name, got)
		}
	}
	if !table(nil).Gained(nil) || !table(nil).Gained(new(Table)) || new(Table).Gained(table(nil)) {
		t.Error("Gained does not tell something from nothing")
	}
}
