package schedule

import (
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// Target is a controller that is wanted, and all that is needed to connect it.
type Target struct {
	TID        tid.TID
	Kind       tid.Kind
	Host       tid.Host
	Params     *tid.Params       // shared, never changed
	Owner      string            // registry owner, "" for the daemon's own
	Configured bool              // named by the administrator, not only discovered
	Attributes map[string]string // private registry attributes; shared, never changed
}

// State is where a target stands on its way.
type State uint8

// The states of a target.
const (
	Unknown    State = iota // not scheduled
	Probing                 // its address is being probed
	Ready                   // its address answered; waits for the lane
	Connecting              // inside the kernel
	Up                      // connected
	Waiting                 // failed, waits for its next attempt

	next // ready, and handed to the kernel, which is still at another
)

// told is the state as others see it.
func (s State) told() State {
	if s == next {
		return Ready
	}
	return s
}

var stateNames = [...]string{"unknown", "probing", "ready", "connecting", "up", "waiting", "next"}

func (s State) String() string { return stateNames[s] }

// Status is what can be told of a target.
type Status struct {
	State    State
	Attempts int       // failed attempts in a row
	LastErr  error     // of the last attempt, nil when it succeeded
	FailedAt time.Time // when that was
	Next     time.Time // next attempt; zero when none is planned
	Delay    time.Duration
}

// endpoint is what a probe tells something about: all controllers behind
// the same address, reached the same way, share its outcome.
type endpoint struct {
	transport             nvme.Transport
	traddr, trsvcid       string
	hostTraddr, hostIface string
	tls                   bool
}

func (t Target) endpoint() endpoint {
	return endpoint{t.TID.Transport, t.TID.Traddr, t.TID.Trsvcid, t.TID.HostTraddr, t.TID.HostIface,
		t.Params != nil && t.Params.WantsTLS()}
}

// item is a target with its history. There are thousands of them, nearly all connected: what only
// those need that are not is behind a pointer, what is small stands together.
type item struct {
	Target
	lastErr  error
	failedAt time.Time
	upAt     time.Time
	since    time.Time // when it became wanted, or lost its connection
	retry    *retry    // while it waits
	flight   *flight   // while it is handed to the kernel
	failures int
	flaps    int // connections in a row that were lost soon after they were made
	state    State
	probed   bool // the last failure was that of a probe: the kernel has not been asked
	slow     bool // once held the lane for longer than slowConnect
	dropped  bool // no longer wanted; forgotten when the kernel is done with it
	found    bool // is connected, as turned out while it was handed over
	again    bool // a change was signalled while the attempt ran: do not wait after a failure
}

// flight is an attempt that was handed to the kernel.
type flight struct {
	began     time.Time     // when its turn came
	withdrawn chan struct{} // closed when it need not begin any more
	recalled  bool          // that is so
	queued    bool          // the kernel has it: what is handed over now comes after it
}

// retry is the wait for the next attempt.
type retry struct {
	timer *time.Timer
	next  time.Time
	delay time.Duration
}

// before says whether a goes into the kernel before b: what once held the lane for long
// goes last, whatever it is; then first paths before further ones, so that every
// subsystem becomes usable before any becomes redundant; configured before discovered;
// fewest failures first; then oldest first.
func before(a, b *item, firstA, firstB bool) bool {
	switch {
	case a.slow != b.slow:
		return b.slow
	case firstA != firstB:
		return firstA
	case a.Configured != b.Configured:
		return a.Configured
	case a.failures != b.failures:
		return a.failures < b.failures
	case !a.since.Equal(b.since):
		return a.since.Before(b.since)
	}
	return a.TID.Compare(b.TID) < 0
}

// same says whether an attempt for u does for t.
func (t Target) same(u Target) bool {
	params := t.Params == u.Params || t.Params != nil && u.Params != nil && *t.Params == *u.Params
	return params && t.Host == u.Host && t.Owner == u.Owner
}

func (t Target) request() kernel.ConnectRequest {
	r := kernel.ConnectRequest{TID: t.TID, Kind: t.Kind, Host: t.Host, Owner: t.Owner, Attributes: t.Attributes}
	if t.Params != nil {
		r.Params = *t.Params
	}
	return r
}
