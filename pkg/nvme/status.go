package nvme

import "fmt"

// Status is the status field of a completion without its phase bit, as the admin
// ioctl of Linux returns it: SC 7:0, SCT 10:8, CRD 12:11, More 13, DNR 14 (Base 2.1,
// section 4.2.3). On the wire it is shifted left by one.
//
// It is an error; compare with errors.Is, which looks at SCT and SC only.
type Status uint16

// Parts of [Status].
const (
	StatusCodeMask Status = 0x07FF
	StatusCRDMask  Status = 0x1800
	StatusMore     Status = 0x2000
	StatusDNR      Status = 0x4000 // do not retry
)

// Status codes (Base 2.1, sections 4.2.3.1 and 4.2.3.2; path errors 4.2.3.4).
const (
	StatusSuccess           Status = 0x000
	StatusInvalidOpcode     Status = 0x001
	StatusInvalidField      Status = 0x002
	StatusInternalError     Status = 0x006
	StatusAborted           Status = 0x007
	StatusInvalidNamespace  Status = 0x00B
	StatusCommandSequence   Status = 0x00C
	StatusInvalidDiscovery  Status = 0x12F // Invalid Discovery Information
	StatusInsufficientDisc  Status = 0x132 // Insufficient Discovery Resources
	StatusInvalidLogPage    Status = 0x109
	StatusAERLimit          Status = 0x105
	StatusConnectFormat     Status = 0x180
	StatusControllerBusy    Status = 0x181
	StatusConnectInvalid    Status = 0x182 // Connect Invalid Parameters
	StatusRestartDiscovery  Status = 0x183 // Connect Restart Discovery
	StatusConnectHost       Status = 0x184 // Connect Invalid Host
	StatusInvalidQueueType  Status = 0x185
	StatusDiscoverRestart   Status = 0x190
	StatusAuthRequired      Status = 0x191
	StatusANAPersistentLoss Status = 0x301
	StatusANAInaccessible   Status = 0x302
	StatusANATransition     Status = 0x303
	StatusHostPathError     Status = 0x370 // made by the host, never on the wire
	StatusHostAborted       Status = 0x371 // made by the host, never on the wire
)

var statusNames = map[Status]string{
	StatusSuccess:           "success",
	StatusInvalidOpcode:     "invalid opcode",
	StatusInvalidField:      "invalid field",
	StatusInternalError:     "internal error",
	StatusAborted:           "command aborted",
	StatusInvalidNamespace:  "invalid namespace or format",
	StatusCommandSequence:   "command sequence error",
	StatusInvalidDiscovery:  "invalid discovery information",
	StatusInsufficientDisc:  "insufficient discovery resources",
	StatusInvalidLogPage:    "invalid log page",
	StatusAERLimit:          "asynchronous event request limit exceeded",
	StatusConnectFormat:     "incompatible connect format",
	StatusControllerBusy:    "controller busy",
	StatusConnectInvalid:    "invalid connect parameters",
	StatusRestartDiscovery:  "connect: restart discovery",
	StatusConnectHost:       "host not allowed",
	StatusInvalidQueueType:  "invalid queue type",
	StatusDiscoverRestart:   "discover restart",
	StatusAuthRequired:      "authentication required",
	StatusANAPersistentLoss: "asymmetric access persistent loss",
	StatusANAInaccessible:   "asymmetric access inaccessible",
	StatusANATransition:     "asymmetric access transition",
	StatusHostPathError:     "host path error",
	StatusHostAborted:       "command aborted by host",
}

// Code is the status without retry delay, More and DNR: what the constants are.
func (s Status) Code() Status { return s & StatusCodeMask }

// SCT is the status code type: 0 generic, 1 command specific, 3 path related.
func (s Status) SCT() uint8 { return uint8(s >> 8 & 7) }

// SC is the status code within its type.
func (s Status) SC() uint8 { return uint8(s) }

// DNR says whether the controller asks not to retry the command.
func (s Status) DNR() bool { return s&StatusDNR != 0 }

// Err is nil for success and s otherwise.
func (s Status) Err() error {
	if s.Code() == StatusSuccess {
		return nil
	}
	return s
}

// Is makes errors.Is compare code and code type only.
func (s Status) Is(target error) bool {
	t, ok := target.(Status)
	return ok && s.Code() == t.Code()
}

func (s Status) String() string {
	if name, ok := statusNames[s.Code()]; ok {
		return name
	}
	return fmt.Sprintf("status 0x%03x", uint16(s.Code()))
}

func (s Status) Error() string {
	text := fmt.Sprintf("NVMe status 0x%03x", uint16(s.Code()))
	if name, ok := statusNames[s.Code()]; ok {
		text += " (" + name + ")"
	}
	if s.DNR() {
		text += ", do not retry"
	}
	return text
}
