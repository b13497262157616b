package finder

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
)

// disposition is what stacd may conclude from a controller's page.
type disposition uint8

const (
	active    disposition = iota // what it lists is wanted, what it no longer lists is not
	frozen                       // excluded by the administrator: nothing is added or removed by it
	forgotten                    // its retention has ended: what it listed stays while it lives and is not made anew
)

var dispositionNames = [...]string{"active", "frozen", "forgotten"}

func (d disposition) String() string { return dispositionNames[d] }

// dc is a discovery controller: what is wanted, what the kernel has, what is known. It
// belongs to the loop.
type dc struct {
	key   string
	want  Want
	named bool // a source names it now
	out   bool // to be removed: its configuration ended, or exclude= matches it
	disposition

	device  *kernel.Controller // the kernel's controller that serves it, as last read
	foreign string             // who owns that controller, if not we
	lostAt  time.Time          // since when it has none; zero while it has one

	session
	page      *page
	epcsd     bool      // the controller asks for explicit persistent connections
	parked    bool      // let go of on purpose until the next poll
	goneAt    time.Time // since when no source names it
	downAt    time.Time // since when it is known not to be live; zero while it is
	timers    dcTimers
	givenUpAt time.Time // when the retention ends that runs

	landing   string // the device that the kernel has just made for it, until it is seen
	removals  int    // disconnects in a row that did not end the connection
	unclaimed bool   // the connection could not be registered, and that was reported
	saved     bool   // there is a state file
	object    objectState
}

// dcTimers are the timers of a dc; each is nil when it does not run.
type dcTimers struct{ retention, look, again, holdDown, poll, claim *time.Timer }

// session is the state of the conversation over one connection of a controller.
type session struct {
	association  int // counts connections, so that a late answer is known as such
	busy         step
	cancel       func() // ends the wait for busy
	newborn      bool   // the event that tells of this very connection is still to come
	symname      string // under which the host was registered
	identified   *nvme.Identify
	registered   bool
	pages        *nvme.SupportedLogPages
	knowsPages   bool
	dirty        bool
	readOnce     bool // a page was read since the connection came up
	failures     [steps]int
	errs         [steps]error
	retry        [steps]*time.Timer
	retryAt      [steps]time.Time
	lastErr      error
	lastErrAt    time.Time
	registeredAt time.Time
}

func (d *dc) id() tid.TID { return d.want.TID }

// keyOf names a controller for good, in file names and on D-Bus: FNV-1a of what identifies it.
func keyOf(t tid.TID) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s;%s;%s;%s;%s;%s;%s", t.Transport, t.Traddr, t.Trsvcid, t.NQN, t.HostTraddr, t.HostIface, t.HostNQN)
	return fmt.Sprintf("%016x", h.Sum64())
}

// firmwares says whether the boot table names d. Its connection belongs to the firmware's,
// whoever makes it, and is never ended by us.
func (d *dc) firmwares() bool {
	return slices.ContainsFunc(d.want.Sources, func(s Source) bool { return s.Origin == Firmware })
}

// announced says whether an announcement names d.
func (d *dc) announced() bool {
	return slices.ContainsFunc(d.want.Sources, func(s Source) bool { return s.Origin == Announced })
}

func (d *dc) live() bool { return d.device != nil && d.device.State == kernel.StateLive }

func (d *dc) target() schedule.Target {
	t := schedule.Target{TID: d.want.TID, Kind: tid.Discovery, Host: d.want.Host, Params: d.want.Params,
		Configured: d.want.Origin == Configured}
	if d.firmwares() {
		t.Owner = registry.NBFT
	}
	return t
}

// connectionChanged starts the session over: nothing that was said over the last
// connection holds on this one, and changes may have been missed in between.
func (d *dc) connectionChanged() {
	d.association++
	d.identified, d.registered, d.pages, d.knowsPages = nil, false, nil, false
	d.dirty, d.readOnce, d.newborn = true, false, false
	if d.cancel != nil {
		d.cancel() // it may be stuck in a connection that is gone
	}
	for s := range d.retry {
		d.settled(step(s))
	}
	stop(&d.timers.holdDown)
}

// settled forgets the failures of s.
func (d *dc) settled(s step) {
	stop(&d.retry[s])
	d.failures[s], d.errs[s], d.retryAt[s] = 0, nil, time.Time{}
}

func (d *dc) stopTimers() {
	for s := range d.retry {
		stop(&d.retry[s])
	}
	stop(&d.timers.retention)
	stop(&d.timers.look)
	stop(&d.timers.again)
	stop(&d.timers.holdDown)
	stop(&d.timers.poll)
	stop(&d.timers.claim)
}

func stop(t **time.Timer) {
	if *t != nil {
		(*t).Stop()
		*t = nil
	}
}
