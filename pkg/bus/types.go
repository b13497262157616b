package bus

import (
	"context"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// Names of the daemons on the bus and of their objects.
const (
	FinderName    = "org.nvmexpress.staf"
	ConnectorName = "org.nvmexpress.stac"

	finderPath    = "/org/nvmexpress/staf"
	connectorPath = "/org/nvmexpress/stac"
)

// ID names a connection the way all interfaces do, in the order of their arguments.
// Fields that were not given are empty.
type ID struct {
	Transport  string
	Traddr     string
	Trsvcid    string
	SubsysNQN  string
	HostTraddr string
	HostIface  string
	HostNQN    string
}

// Field is one entry of a dictionary whose order counts.
type Field struct {
	Name  string
	Value string
}

// Controller is one controller as the legacy interfaces show it. A field whose name says
// that it is a secret (dhchap-secret, …) is never sent, but do not give it in the first place.
type Controller struct {
	ID     ID
	Device string // nvme3; empty when there is none

	// Tunables are the connection parameters given on the controller= line, in the
	// spelling of nvme-stas 2.x: kato, hdr-digest, nr-io-queues, …
	Tunables []Field
	// Info is what controller_info and the detailed list show: connect attempts, retry
	// connect timer, origin, the operations in progress.
	Info []Field
	// Details is what only the detailed list shows: hostid, hostnqn, model, …, dlpe.
	Details []Field
}

// ControllerLog is a discovery controller with its published log page entries.
type ControllerLog struct {
	Controller Controller
	Entries    []nvme.DiscoveryEntry
}

// Disposition says what may be done with the entries of a page.
type Disposition string

// Dispositions.
const (
	// Active: entries are wanted, and what a complete page lacks is not listed any more.
	Active Disposition = "active"
	// Frozen: nothing is added because of this page and nothing removed (its controller
	// is excluded but still connected).
	Frozen Disposition = "frozen"
	// Forgotten: the controller was given up; its last page says what it once listed.
	Forgotten Disposition = "forgotten"
)

// Page says how well the log page of one discovery controller is known.
type Page struct {
	Key         string // names the page for as long as the finder knows the controller
	ID          ID
	HostID      string
	Disposition Disposition
	Complete    bool      // a page was once read to its end; when false the entries mean nothing
	Revision    uint64    // rises with each change of the content or of the disposition
	GenCtr      uint64    // generation counter of the controller
	ReadAt      time.Time // when the controller last confirmed this content; zero for never
	Records     uint32    // number of entries; servers need not set it for PageEntries
	Dropped     uint32    // entries that were not understood; a page with any proves no absence
}

// Finder is what stafd serves as org.nvmexpress.staf. Entries without a usable address
// are not part of what it publishes.
//
// Methods are called from any goroutine. They return an error when the daemon's state
// cannot be had before ctx ends: that is never the same as an empty answer.
type Finder interface {
	// Controllers gives all discovery controllers. Info and Details are only
	// needed when detailed.
	Controllers(ctx context.Context, detailed bool) ([]Controller, error)
	// LogPage gives the entries of one controller, none when it is not known.
	LogPage(ctx context.Context, id ID) ([]nvme.DiscoveryEntry, error)
	AllLogPages(ctx context.Context, detailed bool) ([]ControllerLog, error)
}

// Pages is what stafd serves as org.nvmexpress.staf.pages1. The slices given are not
// changed afterwards by either side.
type Pages interface {
	Pages(ctx context.Context) ([]Page, error)
	// PageEntries gives one page; false when there is none with that key.
	PageEntries(ctx context.Context, key string) (Page, []nvme.DiscoveryEntry, bool, error)
}

// Connector is what stacd serves as org.nvmexpress.stac; as for [Finder].
type Connector interface {
	Controllers(ctx context.Context, detailed bool) ([]Controller, error)
}

// Debug is what both daemons serve as their .debug interface; as for [Finder].
type Debug interface {
	// ProcessInfo gives the state of the process. A member "hostkey" is replaced by
	// "[redacted]" unless it is nil.
	ProcessInfo(ctx context.Context) (Object, error)
	// ControllerInfo gives one controller; false when it is not known.
	ControllerInfo(ctx context.Context, id ID) (Controller, bool, error)
	// Tron says whether tracing is on.
	Tron() bool
	// SetTron switches tracing.
	SetTron(on bool)
	// LogLevel is the current level, as 2.x spells it: DEBUG, INFO, …
	LogLevel() string
}
