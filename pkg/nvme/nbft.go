package nvme

import "net/netip"

// NBFT is the NVMe Boot Firmware Table: what the firmware connected to before the
// operating system started (NVM Express Boot Specification 1.0, section 3). ACPI has it
// under /sys/firmware/acpi/tables/NBFT*.
type NBFT struct {
	Host       NBFTHost
	Interfaces []NBFTInterface
	Subsystems []NBFTSubsystem
	Security   []NBFTSecurity
	Discovery  []NBFTDiscovery

	// Notes tell what of the table was skipped, or kept although it is incomplete.
	Notes []string
}

// NBFTHost is who the firmware was to the controllers.
type NBFTHost struct {
	// HostID has its bytes in the order of the table. Most firmware writes it as UEFI keeps a
	// GUID, the first three groups swapped, so it can differ from the UUID in HostNQN.
	HostID            HostID
	HostNQN           string
	HostIDConfigured  bool // by an administrator, not made up by the firmware
	HostNQNConfigured bool
}

// NBFTInterface is a host fabric interface (HFI): a network interface as the firmware
// set it up. Other descriptors name it by Index, which is no position.
type NBFTInterface struct {
	Index       uint8
	Transport   TransportType
	PCI         uint32 // bus 15:8, device 7:3, function 2:0, segment 31:16
	MAC         [6]byte
	VLAN        uint16 // 0 for none
	Origin      uint8  // of the address, NL_PREFIX_ORIGIN of Windows: 1 manual, 3 DHCP, 4 router; others are seen
	IP          netip.Addr
	Prefix      uint8
	Gateway     netip.Addr
	RouteMetric uint16
	DNS         [2]netip.Addr
	DHCPServer  netip.Addr
	HostName    string
	GlobalRoute bool
	DHCP        bool // the values were replaced by those of DHCP
	Autoconf    bool
}

// NBFTSubsystem is a subsystem namespace descriptor (SSNS): one namespace, and the
// connection over which the firmware had it or tried to.
type NBFTSubsystem struct {
	Index      uint16
	Transport  TransportType
	Traddr     netip.Addr
	Trsvcid    string
	SubNQN     string
	Interfaces []uint8 // Index of HFIs, the primary one first
	Discovery  uint8   // Index of the discovery descriptor that named it, 0 for none
	Security   uint8   // Index of the security descriptor where Secure is set

	PortID   uint16
	NSID     uint32
	NIDType  uint8 // 0 none, 1 EUI-64, 2 NGUID, 3 UUID
	NID      [16]byte
	CntlID   uint16 // 0 where not told
	ASQSize  uint16 // 0 where not told
	RootPath string // of DHCP

	HeaderDigest bool
	DataDigest   bool
	NonBootable  bool
	Secure       bool // the firmware used Security
	Discovered   bool // found by a discovery controller, not configured
	SeparateDC   bool
	Availability NBFTAvailability
}

// NBFTAvailability says whether the firmware reached a namespace.
type NBFTAvailability uint8

// Availabilities, bits 8:7 of the flags of an SSNS.
const (
	NBFTNotIndicated NBFTAvailability = 0
	NBFTAvailable    NBFTAvailability = 1
	NBFTUnavailable  NBFTAvailability = 2
)

// NBFTDiscovery is a discovery controller that the firmware asked.
type NBFTDiscovery struct {
	Index     uint8
	Interface uint8 // Index of the HFI
	Security  uint8 // Index of the security descriptor, 0 for none
	URI       string
	NQN       string // the well-known one where the table has none

	// What URI says: an IP address or a host name, and a port.
	Transport TransportType
	Traddr    string
	Trsvcid   string
}

// NBFTSecurity is a security profile; it holds no key, only where one is.
type NBFTSecurity struct {
	Index      uint8
	Auth       NBFTRequirement // in-band authentication
	Channel    NBFTRequirement // secure channel
	SecretType uint8
	KeyURI     string
}

// NBFTRequirement is how a security profile wants something.
type NBFTRequirement uint8

// Requirements.
const (
	NBFTUnsupported NBFTRequirement = 0
	NBFTSupported   NBFTRequirement = 1 // and not required
	NBFTRequired    NBFTRequirement = 2
)

// InterfaceByIndex finds the HFI of that index.
func (t *NBFT) InterfaceByIndex(index uint8) (*NBFTInterface, bool) {
	for i := range t.Interfaces {
		if t.Interfaces[i].Index == index {
			return &t.Interfaces[i], true
		}
	}
	return nil, false
}

// Offsets and flags of the table, version 1.0 and 1.1 (Boot Specification 1.0, figures 8 to
// 24). A descriptor's size is that of the fields which version 1.0 defines; the
// table says how far apart descriptors are.
const (
	nbftHeaderSize  = 64
	nbftControlSize = 64

	nbftControl       = 1
	nbftHost          = 2
	nbftInterface     = 3
	nbftSubsystem     = 4
	nbftSecurity      = 5
	nbftDiscovery     = 6
	nbftInterfaceInfo = 7
	nbftSubsystemExt  = 9

	nbftHostSize         = 32
	nbftInterfaceSize    = 32
	nbftSubsystemSize    = 128
	nbftSecuritySize     = 64
	nbftDiscoverySize    = 32
	nbftInfoSize         = 128
	nbftSubsystemExtSize = 18

	nbftValid = 1 << 0

	nbftHostIDConfigured  = 1 << 1
	nbftHostNQNConfigured = 1 << 2

	nbftInfoGlobalRoute = 1 << 1
	nbftInfoDHCP        = 1 << 2
	nbftInfoAutoconf    = 1 << 3

	nbftSubsystemNonBootable = 1 << 1
	nbftSubsystemSecure      = 1 << 2
	nbftSubsystemRootPath    = 1 << 3
	nbftSubsystemExtInfo     = 1 << 4
	nbftSubsystemSeparateDC  = 1 << 5
	nbftSubsystemDiscovered  = 1 << 6

	nbftTransportHeaderDigest = 1 << 1
	nbftTransportDataDigest   = 1 << 2

	nbftExtASQSize = 1 << 1
)
