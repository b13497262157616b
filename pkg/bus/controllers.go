package bus

import (
	"context"
	"errors"
	"time"
)

// Interfaces of the objects below those of the daemons.
const (
	discoveryInterface = FinderName + ".controller"
	ioInterface        = ConnectorName + ".controller"
	ioEventsInterface  = ConnectorName + ".events"
)

// ErrNoController says that there is no controller of that key.
var ErrNoController = errors.New("there is no such controller")

// DiscoveryController is a discovery controller as org.nvmexpress.staf.controller shows it.
type DiscoveryController struct {
	Key    string // names it for as long as the finder knows it; the last element of its path
	ID     ID
	HostID string

	Origins       []string // "configured FILE:LINE", "mdns NAME", "referral CONTROLLER", …
	Device        string   // nvme3; empty when there is none
	KernelState   string   // of the device: live, connecting, …
	SessionState  string
	LastError     string // of the last attempt or command that failed, empty when none has
	LastErrorTime time.Time
	NextRetry     time.Time // zero when nothing waits for a time
	Registration  string    // none, pending, registered, failed
	Parked        bool      // let go of on purpose until the next poll

	PageGeneration uint64
	Records        uint32
	PageReadTime   time.Time // when the page was last confirmed; zero when it was never read
	Disposition    Disposition
	Owner          string // of the device, by the registry; empty when there is none

	PendingChanges []string // parameters that differ from those that the connection was made with
}

var discoveryKind = kind[DiscoveryController]{
	iface: discoveryInterface,
	key:   func(c *DiscoveryController) string { return c.Key },
	properties: append(
		idProperties(func(c *DiscoveryController) *ID { return &c.ID }, func(c *DiscoveryController) *string { return &c.HostID }),
		textsProperty("Origins", func(c *DiscoveryController) *[]string { return &c.Origins }),
		textProperty("Device", func(c *DiscoveryController) *string { return &c.Device }),
		textProperty("KernelState", func(c *DiscoveryController) *string { return &c.KernelState }),
		textProperty("SessionState", func(c *DiscoveryController) *string { return &c.SessionState }),
		textProperty("LastError", func(c *DiscoveryController) *string { return &c.LastError }),
		timeProperty("LastErrorTime", func(c *DiscoveryController) *time.Time { return &c.LastErrorTime }),
		timeProperty("NextRetry", func(c *DiscoveryController) *time.Time { return &c.NextRetry }),
		textProperty("Registration", func(c *DiscoveryController) *string { return &c.Registration }),
		flagProperty("Parked", func(c *DiscoveryController) *bool { return &c.Parked }),
		numberProperty("PageGeneration", func(c *DiscoveryController) *uint64 { return &c.PageGeneration }),
		countProperty("Records", func(c *DiscoveryController) *uint32 { return &c.Records }),
		timeProperty("PageReadTime", func(c *DiscoveryController) *time.Time { return &c.PageReadTime }),
		textProperty("Disposition", func(c *DiscoveryController) *string { return (*string)(&c.Disposition) }),
		textProperty("Owner", func(c *DiscoveryController) *string { return &c.Owner }),
		textsProperty("PendingChanges", func(c *DiscoveryController) *[]string { return &c.PendingChanges }),
	),
}

// Properties gives what D-Bus shows of c, in the order of the interface.
func (c *DiscoveryController) Properties() Object { return discoveryKind.object(c) }

// DiscoveryControllers is what stafd serves as its objects; as for [Finder]. What it
// has to say it says at once: Reconnect and Refresh begin something and do not wait for it.
type DiscoveryControllers interface {
	// DiscoveryControllers gives those that are called keys and exist, all when keys is nil.
	DiscoveryControllers(ctx context.Context, keys []string) ([]DiscoveryController, error)
	// Reconnect makes the connection anew, or at once where there is none. It is
	// [ErrNoController] when there is no such controller.
	Reconnect(ctx context.Context, key string) error
	// Refresh has the log page read again.
	Refresh(ctx context.Context, key string) error
}

// IOController is an I/O controller as org.nvmexpress.stac.controller shows it.
type IOController struct {
	Key    string
	ID     ID
	HostID string

	Device        string // nvme3; empty when there is none
	Subsystem     string // nvme-subsys0
	KernelState   string
	State         string
	Reasons       []string // who wants it: "configured FILE:LINE", "listed by CONTROLLER"
	Owner         string
	Attempts      uint32 // failed ones in a row
	LastError     string
	LastErrorTime time.Time
	NextRetry     time.Time
	SrcAddr       string // of the socket, as the kernel tells it

	PendingChanges []string // parameters that differ from those that the connection was made with
	BlockDevices   []string // nvme0n1, in order
}

var ioKind = kind[IOController]{
	iface: ioInterface,
	key:   func(c *IOController) string { return c.Key },
	properties: append(
		idProperties(func(c *IOController) *ID { return &c.ID }, func(c *IOController) *string { return &c.HostID }),
		textProperty("Device", func(c *IOController) *string { return &c.Device }),
		textProperty("Subsystem", func(c *IOController) *string { return &c.Subsystem }),
		textProperty("KernelState", func(c *IOController) *string { return &c.KernelState }),
		textProperty("State", func(c *IOController) *string { return &c.State }),
		textsProperty("Reasons", func(c *IOController) *[]string { return &c.Reasons }),
		textProperty("Owner", func(c *IOController) *string { return &c.Owner }),
		countProperty("Attempts", func(c *IOController) *uint32 { return &c.Attempts }),
		textProperty("LastError", func(c *IOController) *string { return &c.LastError }),
		timeProperty("LastErrorTime", func(c *IOController) *time.Time { return &c.LastErrorTime }),
		timeProperty("NextRetry", func(c *IOController) *time.Time { return &c.NextRetry }),
		textProperty("SrcAddr", func(c *IOController) *string { return &c.SrcAddr }),
		textsProperty("PendingChanges", func(c *IOController) *[]string { return &c.PendingChanges }),
		textsProperty("BlockDevices", func(c *IOController) *[]string { return &c.BlockDevices }),
	),
}

// Properties gives what D-Bus shows of c, in the order of the interface.
func (c *IOController) Properties() Object { return ioKind.object(c) }

// IOControllers is what stacd serves as its objects; as for [DiscoveryControllers].
type IOControllers interface {
	IOControllers(ctx context.Context, keys []string) ([]IOController, error)
	Reconnect(ctx context.Context, key string) error
	// Disconnect ends the connection, if it is ours, and has the controller left alone
	// until Reconnect, a reload or a restart.
	Disconnect(ctx context.Context, key string) error
}
