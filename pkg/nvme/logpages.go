package nvme

import (
	"encoding/binary"
	"fmt"
)

// SupportedLogPagesSize is the size of log page 0x00 in bytes.
const SupportedLogPagesSize = 1024

// SupportedLogPages is log page 0x00 (Base 2.1, section 5.1.12.1.1): one dword per log
// page. The zero value, nothing supported, stands for controllers that lack the page.
type SupportedLogPages [256]uint32

// Bits of an element of [SupportedLogPages]; the last three are those of log page 0x70.
const (
	LogSupportedBit      = 1 << 0
	LogIndexOffsetBit    = 1 << 1
	LogExtendedBit       = 1 << 16 // EXTDLPES
	LogPortLocalBit      = 1 << 17 // PLEOS
	LogAllSubsystemsBit  = 1 << 18 // ALLSUBES
	discoveryLogSpecific = LogExtendedBit | LogPortLocalBit | LogAllSubsystemsBit
)

// Supports says whether log page lid can be read.
func (s *SupportedLogPages) Supports(lid uint8) bool { return s[lid]&LogSupportedBit != 0 }

// DiscoveryLSP gives those of the LSP bits in want that the controller takes.
func (s *SupportedLogPages) DiscoveryLSP(want uint8) uint8 {
	if !s.Supports(LogDiscovery) {
		return 0
	}
	return want & uint8(s[LogDiscovery]&discoveryLogSpecific>>16)
}

// DecodeSupportedLogPages decodes the 1024 bytes of log page 0x00.
func DecodeSupportedLogPages(b []byte) (*SupportedLogPages, error) {
	if len(b) < SupportedLogPagesSize {
		return nil, fmt.Errorf("cannot decode supported log pages: %d bytes are fewer than %d", len(b), SupportedLogPagesSize)
	}
	s := new(SupportedLogPages)
	for i := range s {
		s[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return s, nil
}

// Encode gives the 1024 bytes of the page.
func (s *SupportedLogPages) Encode() []byte {
	b := make([]byte, 0, SupportedLogPagesSize)
	for _, d := range s {
		b = binary.LittleEndian.AppendUint32(b, d)
	}
	return b
}
