package nvme

import (
	"fmt"
	"strconv"
)

// AsyncEvent is dword 0 of the completion of an Asynchronous Event Request (Base 2.1,
// section 5.1.2.1); Linux passes it on as NVME_AEN= of a uevent.
type AsyncEvent uint32

// Events that stas knows by value.
const (
	AENDiscoveryLogChange AsyncEvent = 0x70F002
	AENNamespaceChange    AsyncEvent = 0x040002
	AENANAChange          AsyncEvent = 0x0C0302
)

// Types of asynchronous events.
const (
	EventTypeError  = 0
	EventTypeSMART  = 1
	EventTypeNotice = 2
	EventTypeIO     = 6
	EventTypeVendor = 7
)

// Information of notices.
const (
	NoticeNamespace     = 0x00
	NoticeFirmware      = 0x01
	NoticeANA           = 0x03
	NoticeDiscovery     = 0xF0
	NoticeHostDiscovery = 0xF1
	NoticeAVE           = 0xF2
	NoticePullModelDDC  = 0xF3
)

// Bits of OAES and of feature 0x0B: which events a controller can raise, which the host wants.
const (
	OAESNamespace = 1 << 8
	OAESFirmware  = 1 << 9
	OAESANA       = 1 << 11
	OAESDiscovery = 1 << 31
)

// Type is one of the EventType constants.
func (e AsyncEvent) Type() uint8 { return uint8(e & 7) }

// Info is the event information; one of the Notice constants where Type is EventTypeNotice.
func (e AsyncEvent) Info() uint8 { return uint8(e >> 8) }

// LogPage is the log page that tells more, and that must be read to get further events.
func (e AsyncEvent) LogPage() uint8 { return uint8(e >> 16) }

// DiscoveryChange says that log page 0x70 is worth reading.
func (e AsyncEvent) DiscoveryChange() bool {
	return e.Type() == EventTypeNotice && e.Info() == NoticeDiscovery
}

// ParseAsyncEvent reads the value of NVME_AEN=, hexadecimal with "0x" (nvme_aen_uevent in
// drivers/nvme/host/core.c).
func ParseAsyncEvent(s string) (AsyncEvent, error) {
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("cannot parse asynchronous event %q: not a 32-bit number", s)
	}
	return AsyncEvent(n), nil
}

func (e AsyncEvent) String() string { return fmt.Sprintf("0x%06x", uint32(e)) }
