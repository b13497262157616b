package nvmetcp

import (
	"io"
	"net/netip"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// ConnectRequest is a Connect of an admin queue, as a [Resolver] sees it.
type ConnectRequest struct {
	nvme.ConnectData
	Port          string // the name that [Target.Serve] was given
	Local, Remote netip.AddrPort
	KeepAlive     time.Duration
}

// Resolver finds the subsystem that a host asks for. An error that wraps an
// [nvme.Status] is answered with that status, others with [nvme.StatusInternalError].
// It is called concurrently.
type Resolver interface {
	Resolve(*ConnectRequest) (Backend, error)
}

// Backend is the subsystem behind a controller. Its methods are called by the
// goroutines of connections, concurrently.
//
// It may also have the methods of [DIMBackend], [NVMBackend], [ANABackend], [Authenticator] and [Follower].
type Backend interface {
	// Identify describes the controller; what belongs to the transport and to the
	// connection (CNTLID, SUBNQN, SGLS, capsule sizes, queue entry sizes) is filled in.
	Identify(*Controller) nvme.Identify
	// GetLog gives g.Length bytes of a log page from g.Offset on, fewer where the page ends.
	GetLog(c *Controller, g nvme.GetLogPage) ([]byte, error)
}

// DIMBackend takes registrations.
type DIMBackend interface {
	DIM(*Controller, nvme.DIMTask, *nvme.DIM) error
}

// NVMBackend has namespaces.
type NVMBackend interface {
	// Namespace gives an active namespace, nil for others.
	Namespace(nsid uint32) *Namespace
	// ActiveNamespaces gives the NSIDs above after in rising order, at most max.
	ActiveNamespaces(after uint32, max int) []uint32
}

// ANABackend says how a controller reaches its namespaces, which are one group, number 1;
// 0 where it does not report that.
type ANABackend interface {
	ANAState(*Controller) nvme.ANAState
}

// Follower learns of the start and of the end of each controller, once each and in this order.
type Follower interface {
	Opened(*Controller)
	Closed(c *Controller, reason error)
}

// Namespace is a block device behind a controller.
type Namespace struct {
	NSID       uint32
	Blocks     uint64
	BlockShift uint8 // log2 of the block size: 9 or 12
	UUID       [16]byte
	NGUID      [16]byte
	Store      Store
}

// Store keeps the bytes of a namespace. Offsets and lengths have been checked
// against the namespace's size; writes may start and end within a block.
type Store interface {
	io.ReaderAt
	io.WriterAt
	// Discard makes a range read as zeros.
	Discard(offset, length uint64) error
}

// extent turns a range of blocks into bytes.
func (n *Namespace) extent(lba uint64, blocks uint64) (offset, length uint64, ok bool) {
	if lba > n.Blocks || blocks > n.Blocks-lba {
		return 0, 0, false
	}
	return lba << n.BlockShift, blocks << n.BlockShift, true
}
