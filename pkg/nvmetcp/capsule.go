package nvmetcp

import "github.com/stas-go/stas/pkg/nvme"

// SQE is a submission queue entry (Base 3.3.3.1, fabrics form).
type SQE [64]byte

// CQE is a completion queue entry (Base 3.3.3.2, fabrics form).
type CQE [16]byte

// SGL descriptor types as Linux sends them (TCP 3.3.2.1; drivers/nvme/host/tcp.c).
const (
	sglInCapsule = 0x01 // data block, offset address
	sglTransport = 0x5a // transport data block: read data, or write data by R2T
	flagsSGL     = 0x40 // PSDT: SGLs are used
)

// Opcode is byte 0 of the command.
func (s *SQE) Opcode() uint8 { return s[0] }

// CID is the command identifier.
func (s *SQE) CID() uint16 { return le.Uint16(s[2:]) }

// SetCID sets the command identifier.
func (s *SQE) SetCID(cid uint16) { le.PutUint16(s[2:], cid) }

// NSID is the namespace that the command is for.
func (s *SQE) NSID() uint32 { return le.Uint32(s[4:]) }

// FabricsType is the command type of a fabrics command (opcode 7Fh, Base 6.1).
func (s *SQE) FabricsType() uint8 { return s[4] }

// Dword gives command dword n, 0 to 15.
func (s *SQE) Dword(n int) uint32 { return le.Uint32(s[4*n:]) }

// SetDword sets command dword n.
func (s *SQE) SetDword(n int, v uint32) { le.PutUint32(s[4*n:], v) }

// DataLen is the length of the data of the command in bytes.
func (s *SQE) DataLen() uint32 { return le.Uint32(s[32:]) }

// InCapsule says that the command's data is in its capsule.
func (s *SQE) InCapsule() bool { return s[39] == sglInCapsule }

func (s *SQE) setSGL(kind uint8, length uint32) {
	s[1] = flagsSGL
	clear(s[24:40])
	le.PutUint32(s[32:], length)
	s[39] = kind
}

// NewCQE makes a completion.
func NewCQE(cid, sqid, sqhd uint16, status nvme.Status, result uint64) (c CQE) {
	le.PutUint64(c[0:], result)
	le.PutUint16(c[8:], sqhd)
	le.PutUint16(c[10:], sqid)
	le.PutUint16(c[12:], cid)
	le.PutUint16(c[14:], uint16(status)<<1)
	return c
}

// Result is dwords 0 and 1, whose meaning depends on the command.
func (c *CQE) Result() uint64 { return le.Uint64(c[0:]) }

// CID names the command that is complete.
func (c *CQE) CID() uint16 { return le.Uint16(c[12:]) }

// Status is the status field without its phase bit.
func (c *CQE) Status() nvme.Status { return nvme.Status(le.Uint16(c[14:]) >> 1) }
