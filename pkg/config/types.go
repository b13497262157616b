package config

import (
	"net/netip"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// Controller is one connection that the administrator asked for.
type Controller struct {
	Kind       tid.Kind
	Transport  nvme.Transport
	Traddr     string // numeric in canonical spelling, or a host name that has still to be resolved
	HostName   bool   // Traddr is a host name
	Trsvcid    string // the default port where none is given; empty for fc and loop
	NQN        string // the well-known discovery NQN where a discovery controller gives none
	HostTraddr string // empty on an FC controller: from every local port
	HostIface  string
	HostNQN    string // empty: the NQN of the Scope's host, or else of the system

	Given      tid.Params  // what its own line or section says
	Params     tid.Params  // what its connection gets: Given over the defaults
	Persistent Persistence // of a discovery controller; the daemon's setting where it gives none

	Scope *Scope // what the controllers that are found through it inherit; never nil
	Where string // FILE:LINE
	at    entry  // without its value
}

// TID gives the Transport ID of c for the given numeric address (Traddr itself where it is
// not a host name) and host, normalised.
func (c Controller) TID(traddr string, host tid.Host) (tid.TID, error) {
	hostNQN := c.HostNQN
	if hostNQN == "" {
		hostNQN = c.Scope.Host.NQN
	}
	if hostNQN == "" {
		hostNQN = host.NQN
	}
	return tid.New(c.Kind, tid.TID{Transport: c.Transport, Traddr: traddr, Trsvcid: c.Trsvcid, NQN: c.NQN,
		HostTraddr: c.HostTraddr, HostIface: c.HostIface, HostNQN: hostNQN})
}

// Scope is what one file, or set of files, says about all its controllers and those that are
// found through them.
type Scope struct {
	File      string
	Host      tid.Host   // zero: the system's identity ([LoadIdentity])
	SymName   string     // only with Host
	Discovery tid.Params // for discovery controllers that are learned through one of this file
	IO        tid.Params // for I/O controllers that are learned so

	Persistent Persistence // of discovery controllers that are learned so
}

// Persistence says what is done with the connection to a discovery controller between readings.
type Persistence uint8

// The persistences.
const (
	PersistDefault Persistence = iota // not given
	PersistHold                       // "force": the connection is held
	PersistAuto                       // "auto": held only where the controller asks for it (EPCSD)
	PersistNo                         // "no": closed after each reading
)

func (p Persistence) String() string {
	switch p {
	case PersistHold:
		return "force"
	case PersistAuto:
		return "auto"
	case PersistNo:
		return "no"
	}
	return ""
}

// Families says which IP families may be connected to and which is taken first where a
// host name has both.
type Families struct{ V4, V6, Prefer6 bool }

// Allows says whether an address of family 4 or 6 may be connected to; family 0 (not an IP
// transport) always may.
func (f Families) Allows(family int) bool {
	return family == 4 && f.V4 || family == 6 && f.V6 || family == 0
}

// Choose gives the address that a host name stands for, as a list of one or none: one of the
// preferred family, or else of the other where that is allowed. Name servers give several
// addresses in changing order; the numerically lowest is taken, so that connections do not flip.
func (f Families) Choose(addresses []string) []string {
	best, text := netip.Addr{}, ""
	prefer := func(a netip.Addr) bool { return a.Is6() == f.Prefer6 }
	for _, s := range addresses {
		a, err := tid.ParseIP(s)
		if err != nil || a.Is4() && !f.V4 || a.Is6() && !f.V6 {
			continue
		}
		if text == "" || prefer(a) && !prefer(best) || prefer(a) == prefer(best) && a.Less(best) {
			best, text = a, s
		}
	}
	if text == "" {
		return nil
	}
	return []string{text}
}

// NBFTMode says what is done with the boot connections of the NVMe Boot Firmware Table.
type NBFTMode uint8

// The modes.
const (
	NBFTProtect NBFTMode = iota // never connected, adopted or disconnected
	NBFTConnect                 // connected too, never disconnected
	NBFTOff                     // the table is not read
)

func (m NBFTMode) String() string { return [...]string{"protect", "connect", "off"}[m] }

// DisconnectScope says which I/O connections may be ended because nobody lists them any more.
type DisconnectScope uint8

// The scopes, in the words of the file: only-stas-connections,
// all-connections-matching-disconnect-trtypes, no-disconnect.
const (
	DisconnectOwn DisconnectScope = iota
	DisconnectMatching
	DisconnectNone
)

func (s DisconnectScope) String() string { return scopeNames[s] }

var scopeNames = [...]string{"only-stas-connections", "all-connections-matching-disconnect-trtypes", "no-disconnect"}

// Forever stands for a time span without end ("infinity", or -1 in the old key).
const Forever time.Duration = -1

// Common is what both daemons' files say.
type Common struct {
	Tron        bool
	Defaults    tid.Params // for every controller that has no better source
	IgnoreIface bool
	Families    Families
	Controllers []Controller // of this daemon's kind, no two with the same Transport ID, in the order of the files
	Excludes    []Exclude    // those that make sense

	// Incomplete says that a controller which the administrator named may be missing from
	// Controllers: a line was not understood, or a file set never had a good version. As long as
	// it is set, nothing may be removed for not being named.
	Incomplete bool
}

// Exclude is one exclude= line; package exclusion reads its Text (ParseOwn).
type Exclude struct{ Text, Where string }

// Staf is what stafd is configured to do.
type Staf struct {
	Common
	PLEO                  bool // ask for port-local entries only
	Zeroconf              bool // browse mDNS
	Persistent            Persistence
	PersistentConnections bool          // connections outlive the daemon
	DCGiveUp              time.Duration // how long a discovered controller that is neither announced nor connected is remembered; 0, or Forever
	EPCSDPollInterval     time.Duration // between readings of a controller that is not held
	FCKickstartInterval   time.Duration // 0: only at start and after a drop
	EmptyPageHoldDown     time.Duration // how long the first page after a reconnect is doubted when it is empty and the last one was not
	LogPageRefresh        time.Duration // a held controller's page is read again after this time even without an event; 0: never
	NBFT                  NBFTMode
}

// Stac is what stacd is configured to do.
type Stac struct {
	Common
	DisconnectScope      DisconnectScope
	DisconnectTransports []nvme.Transport // for DisconnectMatching only
	ConnectAttemptsOnNCC int              // 0: no limit, otherwise at least 2
	HonorFabricZoning    bool             // connections of ours end when every discovery controller stops listing them
	NBFTReconnect        bool

	// DiscoveryControllers are those of nvme-stas.conf; stacd does not connect them, but what is
	// found through one of them inherits its Scope.
	DiscoveryControllers []Controller
}
