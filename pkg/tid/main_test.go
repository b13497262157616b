package tid

import (
	"net/netip"

	"github.com/stas-go/stas/pkg/nvme"
)

const (
	hostNQN  = "nqn.2014-08.org.nvmexpress:uuid:3a3f9475-2f25-48d3-9025-0c2f288a4e88"
	bootNQN  = "nqn.2014-08.org.nvmexpress:uuid:00000000-2f25-48d3-9025-0c2f288a4e88"
	subsys   = "nqn.2026-01.test:s1"
	uniqueDC = "nqn.2026-01.test:dc"
	wwn      = "nn-0x10000000c9000001:pn-0x20000000c9000001"
	hba      = "nn-0x10000000c90000aa:pn-0x20000000c90000aa"
)

// owners is an Interfaces in the form of a table.
type owners map[string]string

func (o owners) InterfaceOf(a netip.Addr) string { return o[a.String()] }

func io4() TID {
	return TID{Transport: nvme.TCP, Traddr: "192.0.2.10", Trsvcid: "4420", NQN: subsys, HostNQN: hostNQN}
}

func live4() Live {
	return Live{Transport: nvme.TCP, Traddr: "192.0.2.10", Trsvcid: "4420", NQN: subsys, HostNQN: hostNQN, Kind: IO, KindKnown: true}
}

func with[T any](v T, f func(*T)) T { f(&v); return v }
