package nvmetcp

import (
	"net/netip"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// Names of the points of a conversation at which a target can be made to misbehave.
const (
	StepAccept       = "accept"
	StepICReq        = "icreq"
	StepConnect      = "connect"
	StepIOConnect    = "io-connect"
	StepAuth         = "auth"
	StepPropertyGet  = "property-get"
	StepPropertySet  = "property-set"
	StepIdentify     = "identify"
	StepGetLog       = "get-log"
	StepDiscoveryLog = "discovery-log"
	StepGetFeatures  = "get-features"
	StepSetFeatures  = "set-features"
	StepAER          = "aer"
	StepAEN          = "aen"
	StepKeepAlive    = "keep-alive"
	StepDIM          = "dim"
	StepRead         = "read"
	StepWrite        = "write"
	StepIO           = "io" // every other I/O command
	StepOther        = "other"
)

// Steps lists them all.
var Steps = []string{
	StepAccept, StepICReq, StepConnect, StepIOConnect, StepAuth, StepPropertyGet, StepPropertySet, StepIdentify,
	StepGetLog, StepDiscoveryLog, StepGetFeatures, StepSetFeatures, StepAER, StepAEN, StepKeepAlive, StepDIM,
	StepRead, StepWrite, StepIO, StepOther,
}

// Step is a point of a conversation. What is not known yet is empty.
type Step struct {
	Name            string
	Port            string // the name that [Target.Serve] was given
	Local, Remote   netip.AddrPort
	SubNQN, HostNQN string
}

// Action is what a target does at a step in place of, or before, what is right.
// The zero value is to behave.
type Action struct {
	Delay   time.Duration // wait first; other commands go on meanwhile
	Silent  bool          // never answer
	Close   bool          // close the connection
	Status  nvme.Status   // answer with this status, unless it is success
	Corrupt Corruption    // answer, but damaged
}

// Corruption is a way to damage the answer of a target.
type Corruption uint8

// Corruptions.
const (
	CorruptNothing      Corruption = iota
	CorruptTruncate                // half of the PDU, then close
	CorruptHeaderLength            // a header length that no PDU has
	CorruptCommandID               // a command identifier that is not under way
	CorruptDigest                  // a wrong digest, where one is used; else as CorruptHeaderLength
	CorruptShortData               // less data than was asked for, and success
	CorruptTerminate               // a termination request in place of the answer
)

// Interceptor decides what a target does at a step. It is called concurrently and
// must not block.
type Interceptor interface {
	Intercept(Step) Action
}

// stepOf names the step of a command.
func stepOf(sqe *SQE, qid uint16) string {
	if sqe.Opcode() == nvme.OpFabrics {
		switch sqe.FabricsType() {
		case nvme.FabricsConnect:
			if le.Uint16(sqe[42:]) != 0 {
				return StepIOConnect
			}
			return StepConnect
		case nvme.FabricsPropertyGet:
			return StepPropertyGet
		case nvme.FabricsPropertySet:
			return StepPropertySet
		case nvme.FabricsAuthSend, nvme.FabricsAuthReceive:
			return StepAuth
		}
		return StepOther
	}
	if qid != 0 {
		switch sqe.Opcode() {
		case nvme.OpRead:
			return StepRead
		case nvme.OpWrite:
			return StepWrite
		}
		return StepIO
	}
	switch sqe.Opcode() {
	case nvme.OpIdentify:
		return StepIdentify
	case nvme.OpGetLogPage:
		if uint8(sqe.Dword(10)) == nvme.LogDiscovery {
			return StepDiscoveryLog
		}
		return StepGetLog
	case nvme.OpGetFeatures:
		return StepGetFeatures
	case nvme.OpSetFeatures:
		return StepSetFeatures
	case nvme.OpAER:
		return StepAER
	case nvme.OpKeepAlive:
		return StepKeepAlive
	case nvme.OpDIM:
		return StepDIM
	}
	return StepOther
}
