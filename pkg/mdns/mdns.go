// Package mdns finds discovery controllers that announce themselves by DNS-SD over
// multicast DNS, through the Avahi daemon of the host, and announces one (for simulators).
//
// What is announced: the service types _nvme-disc._tcp and _nvme-disc._udp in the domain
// "local", port in the SRV record, address in A/AAAA, transport and NQN in the TXT record
// (NVM Express TP8009; Base Specification 2.1, section 8.3.1.1).
//
// The promise of [Browser] is that silence takes nothing away. A bus that died, an Avahi
// that was stopped, restarted or hangs, a lookup that failed: all of it leaves the known
// services in place, marked [Service.Stale], and [State.Available] false. A service leaves
// the set only because the Avahi that owns its name on the bus at that moment said so, or
// because a new Avahi has finished browsing and has not seen it again.
// Whether an address answers is not checked here: announcements often precede the listener.
// Where one does not, [Browser.Recheck] has the addresses looked up again; a slow timer does so too.
//
// The client library, holoplot/go-avahi v1.0.1, is kept behind this package, because of
// what it does when used directly: it locks up when its server is called by the reader of
// its channels, spins when the bus dies, panics when a browser is freed during a burst,
// closes the connection that it was given, never notices that Avahi restarted, drops the
// AllForNow and Failure signals and believes signals from every sender. Hence each epoch
// (one owner of the name org.freedesktop.Avahi on one connection) has a private connection
// and is thrown away as a whole; one goroutine drains the channels and calls nothing;
// nothing is ever freed singly; and a signal handler of our own stands before the library
// (type gate), drops what the current owner did not send, and sees what the library drops.
package mdns

import (
	"log/slog"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// The DNS-SD service types of discovery controllers, and the subtype that only centralized
// discovery controllers add (TP8009).
const (
	TypeTCP    = "_nvme-disc._tcp"
	TypeUDP    = "_nvme-disc._udp"
	SubtypeCDC = "_cdc._sub._nvme-disc._tcp"
)

// domain is the one that multicast DNS serves (RFC 6762, section 3).
const domain = "local"

// maxServices bounds what the network can make us hold.
const maxServices = 4096

// Protocol is the one that carried the announcement, which need not be the family of the address.
type Protocol string

// The two protocols of multicast DNS.
const (
	IPv4 Protocol = "IPv4"
	IPv6 Protocol = "IPv6"
)

// Service is one address of a discovery controller as announced on one interface. It is comparable.
type Service struct {
	Transport nvme.Transport // tcp or rdma
	Traddr    string         // numeric; an IPv6 link-local address has the zone "%interface"
	Trsvcid   string         // decimal port, 1 to 65535
	NQN       string         // valid; nvme.DiscoveryNQN where none is announced
	Interface string         // name at the time of the last lookup
	IfIndex   int            // identity of the interface
	Protocol  Protocol       // of the announcement
	Name      string         // instance name: valid UTF-8 without control characters, to be shown only
	Type      string         // TypeTCP or TypeUDP
	Domain    string         // "local"
	// Stale says that the Avahi of today has not confirmed the service: it is unknown, not gone.
	Stale bool
}

// State is what is known at one moment. It is a value of its own: nobody changes it later.
type State struct {
	// Epoch counts the Avahi instances met; it grows with each restart of Avahi or of the bus.
	Epoch uint64
	// Available says that Avahi answers, has finished its first look around, and has told of all
	// that is announced what it leads to, so that a service that is not listed is really not announced. While it is
	// false, absence means nothing.
	Available bool
	// Services is sorted and has each transport, address, port, NQN and interface once.
	Services []Service
	// Warnings are sentences for the administrator on what looks wrong in the network or the host.
	Warnings []string
}

// Options of a [Browser] and of a [Publisher]. The zero value is good.
type Options struct {
	// Address of the bus in D-Bus syntax. Empty: $DBUS_SYSTEM_BUS_ADDRESS, else the system bus.
	Address string
	// Logger gets one line for each change, none for repetitions. Nil: slog.Default.
	Logger *slog.Logger
}

func (o Options) logger() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.Default()
}

// timing holds every interval; tests shorten them.
type timing struct {
	// call bounds the wait for the bus and for Avahi. Avahi itself gives up a lookup after
	// 5 s (avahi-core/resolve-service.c), so three times that is an Avahi that hangs.
	call time.Duration
	// settle is how long after AllForNow a new Avahi may still find what an older one knew.
	// Its questions go out at 0, 1, 3, 7 and 15 s (RFC 6762, section 5.2).
	settle time.Duration
	// retryMin and retryMax bound the pause between two attempts at the same thing.
	retryMin, retryMax time.Duration
	// refresh is the pace of looking everything up again: a browser tells of instances, not of
	// their addresses. SRV and A records live 120 s (RFC 6762, section 10), so nothing is fresher in less.
	refresh time.Duration
	// recheck is the shortest pause between two looks asked for by Browser.Recheck.
	recheck time.Duration
	// flush gathers the changes of a burst.
	flush time.Duration
}

var defaultTiming = timing{
	call:     15 * time.Second,
	settle:   30 * time.Second,
	retryMin: 250 * time.Millisecond,
	retryMax: 10 * time.Second,
	refresh:  10 * time.Minute,
	recheck:  10 * time.Second,
	flush:    10 * time.Millisecond,
}
