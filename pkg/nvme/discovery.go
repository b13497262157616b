package nvme

import "strconv"

// Sizes of log page 0x70 (Base 2.1, section 5.1.12.3.1): the header, a basic entry,
// and where the attributes of an extended entry begin.
const (
	DiscoveryHeaderSize  = 1024
	DiscoveryEntrySize   = 1024
	discoveryExtAttrBase = 1032
)

// MaxRecords is the most entries that a discovery log page is believed to have. The
// specification has no bound; this one keeps a lying NUMREC from sizing anything.
const MaxRecords = 65535

// DiscoveryLog is a decoded discovery log page.
type DiscoveryLog struct {
	GenCtr uint64 // generation counter; differs when the page's content does
	NumRec uint64 // entries as the header counts them: len(Entries) + Dropped
	RecFmt uint16 // record format, 0 is the only one defined
	Flags  uint8  // DLPF bits, e.g. [PageExtended]

	Entries []DiscoveryEntry

	// Dropped counts entries left out as they were not usable text; DropReasons tells
	// why for the first [MaxDropReasons]. What such an entry meant is unknown: a page
	// that has any is no proof that something is no longer listed.
	Dropped     int
	DropReasons []DroppedEntry
}

// MaxDropReasons bounds DiscoveryLog.DropReasons.
const MaxDropReasons = 16

// DroppedEntry says why the entry at Index (from 0) of a page is not in Entries.
type DroppedEntry struct {
	Index  int
	Reason error
}

// Complete says whether every record of the page could be decoded.
func (l *DiscoveryLog) Complete() bool { return l.Dropped == 0 }

// Bits of DiscoveryLog.Flags (DLPF, byte 18 of the header).
const (
	PageExtended      = 1 << 0 // entries are extended and of variable length
	PagePortLocal     = 1 << 1 // entries of the port that was asked, only
	PageAllSubsystems = 1 << 2 // entries of all subsystems, whatever the host may use
)

// Bits of the Log Specific Parameter of Get Log Page 0x70. One may be set only where
// [SupportedLogPages] says so.
const (
	LSPExtended      = 1 << 0 // EXTDLPE
	LSPPortLocal     = 1 << 1 // PLEO
	LSPAllSubsystems = 1 << 2 // ALLSUBE
)

// DiscoveryEntry is one entry of a discovery log page, with its text trimmed of
// padding. It is comparable: two entries are equal (==) when every field is.
type DiscoveryEntry struct {
	Transport  TransportType
	AddrFamily AddrFamily
	Subtype    Subtype
	TReq       TReq
	PortID     uint16
	CntlID     uint16 // or one of [CntlIDDynamic], [CntlIDStatic]
	ASQSize    uint16 // admin submission queue size, in entries
	EFlags     EFlags
	TSAS       TSAS
	Trsvcid    string
	SubNQN     string
	Traddr     string
}

// Special controller IDs of a discovery entry.
const (
	CntlIDDynamic = 0xFFFF
	CntlIDStatic  = 0xFFFE
)

// HasAddress says whether the entry names an address that could be connected to:
// discovery controllers also list themselves and others with none.
func (e *DiscoveryEntry) HasAddress() bool {
	switch e.Traddr {
	case "", "0.0.0.0", "::":
		return false
	}
	return true
}

// TSAS is the part of the transport specific address subtype that transports define:
// byte 0 for TCP (NVMe/TCP transport specification, figure 5), bytes 0-2 and 8-9 for
// RDMA (NVMe/RDMA transport specification, figure 4). Fields of other transports are 0.
type TSAS struct {
	SecType SecType // tcp
	QPType  uint8   // rdma: 1 connected, 2 datagram
	PRType  uint8   // rdma provider: 1 none, 2 InfiniBand, 3 RoCE, 4 RoCEv2, 5 iWARP
	CMS     uint8   // rdma connection management: 1 RDMA_CM
	PKey    uint16  // rdma partition key
}

// SecType is the TCP security type of an entry.
type SecType uint8

// TCP security types.
const (
	SecNone  SecType = 0
	SecTLS12 SecType = 1
	SecTLS13 SecType = 2
)

// TransportType is the TRTYPE of an entry. Its String is the spelling of nvme-stas
// 2.x, the decimal number where that has none; the same holds for [AddrFamily],
// [Subtype], [TReq] and [EFlags].
type TransportType uint8

// Transport types (Base 2.1, discovery log page entry, byte 0).
const (
	TransportTypeRDMA TransportType = 1
	TransportTypeFC   TransportType = 2
	TransportTypeTCP  TransportType = 3
	TransportTypeLoop TransportType = 254
)

// Transport gives the transport as Linux spells it; empty for a type that it lacks.
func (t TransportType) Transport() Transport {
	switch t {
	case TransportTypeRDMA:
		return RDMA
	case TransportTypeFC:
		return FC
	case TransportTypeTCP:
		return TCP
	case TransportTypeLoop:
		return Loop
	}
	return ""
}

// Type is the inverse of [TransportType.Transport]; 0 where no entry can name t.
func (t Transport) Type() TransportType {
	switch t {
	case RDMA:
		return TransportTypeRDMA
	case FC:
		return TransportTypeFC
	case TCP:
		return TransportTypeTCP
	case Loop:
		return TransportTypeLoop
	}
	return 0
}

func (t TransportType) String() string {
	if t == 0 {
		return "unspecified"
	}
	if s := t.Transport(); s != "" {
		return string(s)
	}
	return strconv.Itoa(int(t))
}

// AddrFamily is the ADRFAM of an entry.
type AddrFamily uint8

// Address families (Base 2.1, discovery log page entry, byte 1).
const (
	AddrFamilyPCI  AddrFamily = 0
	AddrFamilyIPv4 AddrFamily = 1
	AddrFamilyIPv6 AddrFamily = 2
	AddrFamilyIB   AddrFamily = 3
	AddrFamilyFC   AddrFamily = 4
	AddrFamilyLoop AddrFamily = 254
)

func (f AddrFamily) String() string {
	return spell(int(f), "pci", "ipv4", "ipv6", "infiniband", "fc")
}

// Subtype tells what an entry describes.
type Subtype uint8

// Entry subtypes (Base 2.1, discovery log page entry, byte 2).
const (
	SubtypeReferral  Subtype = 1 // another discovery subsystem
	SubtypeNVMe      Subtype = 2 // an NVM subsystem
	SubtypeDiscovery Subtype = 3 // the discovery subsystem that answers
)

func (s Subtype) String() string {
	return spell(int(s), "0", "referral", "nvme", "discovery")
}

// TReq is the transport requirements byte of an entry.
type TReq uint8

// Bits of [TReq].
const (
	TReqSecureMask        TReq = 0x03
	TReqRequired          TReq = 0x01 // secure channel required
	TReqNotRequired       TReq = 0x02 // secure channel not required
	TReqDisableSQFlow     TReq = 0x04 // SQ flow control may be disabled
	TReqZeroHostID        TReq = 0x08 // a Host Identifier of zero is supported
	TReqAuthMask          TReq = 0x30 // authentication and secure channel requirements
	TReqSecureUnspecified TReq = 0x00
)

// Secure gives the secure channel requirement alone.
func (t TReq) Secure() TReq { return t & TReqSecureMask }

func (t TReq) String() string {
	return spell(int(t), "not specified", "required", "not required", "3", "disable sqflow")
}

// EFlags are the entry flags.
type EFlags uint16

// Bits of [EFlags] (Base 2.1, discovery log page entry, bytes 10-11).
const (
	DUPRETINFO EFlags = 1 << 0 // same information as another interface returns
	EPCSD      EFlags = 1 << 1 // explicit persistent connections are supported
	NCC        EFlags = 1 << 2 // this DDC has no connectivity to a CDC
)

// Has says whether all bits of f are set.
func (e EFlags) Has(f EFlags) bool { return e&f == f }

func (e EFlags) String() string { return strconv.Itoa(int(e)) }

func spell(n int, names ...string) string {
	if n < len(names) {
		return names[n]
	}
	return strconv.Itoa(n)
}
