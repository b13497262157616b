package tid

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
)

// ParseIP reads a numeric IP address with an optional scope. An IPv4-mapped
// IPv6 address counts as the IPv4 address; a scope on IPv4 is dropped, as is an empty one.
func ParseIP(s string) (netip.Addr, error) {
	text, zone, _ := strings.Cut(s, "%")
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not a numeric IP address", s)
	}
	a = a.Unmap()
	if a.Is6() && zone != "" {
		a = a.WithZone(zone)
	}
	return a, nil
}

// CanonicalIP gives the one spelling of a numeric IP address that stas uses
// towards the kernel, which compares addresses as text when it looks for
// duplicates (drivers/nvme/host/fabrics.c, nvmf_ip_options_match).
func CanonicalIP(s string) (string, error) {
	a, err := ParseIP(s)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

// Where gives the part of an address by which Transport IDs that may mean one connection are
// found: without the scope, in one spelling, and as it is where it is no address of that transport.
func Where(transport nvme.Transport, traddr string) string {
	traddr = present(traddr)
	if transport == nvme.FC {
		if a, err := canonicalFC(traddr); err == nil {
			return a
		}
		return traddr
	}
	if a, err := ParseIP(traddr); err == nil {
		return a.WithZone("").String()
	}
	return traddr
}

// SameIP says whether a and b are the same IP address in any spelling; scopes
// are ignored, an IPv4-mapped address equals the IPv4 one, and what is not a numeric
// address is compared byte for byte.
func SameIP(a, b string) bool {
	x, errX := ParseIP(a)
	y, errY := ParseIP(b)
	if errX != nil || errY != nil {
		return a == b
	}
	return x.WithZone("") == y.WithZone("")
}

// Zone gives the scope of an IPv6 address, empty where there is none.
func Zone(s string) string {
	_, zone, _ := strings.Cut(s, "%")
	return zone
}

// canonicalFC checks nn-0x<1..16 hex>:pn-0x<1..16 hex> and gives it with lower-case,
// 16-digit names, the only form that the kernel takes (drivers/nvme/host/fc.c, nvme_fc_parse_traddr).
// Discovery log pages may separate the names by a comma.
func canonicalFC(s string) (string, error) {
	nn, pn, ok := strings.Cut(strings.ToLower(withoutComma(s)), ":")
	node, okN := worldWideName(nn, "nn-0x")
	port, okP := worldWideName(pn, "pn-0x")
	if !ok || !okN || !okP {
		return "", fmt.Errorf("%q is not an FC address of the form nn-0x<16 hex digits>:pn-0x<16 hex digits>", s)
	}
	return "nn-0x" + node + ":pn-0x" + port, nil
}

// withoutComma gives an FC address whose names a comma separates the usual form.
func withoutComma(s string) string { return strings.Replace(s, ",", ":", 1) }

func worldWideName(s, prefix string) (string, bool) {
	hex, ok := strings.CutPrefix(s, prefix)
	if !ok || hex == "" || len(hex) > 16 || strings.Trim(hex, "0123456789abcdef") != "" {
		return "", false
	}
	return strings.Repeat("0", 16-len(hex)) + hex, true
}

// ScopedLike gives t with the scope that its address lacks. A link-local address in a log page
// carries none; it is on the link over which the controller that listed it is reached.
func (t TID) ScopedLike(parent TID) TID {
	a, err := ParseIP(t.Traddr)
	if err != nil || !a.Is6() || !a.IsLinkLocalUnicast() || a.Zone() != "" {
		return t
	}
	if zone := parent.boundTo(); zone != "" {
		t.Traddr = a.WithZone(zone).String()
	}
	return t
}
