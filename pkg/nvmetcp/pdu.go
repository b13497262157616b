package nvmetcp

import (
	"encoding/binary"
	"fmt"
)

// PDUType is the first byte of a PDU (TCP 3.6, "PDU-Type").
type PDUType uint8

// The PDU types (TCP 3.6.2.2 to 3.6.2.10).
const (
	TypeICReq       PDUType = 0x00
	TypeICResp      PDUType = 0x01
	TypeH2CTermReq  PDUType = 0x02
	TypeC2HTermReq  PDUType = 0x03
	TypeCapsuleCmd  PDUType = 0x04
	TypeCapsuleResp PDUType = 0x05
	TypeH2CData     PDUType = 0x06
	TypeC2HData     PDUType = 0x07
	TypeR2T         PDUType = 0x09
)

func (t PDUType) String() string {
	switch t {
	case TypeICReq:
		return "ICReq"
	case TypeICResp:
		return "ICResp"
	case TypeH2CTermReq:
		return "H2CTermReq"
	case TypeC2HTermReq:
		return "C2HTermReq"
	case TypeCapsuleCmd:
		return "CapsuleCmd"
	case TypeCapsuleResp:
		return "CapsuleResp"
	case TypeH2CData:
		return "H2CData"
	case TypeC2HData:
		return "C2HData"
	case TypeR2T:
		return "R2T"
	}
	return fmt.Sprintf("PDU type 0x%02x", uint8(t))
}

// Flags of the common header (TCP 3.6.1).
const (
	flagHeaderDigest = 0x01
	flagDataDigest   = 0x02
	flagLast         = 0x04
	flagSuccess      = 0x08
)

// Header lengths, digests not counted (TCP 3.6.2; include/linux/nvme-tcp.h).
const (
	commonHeaderLen = 8
	icLen           = 128
	termReqLen      = 24
	maxTermReq      = 152
	capsuleCmdLen   = 72
	smallHeaderLen  = 24 // CapsuleResp, H2CData, C2HData, R2T
	digestLen       = 4
	maxHeaderLen    = icLen
)

// MaxAdminInCapsule is how much data a host may put into an admin or fabrics
// capsule whatever IOCCSZ says (TCP 3.3.1.1, include/linux/nvme-tcp.h NVME_TCP_ADMIN_CCSZ).
const MaxAdminInCapsule = 8192

// PDU is one of *ICReq, *ICResp, *TermReq, *CapsuleCmd, *CapsuleResp, *H2CData, *C2HData, *R2T.
type PDU interface {
	// pduType is the type byte of the PDU.
	pduType() PDUType
	// flags gives the bits beyond the digest bits.
	flags() uint8
	// headerLen counts the PDU specific header, without digest.
	headerLen() int
	// putHeader fills the header behind the common part; b starts at byte 0 of the PDU.
	putHeader(b []byte)
	// payload is what follows the header, nil for none.
	payload() []byte
}

// ICReq opens a connection (TCP 3.6.2.2).
type ICReq struct {
	PFV          uint16 // PDU format version, 0
	HPDA         uint8  // host PDU data alignment in dwords, 0-based
	HeaderDigest bool
	DataDigest   bool
	MaxR2T       uint32 // outstanding R2Ts per command, 0-based
}

// ICResp answers an ICReq (TCP 3.6.2.3).
type ICResp struct {
	PFV          uint16
	CPDA         uint8 // controller PDU data alignment in dwords, 0-based
	HeaderDigest bool
	DataDigest   bool
	MaxH2CData   uint32 // most bytes of data in one H2CData PDU
}

// TermReq ends a connection and says why (TCP 3.6.2.4, 3.6.2.5). Header holds
// the start of the offending PDU, at most 128 bytes.
type TermReq struct {
	FromController bool
	FES            FatalErrorStatus
	FEI            uint32
	Header         []byte
}

// CapsuleCmd carries a command, with or without in-capsule data (TCP 3.6.2.6).
type CapsuleCmd struct {
	SQE  SQE
	Data []byte
}

// CapsuleResp carries a completion (TCP 3.6.2.7).
type CapsuleResp struct{ CQE CQE }

// H2CData carries data of a command that an R2T asked for (TCP 3.6.2.8).
type H2CData struct {
	CID, TTag uint16
	Offset    uint32
	Last      bool
	Data      []byte
}

// C2HData carries data to the host (TCP 3.6.2.9). Success stands for a
// completion without error and without result; it needs Last.
type C2HData struct {
	CID           uint16
	Offset        uint32
	Last, Success bool
	Data          []byte
}

// R2T asks the host for data (TCP 3.6.2.10).
type R2T struct {
	CID, TTag      uint16
	Offset, Length uint32
}

func (*ICReq) pduType() PDUType  { return TypeICReq }
func (*ICResp) pduType() PDUType { return TypeICResp }
func (p *TermReq) pduType() PDUType {
	if p.FromController {
		return TypeC2HTermReq
	}
	return TypeH2CTermReq
}
func (*CapsuleCmd) pduType() PDUType  { return TypeCapsuleCmd }
func (*CapsuleResp) pduType() PDUType { return TypeCapsuleResp }
func (*H2CData) pduType() PDUType     { return TypeH2CData }
func (*C2HData) pduType() PDUType     { return TypeC2HData }
func (*R2T) pduType() PDUType         { return TypeR2T }

func (*ICReq) flags() uint8       { return 0 }
func (*ICResp) flags() uint8      { return 0 }
func (*TermReq) flags() uint8     { return 0 }
func (*CapsuleCmd) flags() uint8  { return 0 }
func (*CapsuleResp) flags() uint8 { return 0 }
func (p *H2CData) flags() uint8   { return bit(p.Last, flagLast) }
func (p *C2HData) flags() uint8   { return bit(p.Last, flagLast) | bit(p.Success, flagSuccess) }
func (*R2T) flags() uint8         { return 0 }

func (*ICReq) headerLen() int       { return icLen }
func (*ICResp) headerLen() int      { return icLen }
func (*TermReq) headerLen() int     { return termReqLen }
func (*CapsuleCmd) headerLen() int  { return capsuleCmdLen }
func (*CapsuleResp) headerLen() int { return smallHeaderLen }
func (*H2CData) headerLen() int     { return smallHeaderLen }
func (*C2HData) headerLen() int     { return smallHeaderLen }
func (*R2T) headerLen() int         { return smallHeaderLen }

func (*ICReq) payload() []byte        { return nil }
func (*ICResp) payload() []byte       { return nil }
func (p *TermReq) payload() []byte    { return p.Header }
func (p *CapsuleCmd) payload() []byte { return p.Data }
func (*CapsuleResp) payload() []byte  { return nil }
func (p *H2CData) payload() []byte    { return p.Data }
func (p *C2HData) payload() []byte    { return p.Data }
func (*R2T) payload() []byte          { return nil }

var le = binary.LittleEndian

func (p *ICReq) putHeader(b []byte) {
	le.PutUint16(b[8:], p.PFV)
	b[10] = p.HPDA
	b[11] = digestBits(p.HeaderDigest, p.DataDigest)
	le.PutUint32(b[12:], p.MaxR2T)
}

func (p *ICResp) putHeader(b []byte) {
	le.PutUint16(b[8:], p.PFV)
	b[10] = p.CPDA
	b[11] = digestBits(p.HeaderDigest, p.DataDigest)
	le.PutUint32(b[12:], p.MaxH2CData)
}

func (p *TermReq) putHeader(b []byte) {
	le.PutUint16(b[8:], uint16(p.FES))
	le.PutUint32(b[10:], p.FEI)
}

func (p *CapsuleCmd) putHeader(b []byte)  { copy(b[8:72], p.SQE[:]) }
func (p *CapsuleResp) putHeader(b []byte) { copy(b[8:24], p.CQE[:]) }

func (p *H2CData) putHeader(b []byte) {
	le.PutUint16(b[8:], p.CID)
	le.PutUint16(b[10:], p.TTag)
	le.PutUint32(b[12:], p.Offset)
	le.PutUint32(b[16:], uint32(len(p.Data)))
}

func (p *C2HData) putHeader(b []byte) {
	le.PutUint16(b[8:], p.CID)
	le.PutUint32(b[12:], p.Offset)
	le.PutUint32(b[16:], uint32(len(p.Data)))
}

func (p *R2T) putHeader(b []byte) {
	le.PutUint16(b[8:], p.CID)
	le.PutUint16(b[10:], p.TTag)
	le.PutUint32(b[12:], p.Offset)
	le.PutUint32(b[16:], p.Length)
}

func bit(on bool, v uint8) uint8 {
	if on {
		return v
	}
	return 0
}

// digestBits is the DGST field of ICReq and ICResp: bit 0 header, bit 1 data.
func digestBits(header, data bool) uint8 { return bit(header, 1) | bit(data, 2) }
