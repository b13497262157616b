package netif

import (
	"bytes"
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// Interface is one network interface.
type Interface struct {
	Index  int
	Name   string
	MAC    net.HardwareAddr // nil where it has none; 20 bytes for IPoIB
	Perm   net.HardwareAddr // burned-in address, where the driver tells
	Up     bool             // set up by the administrator (IFF_UP)
	Lower  bool             // the link is there (IFF_LOWER_UP)
	MTU    int
	Kind   string // vlan, bond, bridge, vrf, …; "" for hardware and loopback
	VLAN   int    // ID of a VLAN interface, else 0
	Parent int    // index of the interface that this one is on top of, 0 for none
	Master int    // index of the bond, bridge or VRF that this one is part of, 0 for none
}

// Address is one address of an interface.
type Address struct {
	Index  int        // of the interface
	Addr   netip.Addr // without zone
	Bits   int        // length of the prefix
	Usable bool       // false while duplicate detection runs, and for duplicates (IPv6)
}

// Table is how interfaces and addresses were at one moment. It does not change.
type Table struct {
	links  []Interface // by index
	addrs  []Address
	byAddr map[netip.Addr][]int // indexes into addrs
}

func newTable(links []Interface, addrs []Address) *Table {
	slices.SortFunc(links, func(a, b Interface) int { return cmp.Compare(a.Index, b.Index) })
	slices.SortStableFunc(addrs, func(a, b Address) int { return cmp.Compare(a.Index, b.Index) })
	t := &Table{links: links, addrs: addrs, byAddr: make(map[netip.Addr][]int, len(addrs))}
	for i, a := range addrs {
		t.byAddr[a.Addr] = append(t.byAddr[a.Addr], i)
	}
	return t
}

// Interfaces gives all interfaces in the order of their indexes. The slice is the
// table's own.
func (t *Table) Interfaces() []Interface { return t.links }

// Addresses gives all addresses in the order of their interfaces. The slice is the
// table's own.
func (t *Table) Addresses() []Address { return t.addrs }

// ByIndex finds an interface by its index.
func (t *Table) ByIndex(index int) (Interface, bool) {
	i, ok := slices.BinarySearchFunc(t.links, index, func(l Interface, want int) int { return cmp.Compare(l.Index, want) })
	if !ok {
		return Interface{}, false
	}
	return t.links[i], true
}

// ByName finds an interface by its name.
func (t *Table) ByName(name string) (Interface, bool) {
	for _, l := range t.links {
		if l.Name == name {
			return l, true
		}
	}
	return Interface{}, false
}

// InterfaceOf names the interface that has addr, whose zone may be the interface's name or
// index. It gives "" where none has it, and where several do and no zone says which.
func (t *Table) InterfaceOf(addr netip.Addr) string {
	zone := addr.Zone()
	found := ""
	for _, i := range t.byAddr[addr.Unmap().WithZone("")] {
		l, ok := t.ByIndex(t.addrs[i].Index)
		if !ok || zone != "" && zone != l.Name && zone != strconv.Itoa(l.Index) {
			continue
		}
		if found != "" && found != l.Name {
			return ""
		}
		found = l.Name
	}
	return found
}

// Usable says whether a connection can be made from addr now: an interface has it, and
// duplicate detection is through. Without zone any interface will do.
func (t *Table) Usable(addr netip.Addr) bool {
	zone := addr.Zone()
	for _, i := range t.byAddr[addr.Unmap().WithZone("")] {
		l, ok := t.ByIndex(t.addrs[i].Index)
		if ok && t.addrs[i].Usable && (zone == "" || zone == l.Name || zone == strconv.Itoa(l.Index)) {
			return true
		}
	}
	return false
}

// Shared lists the addresses that more than one interface has, link-local ones aside,
// which are meant to be. Such a network is set up wrongly.
func (t *Table) Shared() []netip.Addr {
	var shared []netip.Addr
	for addr, at := range t.byAddr {
		if len(at) > 1 && !addr.IsLinkLocalUnicast() {
			shared = append(shared, addr)
		}
	}
	slices.SortFunc(shared, netip.Addr.Compare)
	return shared
}

// ByMAC finds the interface through which the one with this hardware address is used: of
// those that bear it (bonds, their parts and VLANs mostly bear the same) the VLAN
// interface with this ID, or for 0 the one that is part of no other and no VLAN. The
// burned-in address counts too, as a bond changes that of its parts: what is found
// then is the bond. It says false where there is none or it is not unique.
func (t *Table) ByMAC(mac net.HardwareAddr, vlan int) (Interface, bool) {
	if len(mac) == 0 {
		return Interface{}, false
	}
	found := map[int]Interface{}
	for _, l := range t.links {
		if !bytes.Equal(l.MAC, mac) && !bytes.Equal(l.Perm, mac) {
			continue
		}
		if l.VLAN != 0 {
			if l.VLAN == vlan {
				found[l.Index] = l
			}
			continue
		}
		top := t.top(l)
		if vlan == 0 {
			found[top.Index] = top
			continue
		}
		for _, v := range t.links {
			if v.VLAN == vlan && (v.Parent == top.Index || v.Parent == l.Index) {
				found[v.Index] = v
			}
		}
	}
	if len(found) != 1 {
		return Interface{}, false
	}
	for _, l := range found {
		return l, true
	}
	return Interface{}, false
}

// top goes from the part of a bond, team or bridge to the whole. Parts of a VRF stay
// what they are: addresses are on them.
func (t *Table) top(l Interface) Interface {
	for range 8 { // deeper than anybody stacks, and an end for loops
		m, ok := t.ByIndex(l.Master)
		if !ok || m.Kind == "vrf" {
			break
		}
		l = m
	}
	return l
}

// Gained says whether something can be reached now, perhaps, that could not be when the table was last: a link has come up,
// or an address has become usable. Without last everything has. What containers come and go with is left out: their end of
// a pair of interfaces that has none but link-local addresses on this side leads to nothing else.
func (t *Table) Gained(last *Table) bool {
	if last == nil {
		return true
	}
	routed := map[int]bool{}
	before := make(map[Address]bool, len(last.addrs))
	for _, a := range last.addrs {
		before[a] = true
	}
	gained := false
	for _, a := range t.addrs {
		if l, _ := t.ByIndex(a.Index); l.Kind == "veth" && a.Addr.IsLinkLocalUnicast() {
			continue
		}
		routed[a.Index] = true
		gained = gained || a.Usable && !before[a]
	}
	for _, l := range t.links {
		if gained || !l.Up || !l.Lower || l.Kind == "veth" && !routed[l.Index] {
			continue
		}
		was, ok := last.ByIndex(l.Index)
		gained = !ok || !was.Up || !was.Lower || was.Name != l.Name
	}
	return gained
}
