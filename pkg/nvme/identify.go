package nvme

import (
	"encoding/binary"
	"fmt"
)

// IdentifySize is the size of the Identify Controller data structure in bytes.
const IdentifySize = 4096

// ControllerType is the CNTRLTYPE of a controller. Its String is what sysfs shows
// in the attribute cntrltype.
type ControllerType uint8

// Controller types; 0 is what controllers before version 1.4 of the specification report.
const (
	ControllerIO        ControllerType = 1
	ControllerDiscovery ControllerType = 2
	ControllerAdmin     ControllerType = 3
)

func (t ControllerType) String() string {
	switch t {
	case ControllerIO:
		return "io"
	case ControllerDiscovery:
		return "discovery"
	case ControllerAdmin:
		return "admin"
	}
	return "reserved"
}

// DCType is the DCTYPE of a discovery controller. Its String is what sysfs shows in
// the attribute dctype.
type DCType uint8

// Discovery controller types.
const (
	DCTypeNone DCType = 0 // not reported
	DCTypeDDC  DCType = 1 // direct: part of the storage it describes
	DCTypeCDC  DCType = 2 // centralized: describes what others registered
)

func (t DCType) String() string {
	switch t {
	case DCTypeNone:
		return "none"
	case DCTypeDDC:
		return "ddc"
	case DCTypeCDC:
		return "cdc"
	}
	return "reserved"
}

// Bits of Identify.LPA, CMIC and CTRATT.
const (
	LPAEffects           = 1 << 1
	LPAExtendedData      = 1 << 2 // log page offset is supported
	LPASupportedLogPages = 1 << 5 // log page 0x00 is there

	CMICMultiPort       = 1 << 0
	CMICMultiController = 1 << 1
	CMICANA             = 1 << 3

	CTRATTHostID128 = 1 << 0
	CTRATTTBKAS     = 1 << 6
	CTRATTELBAS     = 1 << 15
)

// Identify is what stas and its simulator need of the Identify Controller data
// structure (CNS 1; Base 2.1, section 5.1.13.2.1). Field names are the specification's.
type Identify struct {
	VID       uint16
	SN        string // serial number, at most 20 bytes
	MN        string // model number, at most 40 bytes
	FR        string // firmware revision, at most 8 bytes
	CMIC      uint8
	MDTS      uint8 // 2^MDTS pages is the longest transfer; 0 for no limit
	CNTLID    uint16
	VER       uint32
	RTD3E     uint32
	OAES      uint32
	CTRATT    uint32
	CNTRLTYPE ControllerType
	CRDT1     uint16
	OACS      uint16
	ACL       uint8
	AERL      uint8
	FRMW      uint8
	LPA       uint8
	ELPE      uint8
	KAS       uint16 // in units of 100 ms
	ANATT     uint8
	ANACAP    uint8
	ANAGRPMAX uint32
	NANAGRPID uint32
	SQES      uint8
	CQES      uint8
	MAXCMD    uint16
	NN        uint32
	ONCS      uint16
	VWC       uint8
	SGLS      uint32
	MNAN      uint32
	SUBNQN    string
	IOCCSZ    uint32 // in units of 16 bytes
	IORCSZ    uint32 // in units of 16 bytes
	ICDOFF    uint16
	FCATT     uint8
	MSDBD     uint8
	OFCS      uint16
	DCTYPE    DCType
}

// DecodeIdentify decodes the 4096 bytes of Identify Controller. A SUBNQN that is no
// usable text is an error; what does not print in other text becomes '?'.
func DecodeIdentify(b []byte) (*Identify, error) {
	if len(b) < IdentifySize {
		return nil, fmt.Errorf("cannot decode Identify Controller: %d bytes are fewer than %d", len(b), IdentifySize)
	}
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	nqn := fieldText(b[768:1024])
	if len(nqn) > MaxNQN {
		return nil, fmt.Errorf("cannot decode Identify Controller: SUBNQN of %d bytes is longer than %d", len(nqn), MaxNQN)
	}
	if err := checkText(nqn); err != nil {
		return nil, fmt.Errorf("cannot decode Identify Controller: SUBNQN %w", err)
	}
	return &Identify{
		VID: u16(b), SN: printable(b[4:24]), MN: printable(b[24:64]), FR: printable(b[64:72]),
		CMIC: b[76], MDTS: b[77], CNTLID: u16(b[78:]), VER: u32(b[80:]), RTD3E: u32(b[88:]),
		OAES: u32(b[92:]), CTRATT: u32(b[96:]), CNTRLTYPE: ControllerType(b[111]), CRDT1: u16(b[128:]),
		OACS: u16(b[256:]), ACL: b[258], AERL: b[259], FRMW: b[260], LPA: b[261], ELPE: b[262],
		KAS: u16(b[320:]), ANATT: b[342], ANACAP: b[343], ANAGRPMAX: u32(b[344:]), NANAGRPID: u32(b[348:]),
		SQES: b[512], CQES: b[513], MAXCMD: u16(b[514:]), NN: u32(b[516:]), ONCS: u16(b[520:]), VWC: b[525],
		SGLS: u32(b[536:]), MNAN: u32(b[540:]), SUBNQN: string(nqn),
		IOCCSZ: u32(b[1792:]), IORCSZ: u32(b[1796:]), ICDOFF: u16(b[1800:]), FCATT: b[1802], MSDBD: b[1803],
		OFCS: u16(b[1804:]), DCTYPE: DCType(b[1806]),
	}, nil
}

// Encode gives the 4096 bytes of the structure. Text longer than its field is cut.
func (id *Identify) Encode() []byte {
	b := make([]byte, IdentifySize)
	p16, p32 := binary.LittleEndian.PutUint16, binary.LittleEndian.PutUint32
	p16(b, id.VID)
	putText(b[4:24], id.SN, ' ')
	putText(b[24:64], id.MN, ' ')
	putText(b[64:72], id.FR, ' ')
	b[76], b[77] = id.CMIC, id.MDTS
	p16(b[78:], id.CNTLID)
	p32(b[80:], id.VER)
	p32(b[88:], id.RTD3E)
	p32(b[92:], id.OAES)
	p32(b[96:], id.CTRATT)
	b[111] = byte(id.CNTRLTYPE)
	p16(b[128:], id.CRDT1)
	p16(b[256:], id.OACS)
	b[258], b[259], b[260], b[261], b[262] = id.ACL, id.AERL, id.FRMW, id.LPA, id.ELPE
	p16(b[320:], id.KAS)
	b[342], b[343] = id.ANATT, id.ANACAP
	p32(b[344:], id.ANAGRPMAX)
	p32(b[348:], id.NANAGRPID)
	b[512], b[513] = id.SQES, id.CQES
	p16(b[514:], id.MAXCMD)
	p32(b[516:], id.NN)
	p16(b[520:], id.ONCS)
	b[525] = id.VWC
	p32(b[536:], id.SGLS)
	p32(b[540:], id.MNAN)
	putText(b[768:1024], id.SUBNQN, 0)
	p32(b[1792:], id.IOCCSZ)
	p32(b[1796:], id.IORCSZ)
	p16(b[1800:], id.ICDOFF)
	b[1802], b[1803] = id.FCATT, id.MSDBD
	p16(b[1804:], id.OFCS)
	b[1806] = byte(id.DCTYPE)
	return b
}
