package nvme

// DIMTask is what a Discovery Information Management command asks for: bits 3:0 of its
// dword 10 (Base 2.1, section 5.2.2).
type DIMTask uint8

// Tasks.
const (
	DIMRegister   DIMTask = 0
	DIMDeregister DIMTask = 1
	DIMUpdate     DIMTask = 2 // two entries: the one registered, the one to replace it
)

// DIMEntityType tells who registers.
type DIMEntityType uint16

// Entity types.
const (
	DIMHost DIMEntityType = 1
	DIMDDC  DIMEntityType = 2
	DIMCDC  DIMEntityType = 3
)

// Entry formats of the data of a DIM command.
const (
	dimBasic    = 1
	dimExtended = 2
)

// dimEntityKeys is the EKTYPE of a host entry: which of its fields tell it from others.
const dimEntityKeys = 0x5F

// Bounds of what a target takes; a host sends one or two entries of about 1 KiB.
const (
	MaxDIMSize    = 64 << 10
	maxDIMEntries = 32
)

// DIMHeaderSize is the size of the fixed part of the data of a DIM command.
const DIMHeaderSize = 1024

// DIM is the data of a Discovery Information Management command in the extended format.
// Its length is in the data alone, the command's dwords do not have it.
type DIM struct {
	EntityType DIMEntityType
	PortLocal  bool
	NQN        string // EID: the host NQN
	Name       string // ENAME: the host's name, at most 256 bytes
	Version    string // EVER: operating system and its version, at most 64 bytes
	Entries    []DIMEntry
}

// DIMEntry is one extended discovery information entry: an address under which its
// sender can be reached, and who that is.
type DIMEntry struct {
	// Of the basic part a host fills Transport, AddrFamily, SubNQN with its own NQN, and
	// Traddr with the address it sends from; an empty one means the connection's.
	DiscoveryEntry

	HostID       HostID // mandatory for hosts
	SymbolicName string // ASCII, at most 256 bytes, may be empty
	Label        string // UTF-8, at most 256 bytes, may be empty
}
