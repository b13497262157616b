package tid

import (
	"net/netip"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
)

// Live is what sysfs tells of a controller that exists in the kernel
// (/sys/class/nvme/nvmeN: transport, address, subsysnqn, hostnqn, cntrltype).
type Live struct {
	Transport  nvme.Transport
	Traddr     string
	Trsvcid    string
	HostTraddr string
	HostIface  string
	SrcAddr    string // source address of the socket; kernel 6.1 and later, tcp, while connected
	NQN        string // of the Identify data, not necessarily the one that was asked for
	HostNQN    string
	Kind       Kind
	KindKnown  bool // cntrltype was readable and is io or discovery
}

// Interfaces tells which interface holds a local address. It gives "" where none does.
type Interfaces interface {
	InterfaceOf(netip.Addr) string
}

// Fit says how well a live controller answers a Transport ID.
type Fit uint8

// The grades of a fit. A Transport ID that names no interface and no source address
// is answered by any, but a connection that has exactly what was asked for is the better answer.
const (
	NoFit Fit = iota
	Compatible
	Exact
)

// FitTo compares by the connection's identity: addresses numerically, "none" as
// absent, any discovery controller for the well-known discovery NQN, the host NQN always.
// A controller of unknown kind never fits. Where the connection is not pinned to what
// t asks for, the source address of its socket decides; kernels that do not tell it get
// the benefit of the doubt, since a second connection would be the greater harm.
func (l Live) FitTo(kind Kind, t TID, ifaces Interfaces) Fit {
	if !l.KindKnown || l.Kind != kind || l.Transport != t.Transport {
		return NoFit
	}
	if !l.sameAddress(t) || present(l.Trsvcid) != t.Trsvcid || !l.sameNQN(kind, t) {
		return NoFit
	}
	if t.HostNQN != "" && l.HostNQN != t.HostNQN {
		return NoFit
	}
	hostTraddr, hostIface := present(l.HostTraddr), present(l.HostIface)
	if t.HostTraddr != "" && !l.fromAddress(t.HostTraddr, hostTraddr) {
		return NoFit
	}
	if want := t.boundTo(); want != "" && !l.fromInterface(want, hostIface, ifaces) {
		return NoFit
	}
	if (hostTraddr == "") == (t.HostTraddr == "") && hostIface == t.HostIface {
		return Exact
	}
	return Compatible
}

func (l Live) sameAddress(t TID) bool {
	if t.Transport == nvme.FC {
		a, errA := canonicalFC(l.Traddr)
		return errA == nil && a == t.Traddr
	}
	if !SameIP(present(l.Traddr), t.Traddr) {
		return false
	}
	// A link-local address means another host on every link.
	zone, want := Zone(l.Traddr), Zone(t.Traddr)
	return zone == "" || want == "" || zone == want
}

func (l Live) sameNQN(kind Kind, t TID) bool {
	if l.NQN == t.NQN {
		return true
	}
	return kind == Discovery && (l.NQN == nvme.DiscoveryNQN || t.NQN == nvme.DiscoveryNQN)
}

func (l Live) fromAddress(want, pinned string) bool {
	if l.Transport == nvme.FC {
		a, err := canonicalFC(pinned)
		return err == nil && a == want
	}
	switch {
	case pinned != "":
		return SameIP(pinned, want)
	case l.SrcAddr != "":
		return SameIP(l.SrcAddr, want)
	}
	return true
}

func (l Live) fromInterface(want, pinned string, ifaces Interfaces) bool {
	if pinned != "" {
		return pinned == want
	}
	if zone := Zone(l.Traddr); zone != "" {
		return zone == want
	}
	src, err := ParseIP(l.SrcAddr)
	if err != nil || ifaces == nil {
		return true
	}
	owner := ifaces.InterfaceOf(src.WithZone(""))
	return owner == "" || owner == want
}

// boundTo is the interface that t is bound to, be it by option or by the scope of its address.
func (t TID) boundTo() string {
	if t.HostIface != "" {
		return t.HostIface
	}
	return Zone(t.Traddr)
}

// Overlaps says whether t and u, both of the given kind, describe one connection that
// two sources know in different detail: the same address, port and host, an NQN of which
// one may be the well-known discovery NQN, and no interface or source address on which they disagree.
func (t TID) Overlaps(kind Kind, u TID) bool {
	if t.Transport != u.Transport || t.Trsvcid != u.Trsvcid || !SameIP(t.Traddr, u.Traddr) || t.HostNQN != u.HostNQN {
		return false
	}
	if t.NQN != u.NQN && (kind != Discovery || t.NQN != nvme.DiscoveryNQN && u.NQN != nvme.DiscoveryNQN) {
		return false
	}
	agree := func(a, b string) bool { return a == "" || b == "" || a == b }
	return agree(t.boundTo(), u.boundTo()) && agree(t.HostTraddr, u.HostTraddr)
}

// Family is the IP family of t's address: 4, 6, or 0 where the transport has none.
func (t TID) Family() int {
	if !t.Transport.IP() {
		return 0
	}
	if strings.Contains(t.Traddr, ":") {
		return 6
	}
	return 4
}
