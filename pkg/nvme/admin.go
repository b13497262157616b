package nvme

// Opcodes of admin and fabrics commands (Base 2.1, figures 89 and 544).
const (
	OpGetLogPage  = 0x02
	OpIdentify    = 0x06
	OpSetFeatures = 0x09
	OpGetFeatures = 0x0A
	OpAER         = 0x0C // Asynchronous Event Request
	OpKeepAlive   = 0x18
	OpDIM         = 0x21 // Discovery Information Management
	OpFabrics     = 0x7F
)

// Opcodes of I/O commands (NVM Command Set Specification 1.1, figure 21).
const (
	OpFlush = 0x00
	OpWrite = 0x01
	OpRead  = 0x02
)

// Fabrics command types, byte 4 of a command with [OpFabrics].
const (
	FabricsPropertySet = 0x00
	FabricsConnect     = 0x01
	FabricsPropertyGet = 0x04
	FabricsAuthSend    = 0x05
	FabricsAuthReceive = 0x06
	FabricsDisconnect  = 0x08
)

// Controller properties by offset (Base 2.1, section 3.1.4).
const (
	PropertyCAP  = 0x00 // 8 bytes
	PropertyVS   = 0x08
	PropertyCC   = 0x14
	PropertyCSTS = 0x1C
	PropertyCRTO = 0x68
)

// Identify data structures by CNS (Base 2.1, section 5.1.13.1).
const (
	CNSNamespace            = 0x00
	CNSController           = 0x01
	CNSActiveNamespaces     = 0x02
	CNSNamespaceDescriptors = 0x03
	CNSCommandSetController = 0x06
)

// Features (Base 2.1, section 5.1.25.1).
const (
	FeatureNumberOfQueues = 0x07
	FeatureAsyncEvents    = 0x0B
	FeatureKeepAlive      = 0x0F
)

// Log pages (Base 2.1, section 5.1.12.1).
const (
	LogSupported         = 0x00
	LogError             = 0x01
	LogSMART             = 0x02
	LogChangedNamespaces = 0x04
	LogEffects           = 0x05
	LogANA               = 0x0C
	LogDiscovery         = 0x70
	LogHostDiscovery     = 0x71
	LogAVE               = 0x72
	LogPullModelDDC      = 0x73
)

// GetLogPage is the command-specific part of a Get Log Page command.
type GetLogPage struct {
	LID    uint8
	LSP    uint8  // 7 bits
	RAE    bool   // retain the asynchronous event
	Length uint32 // bytes, a multiple of 4, not 0
	LSI    uint16
	Offset uint64 // bytes, a multiple of 4
}

// Dwords gives command dwords 10 to 13 (Base 2.1, section 5.1.12).
func (g GetLogPage) Dwords() (cdw10, cdw11, cdw12, cdw13 uint32) {
	numd := g.Length/4 - 1
	cdw10 = uint32(g.LID) | uint32(g.LSP&0x7F)<<8 | numd<<16
	if g.RAE {
		cdw10 |= 1 << 15
	}
	cdw11 = numd>>16 | uint32(g.LSI)<<16
	return cdw10, cdw11, uint32(g.Offset), uint32(g.Offset >> 32)
}

// ParseGetLogPage is the inverse of [GetLogPage.Dwords], for a target. A length that
// does not fit 32 bits becomes the longest that does.
func ParseGetLogPage(cdw10, cdw11, cdw12, cdw13 uint32) GetLogPage {
	dwords := uint64(cdw11&0xFFFF)<<16 | uint64(cdw10>>16)
	return GetLogPage{
		LID:    uint8(cdw10),
		LSP:    uint8(cdw10>>8) & 0x7F,
		RAE:    cdw10&(1<<15) != 0,
		Length: uint32(min((dwords+1)*4, 1<<32-4)),
		LSI:    uint16(cdw11 >> 16),
		Offset: uint64(cdw13)<<32 | uint64(cdw12),
	}
}
