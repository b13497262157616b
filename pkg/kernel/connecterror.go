package kernel

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/stas-go/stas/pkg/tid"
)

// Class says of what sort a failed connect is, which decides how it is tried again.
type Class uint8

// The classes. The zero value is what is not known to be any other.
const (
	Other            Class = iota
	Refused                // somebody is there, but nothing listens, or it hung up
	Unreachable            // no route, no such source address
	Timeout                // no answer
	Auth                   // a key is missing or wrong
	InvalidOption          // the kernel does not take the options; trying again seldom helps
	AlreadyConnected       // the kernel has this connection
	Rejected               // the controller or subsystem said no, for whatever reason
	NoDevice               // no such interface, or the controller does not become ready
)

var classNames = [...]string{"other", "refused", "unreachable", "timeout", "auth", "invalid option", "already connected", "rejected", "no device"}

// String is the name of the class, for logs and status.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "other"
}

// ClassOf maps what a write to /dev/nvme-fabrics returned (drivers/nvme/host/fabrics.c and
// the transports; errors of NVMe all arrive as EIO).
func ClassOf(errno syscall.Errno) Class {
	switch errno {
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED:
		return Refused
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EADDRNOTAVAIL, syscall.ENONET:
		return Unreachable
	case syscall.ETIMEDOUT, syscall.EAGAIN:
		return Timeout
	case syscall.ENOKEY, syscall.EKEYREJECTED, syscall.EKEYEXPIRED, syscall.EKEYREVOKED, syscall.EACCES:
		return Auth
	case syscall.EINVAL:
		return InvalidOption
	case syscall.EALREADY:
		return AlreadyConnected
	case syscall.EIO, syscall.EOPNOTSUPP, syscall.EPROTO:
		return Rejected
	case syscall.ENODEV, syscall.ENXIO:
		return NoDevice
	}
	return Other
}

// ConnectError is a connect that failed. Its text names the target and never an option's value.
type ConnectError struct {
	TID    tid.TID
	Errno  syscall.Errno // 0 where the kernel was not asked
	Class  Class
	Detail string        // what is wrong where the kernel was not asked, or what is known beyond its errno, or ""
	Took   time.Duration // of the write to /dev/nvme-fabrics

	// Warnings as in Connection: options that were left out.
	Warnings []string
}

func (e *ConnectError) Error() string {
	text := "cannot connect " + e.TID.String()
	if e.Detail != "" {
		return text + ": " + e.Detail
	}
	text += ": " + e.Errno.Error()
	if a := e.Advice(); a != "" {
		text += " (" + a + ")"
	}
	return text
}

// Unwrap makes errors.Is(err, syscall.ECONNREFUSED) work.
func (e *ConnectError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Advice says what the kernel means by the error, or where to look, in a few words.
func (e *ConnectError) Advice() string { return adviceOn[e.Errno] }

var adviceOn = map[syscall.Errno]string{
	syscall.EALREADY:      "the host is connected to this controller already",
	syscall.EINVAL:        "the kernel refuses an option, or the answer of the target; dmesg says which",
	syscall.ECONNREFUSED:  "nothing listens at that address and port",
	syscall.ECONNRESET:    "the target closed the connection; is it an NVMe port?",
	syscall.ETIMEDOUT:     "the address does not answer",
	syscall.EHOSTUNREACH:  "the network says that the host is not reachable",
	syscall.ENETUNREACH:   "there is no route to the address",
	syscall.EAGAIN:        "the port accepts connections and does not speak NVMe",
	syscall.EIO:           "the target refused: unknown subsystem, host not allowed, or busy; dmesg says which",
	syscall.ENODEV:        "no such interface, or the controller does not become ready",
	syscall.EADDRNOTAVAIL: "host-traddr is no address of this host",
	syscall.ENOKEY:        "a DH-HMAC-CHAP secret or a TLS key is missing",
	syscall.ESRCH:         "nobody does the TLS handshake: is tlshd running?",
	syscall.EKEYREJECTED:  "the DH-HMAC-CHAP secret is wrong",
	syscall.EOPNOTSUPP:    "the target demands what this kernel does not do",
	syscall.ENOMEM:        "the options are too long, or memory is short",
	syscall.EBUSY:         "the transport's module is being unloaded",
}

// KeyMissing says of an error whether a connect failed as a key is missing that the target or the configuration
// demands: somebody has to configure it.
func KeyMissing(err error) bool {
	var e *ConnectError
	return errors.As(err, &e) && e.Class == Auth && (e.Errno == 0 || e.Errno == syscall.ENOKEY)
}

// failed makes a ConnectError of what a write gave.
func failed(t tid.TID, err error, took time.Duration) *ConnectError {
	e := &ConnectError{TID: t, Took: took}
	if !errors.As(err, &e.Errno) {
		e.Detail = err.Error()
		return e
	}
	e.Class = ClassOf(e.Errno)
	return e
}

// refuse makes a ConnectError for a request that must not reach the kernel. The
// arguments must not hold a secret.
func refuse(t tid.TID, format string, args ...any) *ConnectError {
	return &ConnectError{TID: t, Class: InvalidOption, Detail: fmt.Sprintf(format, args...)}
}
