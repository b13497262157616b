package kernel

import (
	"errors"
	"time"

	"github.com/stas-go/stas/pkg/tid"
)

// Errors that callers tell apart with errors.Is, beside [ErrGone] and [ConnectError].
var (
	// ErrNoFabrics: /dev/nvme-fabrics is not there; the module nvme-fabrics is not loaded.
	ErrNoFabrics = errors.New("/dev/nvme-fabrics does not exist: load the module nvme-fabrics")
	// ErrNotOurs: the registry gives the controller to somebody else, or does not say.
	ErrNotOurs = errors.New("the controller is not ours")
	// ErrChanged: the controller is not the one that was to be disconnected any more.
	ErrChanged = errors.New("the controller is no longer the same connection")
	// ErrBusy: the kernel cannot delete the controller before its first connect is
	// through, or a worker of an earlier daemon is still connecting the same target.
	ErrBusy = errors.New("the kernel is busy with it")
	// ErrNotLive: the controller takes no commands at the moment.
	ErrNotLive = errors.New("the controller is not live")
	// ErrDisconnecting: a disconnect overtook the command.
	ErrDisconnecting = errors.New("the controller is being disconnected")
	// ErrWorkerDied: the worker process ended before it answered. What it had begun in the
	// kernel goes on there; look again.
	ErrWorkerDied = errors.New("the kernel worker died")
	// ErrClosed: the Worker was closed. What was begun goes on in the kernel.
	ErrClosed = errors.New("the kernel worker is closed")
	// ErrNotBegun: the caller stopped waiting, or withdrew the request, before its turn came; nothing was done.
	ErrNotBegun = errors.New("given up before it was begun")
	// ErrExcluded: the host-wide exclusion list names the connection.
	ErrExcluded = errors.New("the host-wide exclusion list names it")
	// ErrNoFC: the host has no FC transport.
	ErrNoFC = errors.New("the FC transport is not there")
)

// ConnectRequest is one connection to make. It is not changed.
type ConnectRequest struct {
	TID    tid.TID
	Kind   tid.Kind
	Host   tid.Host // both NQN and ID are sent, always
	Params tid.Params

	// Owner under which the connection is registered; "" means WorkerOptions.Owner.
	Owner string
	// Attributes are further attributes of the registry entry, or nil.
	Attributes map[string]string

	// Withdrawn, once closed, keeps the connect from being begun; nil: nothing does. Unlike the end of a context it does not end
	// the wait: the error is ErrNotBegun where it came in time.
	Withdrawn <-chan struct{}
	// Queued, if not nil, is called when the request stands in line: one that is made after that comes after it.
	Queued func()
}

// Connection is a connection that was made.
type Connection struct {
	Instance int
	CntlID   int
	Took     time.Duration // of the write to /dev/nvme-fabrics; others' connects may be part of it

	// Warnings name what was not done as asked: options that the transport or the kernel
	// does not know, a registry entry that could not be written.
	Warnings []string
}

// Name is the name of the connected device.
func (c Connection) Name() string { return Name(c.Instance) }

// DisconnectRequest is one connection to end.
type DisconnectRequest struct {
	Name string
	// Expect is what the controller was when the decision fell; see [Controller.Identity].
	Expect Identity
	// AllowUnowned disconnects controllers that nobody registered, too.
	AllowUnowned bool
	// OnlyUnowned disconnects controllers that nobody registered, and no others: one that is ours
	// has been claimed since the decision fell.
	OnlyUnowned bool
	// AnyOwner disconnects whosever it is.
	AnyOwner bool
}

// Late is the result of a connect or disconnect whose caller no longer waited for it.
// One of Connect and Disconnect is set.
type Late struct {
	Connect    *ConnectRequest
	Disconnect *DisconnectRequest
	Connection Connection // where Connect succeeded
	Err        error
}
