package nvmetcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// FatalErrorStatus is the FES field of a termination request (TCP 3.6.2.4, 3.6.2.5).
type FatalErrorStatus uint16

// Values of FatalErrorStatus; the two directions share their meaning, but that
// FESDataLimit is about R2Ts where a host sends it.
const (
	FESInvalidHeader        FatalErrorStatus = 1
	FESSequence             FatalErrorStatus = 2
	FESHeaderDigest         FatalErrorStatus = 3
	FESDataOutOfRange       FatalErrorStatus = 4
	FESDataLimit            FatalErrorStatus = 5
	FESUnsupportedParameter FatalErrorStatus = 6
)

func (f FatalErrorStatus) String() string {
	switch f {
	case FESInvalidHeader:
		return "invalid PDU header field"
	case FESSequence:
		return "PDU sequence error"
	case FESHeaderDigest:
		return "header digest error"
	case FESDataOutOfRange:
		return "data transfer out of range"
	case FESDataLimit:
		return "data transfer limit exceeded"
	case FESUnsupportedParameter:
		return "unsupported parameter"
	}
	return fmt.Sprintf("fatal error status 0x%x", uint16(f))
}

// ProtocolError says that the peer sent something that is not NVMe/TCP. The
// connection is of no use after it.
type ProtocolError struct {
	FES FatalErrorStatus
	FEI uint32 // offset of the field in question, or what FES defines
	Msg string
}

func (e *ProtocolError) Error() string { return fmt.Sprintf("%s: %s", e.FES, e.Msg) }

// Is makes every ProtocolError an [ErrNotNVMe].
func (e *ProtocolError) Is(target error) bool { return target == ErrNotNVMe }

func headerErr(offset uint32, format string, args ...any) error {
	return &ProtocolError{FESInvalidHeader, offset, fmt.Sprintf(format, args...)}
}

func sequenceErr(format string, args ...any) error {
	return &ProtocolError{FESSequence, 0, fmt.Sprintf(format, args...)}
}

func rangeErr(format string, args ...any) error {
	return &ProtocolError{FESDataOutOfRange, 0, fmt.Sprintf(format, args...)}
}

// DataDigestError says that the data of one PDU was damaged on its way; the
// connection goes on (TCP 3.3.1.1).
type DataDigestError struct{ PDU PDU }

func (e *DataDigestError) Error() string {
	return fmt.Sprintf("data digest of %s does not match", e.PDU.pduType())
}

// TerminatedError says that the peer ended the connection with a termination request.
type TerminatedError struct {
	FES FatalErrorStatus
	FEI uint32
}

func (e *TerminatedError) Error() string {
	return fmt.Sprintf("connection terminated by the peer: %s (FEI 0x%x)", e.FES, e.FEI)
}

// DialError says where [Dial] failed. Err is why, without that.
type DialError struct {
	SubNQN string
	Addr   netip.AddrPort
	Err    error
}

func (e *DialError) Error() string {
	return fmt.Sprintf("cannot connect to %s at %s: %v", e.SubNQN, e.Addr, e.Err)
}

func (e *DialError) Unwrap() error { return e.Err }

// Classes of failure of [Probe] and [Dial], for errors.Is.
var (
	// ErrRefused: a TCP reset answered (ECONNREFUSED).
	ErrRefused = errors.New("connection refused")
	// ErrUnreachable: no route, or the network said so (ENETUNREACH, EHOSTUNREACH, ...).
	ErrUnreachable = errors.New("unreachable")
	// ErrTimeout: nothing answered in time. [ErrSilent] is one of these.
	ErrTimeout = errors.New("timed out")
	// ErrSilent: the TCP connection was accepted and the peer then said nothing.
	ErrSilent = errors.New("accepts and stays silent")
	// ErrClosed: the peer closed or reset the connection.
	ErrClosed = errors.New("closed by the peer")
	// ErrNotNVMe: what answers does not speak NVMe/TCP.
	ErrNotNVMe = errors.New("does not speak NVMe/TCP")
	// ErrLocal: this host cannot even try: unknown interface, address that is not ours.
	ErrLocal = errors.New("local address or interface unusable")
)

// classError puts an error into one or more of the classes above and keeps its cause.
type classError struct {
	classes []error
	cause   error
}

func (e *classError) Error() string {
	class := e.classes[0].Error()
	if why := reason(e.cause); why != "" && why != class {
		return class + ": " + why
	}
	return class
}

// reason is what an error of package net says beyond what whoever reads of it knows:
// that it was about a connection, and to where.
func reason(err error) string {
	var op *net.OpError
	var call *os.SyscallError
	switch {
	case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "" // the class says so
	case !errors.As(err, &op):
		return err.Error()
	case errors.As(op.Err, &call) && (call.Syscall == "connect" || call.Syscall == "read" || call.Syscall == "write"):
		return call.Err.Error()
	case op.Timeout():
		return ""
	}
	return op.Err.Error()
}

func (e *classError) Unwrap() []error {
	if e.cause == nil {
		return e.classes
	}
	return append(e.classes[:len(e.classes):len(e.classes)], e.cause)
}
