package exclusion

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/tid"
)

// address is an address in the forms in which it is compared, worked out once.
type address struct {
	text string
	ip   netip.Addr // without scope, IPv4-mapped as IPv4; invalid unless numeric
	fc   [2]uint64  // node and port name
	isFC bool
}

func parseAddress(text string) address {
	a := address{text: text}
	if ip, err := tid.ParseIP(text); err == nil {
		a.ip = ip.WithZone("")
		return a
	}
	a.fc, a.isFC = parseFC(text)
	return a
}

// parseFC reads nn-0x<1..16 hex digits>:pn-0x<1..16 hex digits>. The prefixes are lower
// case, the digits in any case.
func parseFC(text string) (names [2]uint64, ok bool) {
	node, port, _ := strings.Cut(text, ":")
	for i, part := range []struct{ text, prefix string }{{node, "nn-0x"}, {port, "pn-0x"}} {
		digits, found := strings.CutPrefix(part.text, part.prefix)
		value, err := strconv.ParseUint(digits, 16, 64)
		if !found || err != nil || len(digits) > 16 {
			return [2]uint64{}, false
		}
		names[i] = value
	}
	return names, true
}

// equalOver compares an address of an entry with one of a connection of the transport.
// IP addresses are equal in any spelling, whatever their scope. Fibre Channel names are
// equal by value, else as text in any case: an entry without transport is not
// checked, and may hold anything.
func (a address) equalOver(transport string, c address) bool {
	switch {
	case transport == "fc" && a.isFC && c.isFC:
		return a.fc == c.fc
	case transport == "fc":
		return strings.EqualFold(a.text, c.text)
	case a.ip.IsValid() && c.ip.IsValid():
		return a.ip == c.ip
	}
	return a.text == c.text
}

// sameField compares addresses of two entries; both absent is equal.
func sameField(x, y string, a, b address) bool {
	switch {
	case x == "" || y == "":
		return x == y
	case a.isFC && b.isFC:
		return a.fc == b.fc
	}
	return a.equalOver("", b)
}
