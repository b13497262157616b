// Package nbft is the boot table that the test bed's firmware has: what the guest would have booted from.
package nbft

import (
	"net/netip"

	"github.com/stas-go/stas/pkg/nvme"
)

// The boot connection of the test bed, and the host that the firmware was.
const (
	HostNQN   = "nqn.2014-08.org.nvmexpress:uuid:6e2b33c4-91b2-4f8a-9a53-5b8d0c7b7e11"
	HostID    = "6e2b33c4-91b2-4f8a-9a53-5b8d0c7b7e11"
	Address   = "127.0.0.77"
	Service   = "4477"
	SubNQN    = "nqn.2014-08.org.nvmexpress:test:boot"
	Discovery = "nvme+tcp://127.0.0.77:8477/"
)

// Table builds the table.
func Table() ([]byte, error) {
	id, err := nvme.ParseHostID(HostID)
	if err != nil {
		return nil, err
	}
	return nvme.BuildNBFT(&nvme.NBFT{
		Host: nvme.NBFTHost{HostID: id, HostNQN: HostNQN, HostIDConfigured: true, HostNQNConfigured: true},
		Interfaces: []nvme.NBFTInterface{{Index: 1, Transport: nvme.TransportTypeTCP, MAC: [6]byte{2, 0, 0, 0, 0, 1},
			IP: netip.MustParseAddr("127.0.0.1"), Prefix: 8}},
		Subsystems: []nvme.NBFTSubsystem{{Index: 1, Transport: nvme.TransportTypeTCP, Traddr: netip.MustParseAddr(Address),
			Trsvcid: Service, SubNQN: SubNQN, Interfaces: []uint8{1}, NSID: 1}},
		Discovery: []nvme.NBFTDiscovery{{Index: 1, Interface: 1, URI: Discovery, NQN: nvme.DiscoveryNQN}},
	})
}
