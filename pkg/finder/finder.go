package finder

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/exclusion"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
	"github.com/stas-go/stas/pkg/veto"
)

// Commands are the admin commands of a session. Each may take as long as the kernel lets it;
// ctx bounds the wait.
type Commands interface {
	Identify(ctx context.Context, name string) (*nvme.Identify, error)
	SupportedLogPages(ctx context.Context, name string) (*nvme.SupportedLogPages, error)
	DiscoveryLog(ctx context.Context, name string, opt nvme.ReadOptions) (*nvme.DiscoveryLog, error)
	Register(ctx context.Context, name string, dim []byte, task nvme.DIMTask) error
}

// Ownership tells and claims the owner of a kernel controller.
type Ownership interface {
	Owner(name string) registry.Owner
	Claim(name, owner string) (seqnum string, err error)
}

// Announcer tells the world what has changed. Its methods return at once.
type Announcer interface {
	LogPagesChanged(id bus.ID, device string)
	DCRemoved()
	PageChanged(key string, revision uint64)
	PageRemoved(key, reason string)
}

// Options are what a Finder works with.
type Options struct {
	Connector   schedule.Connector
	Commands    Commands
	Prober      schedule.Prober
	Changes     <-chan kernel.Change // uevents and rescans, see [kernel.Watcher]
	Ownership   Ownership
	Read        func(name string) (kernel.Controller, error) // one controller from sysfs, called off the loop
	Connections func() ([]kernel.Controller, error)          // all of them, called off the loop; nil: not known
	Interfaces  func() tid.Interfaces                        // which interface holds which local address, now
	Firmwares   func(tid.Kind, tid.TID) bool                 // is it a boot connection of the firmware? nil: none is
	Kickstart   func(context.Context) error                  // asks FC ports to announce themselves; nil: there is no FC
	Excluded    func(tid.TID, tid.Host) bool                 // the host-wide exclusion list; called off and on the loop
	Resolve     func(ctx context.Context, name string) ([]string, error)
	Store       *Store // nil: nothing is kept across restarts
	Calm        func() // called some time after the last change; nil: nothing

	// Outdated is told, at once after it has changed, how many connections of ours use other parameters than
	// the configuration now says; nil: nobody is. It returns at once. [View.Outdated] names them.
	Outdated func(n int)

	// Unanswered is called where a discovery controller that was announced cannot be connected: it may have another address
	// now, of which an announcement that stands does not tell. With further failures it is called less and less often. nil: nobody
	// wants to know. It returns at once.
	Unanswered func()

	Log *slog.Logger
}

// Owner is the name under which both daemons register their connections.
const Owner = "stas"

// Finder is the state of stafd. See the package comment for who may touch it.
type Finder struct {
	opts  Options
	log   *slog.Logger
	ctx   context.Context
	loop  *loop.Loop
	sched *schedule.Scheduler
	out   Announcer

	observer Observer // nil: nobody is told

	cfg      *config.Staf
	excludes *exclusion.List
	identity config.Identity
	symNames map[string]string // of hosts that are not the system's, by NQN
	defaults *tid.Params       // for controllers that no line describes

	sources sources
	dcs     map[string]*dc // by key
	places  map[place][]*dc
	devices map[string]*kernel.Controller // discovery controllers and those of unknown type
	bound   map[string]*dc                // by device name
	landing map[string]*dc                // connections that were made and not seen yet, by device name
	unasked map[*tid.TID]struct{}         // what those were made for that nobody has asked for any more and that were not looked at yet
	spares  map[string]*spare             // connections that serve nothing, by device name
	renamed map[string]struct{}           // keys that came or went: those that they refer to are to be told of
	wanting atomic.Bool                   // a connection is wanted that is not there
	scanned bool                          // all connections that were there at the start have been told
	started time.Time
	waiting bool // for sources that may name more, as was last told

	resolveSources bool // the desired set must be computed again
	sparesDue      bool // the spare connections must be looked for again
	touched        map[*dc]struct{}
	removed        bool // dc_removed is due
	outdated       int  // connections whose next one will have other parameters
	counted        int  // outdated, as was last told
	refresh        *time.Timer
	reminder       *time.Timer // looks whether forgotten controllers are still of use
	fc             fc
}

// New gives a Finder that has done nothing yet.
func New(o Options) *Finder {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Finder{opts: o, log: o.Log, loop: loop.New(), out: silent{},
		cfg: config.DefaultStaf(), excludes: exclusion.NewList(), defaults: new(tid.Params), sources: newSources(),
		dcs: map[string]*dc{}, places: map[place][]*dc{}, devices: map[string]*kernel.Controller{},
		bound: map[string]*dc{}, landing: map[string]*dc{}, unasked: map[*tid.TID]struct{}{}, spares: map[string]*spare{}, renamed: map[string]struct{}{}, touched: map[*dc]struct{}{}}
}

// Announce sets who is told of changes. Call it before [Finder.Run].
func (f *Finder) Announce(a Announcer) { f.out = a }

// calm is how long nothing has to happen before Options.Calm is called.
const calm = 5 * time.Second

// Run works until ctx ends. Connections stay as they are then.
func (f *Finder) Run(ctx context.Context) {
	f.ctx, f.started = ctx, time.Now()
	f.sched = schedule.New(ctx, schedule.Options{Kernel: f.opts.Connector, Prober: f.opts.Prober, Post: f.loop.Post,
		Done: f.attempted, Freed: f.freed, Veto: f.veto, Moved: f.moved})
	f.loop.After(hearing, func() {}) // settling tells that nobody is waited for any longer
	f.restore()
	f.kickstart()
	if f.opts.Calm != nil {
		f.loop.OnCalm(calm, f.opts.Calm)
	}
	go f.pump()
	f.loop.Run(ctx, f.settle)
	stop(&f.refresh)
	stop(&f.reminder)
	stop(&f.fc.timer)
	stop(&f.fc.period)
	for _, d := range f.dcs {
		d.stopTimers()
	}
	for name := range f.spares {
		f.forgetSpare(name)
	}
}

// pump carries the kernel's changes to the loop.
func (f *Finder) pump() {
	for {
		select {
		case <-f.ctx.Done():
			return
		case c, ok := <-f.opts.Changes:
			if !ok {
				return
			}
			f.loop.Post(func() { f.changed(c) })
		}
	}
}

// Configure puts a configuration in force, and tries at once what was waiting. What it no longer names ends.
func (f *Finder) Configure(cfg *config.Staf, id config.Identity) {
	excludes, symNames := veto.Own(cfg.Excludes), symNamesOf(cfg, id.Host.NQN)
	f.loop.Post(func() {
		f.cfg, f.identity, f.excludes, f.symNames = cfg, id, excludes, symNames
		for _, d := range f.dcs {
			stop(&d.timers.retention) // it may be longer or shorter now
			if d.symname != f.symName(d.want.Host.NQN) {
				d.settled(register)
			}
		}
		for _, d := range f.dcs {
			if d.parked && f.holds(d) {
				stop(&d.timers.poll)
				d.parked, d.dirty = false, true
			}
		}
		defaults := cfg.Defaults.Over(id.Params())
		f.defaults = &defaults
		f.sources.configured = true
		f.lookUpNames()
		f.resolveSources, f.sparesDue = true, true
		f.touchAll()
		f.kickAll()
		f.scheduleRefresh()
		f.schedulePeriodicKickstart()
	})
}

// scheduleRefresh has all pages read again from time to time, as the safety net under lost
// events and controllers that send none. One timer for all: a host that wakes up does so once.
func (f *Finder) scheduleRefresh() {
	stop(&f.refresh)
	if f.cfg.LogPageRefresh <= 0 {
		return
	}
	f.refresh = f.loop.After(f.cfg.LogPageRefresh, func() {
		for _, d := range f.dcs {
			if d.live() {
				d.dirty = true
				f.touch(d)
			}
		}
		f.scheduleRefresh()
	})
}

// Kick tries at once what waits for its next attempt: something has changed in the network.
func (f *Finder) Kick() { f.loop.Post(f.kickAll) }

// kickAll comes after what is to be tried has been brought up to date: an attempt that begins with the parameters of
// yesterday may hold up the one with today's for a minute.
func (f *Finder) kickAll() {
	f.settle()
	f.sched.Kick(nil)
}

// Recheck looks again at everything that the host-wide exclusion list may concern.
func (f *Finder) Recheck() {
	f.loop.Post(func() {
		f.touchAll()
		f.kickAll()
	})
}

func (f *Finder) touch(d *dc) { f.touched[d] = struct{}{} }

func (f *Finder) touchAll() {
	for _, d := range f.dcs {
		f.touch(d)
	}
}

// settle compares what should be with what is, for all that was touched. Acting on one
// controller may touch others: a page may refer to them.
func (f *Finder) settle() {
	for f.resolveSources || f.sparesDue || len(f.touched) > 0 {
		if f.resolveSources {
			f.resolveSources = false
			f.desire()
		}
		if f.sparesDue {
			f.sparesDue = false
			f.tendSpares()
		}
		batch := slices.SortedFunc(maps.Keys(f.touched), func(a, b *dc) int { return a.id().Compare(b.id()) })
		clear(f.touched)
		for _, d := range batch {
			if f.dcs[d.key] == d {
				f.tend(d)
				f.tended(d)
			}
		}
	}
	if f.removed {
		f.removed = false
		f.out.DCRemoved()
	}
	f.tellHeard()
	f.tellReferred()
	f.tellOutdated()
	f.noteWanting()
}

// silent is the Announcer of a Finder that has none.
type silent struct{}

func (silent) LogPagesChanged(bus.ID, string) {}
func (silent) DCRemoved()                     {}
func (silent) PageChanged(string, uint64)     {}
func (silent) PageRemoved(string, string)     {}
