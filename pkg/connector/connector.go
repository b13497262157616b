package connector

import (
	"context"
	"log/slog"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/exclusion"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/nbft"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
	"github.com/stas-go/stas/pkg/veto"
)

// Pages is where the log pages come from. A call that fails says nothing about them.
type Pages interface {
	Updates() <-chan struct{}
	List(context.Context) ([]bus.Page, error)
	Get(ctx context.Context, key string) (bus.Page, []nvme.DiscoveryEntry, error)
}

// Ownership tells and claims the owner of a kernel controller, and reads and replaces what was noted
// when it was connected.
type Ownership interface {
	Owner(name string) registry.Owner
	Claim(name, owner string) (seqnum string, err error)
	Attr(name, attr string) (string, error)
	Set(name, attr, value string) error
}

// Options are what a Connector works with.
type Options struct {
	Connector  schedule.Connector
	Prober     schedule.Prober
	Pages      Pages
	Changes    <-chan kernel.Change // uevents and rescans, see [kernel.Watcher]
	Ownership  Ownership
	Read       func(name string) (kernel.Controller, error) // one controller from sysfs; called off the loop, and on it right before a claim
	Attached   func(name string) (kernel.Attached, error)   // what changes around one, called off the loop; nil: not known
	Interfaces func() tid.Interfaces                        // which interface holds which local address, now
	Excluded   func(tid.TID, tid.Host) bool                 // the host-wide exclusion list
	Protected  func(*kernel.Controller) bool                // is a connection a boot connection of the firmware? nil: none is
	Firmwares  func(tid.Kind, tid.TID) bool                 // would it be one? nil: none would
	Warm       func()                                       // work for Connector is to be expected; nil: nothing to prepare
	Boot       func() []nbft.Connection                     // the boot connections of the firmware; nil: none
	Resolve    func(ctx context.Context, name string) ([]string, error)
	Calm       func() // called some time after the last change; nil: nothing

	// Outdated is told, at once after it has changed, how many connections of ours use other parameters than
	// the configuration now says; nil: nobody is. It returns at once. [View.Outdated] names them.
	Outdated func(n int)

	Log *slog.Logger
}

// Owner is the name under which both daemons register their connections, and sourceAttr the
// attribute beside it that notes whose page called for the connection (configSource: stacd.conf).
const (
	Owner        = "stas"
	sourceAttr   = "stas-source"
	configSource = "config"
)

// Connector is the state of stacd. See the package comment for who may touch it.
type Connector struct {
	opts  Options
	log   *slog.Logger
	ctx   context.Context
	loop  *loop.Loop
	sched *schedule.Scheduler

	cfg        *config.Stac
	configured bool // a good configuration has been read
	excludes   *exclusion.List
	identity   config.Identity
	defaults   scopeParams // for discovered controllers that no file has its own for
	scopes     map[*config.Scope]scopeParams
	unresolved map[string]bool     // host names whose last lookup has failed
	names      map[string][]string // addresses of host names, by the last lookup that succeeded

	pages    map[string]*dlp // by key
	scanned  bool            // all connections that were there at the start have been told
	answered bool            // stafd has listed its pages when it was asked last
	iocs     map[tid.TID]*ioc
	places   map[place][]*ioc
	bound    map[string]*ioc   // by device name
	strays   map[string]*stray // connections that serve nothing wanted, by device name
	adriftAt map[place][]*stray
	arriving map[string]*arrival // connections that were made and are not wanted so any more, until they are seen
	found    []*ioc              // connections that have just come, whose owner is read once more
	landing  map[string]*ioc     // connections that were made and not seen yet, by device name
	paths    map[string]int      // paths by subsystem NQN: connections that are live or have just been made

	touched  map[*ioc]struct{}
	claiming bool // connections that could not be registered are about to be looked at again
	objects  objects
	loose    map[*stray]struct{} // strays to look at
}

// New gives a Connector that has done nothing yet.
func New(o Options) *Connector {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Protected == nil {
		o.Protected = func(*kernel.Controller) bool { return false }
	}
	if o.Warm == nil {
		o.Warm = func() {}
	}
	if o.Boot == nil {
		o.Boot = func() []nbft.Connection { return nil }
	}
	if o.Firmwares == nil {
		o.Firmwares = func(tid.Kind, tid.TID) bool { return false }
	}
	return &Connector{opts: o, log: o.Log, loop: loop.New(), cfg: config.DefaultStac(), defaults: newScopeParams(tid.Params{}), excludes: exclusion.NewList(),
		unresolved: map[string]bool{}, names: map[string][]string{}, pages: map[string]*dlp{}, iocs: map[tid.TID]*ioc{}, places: map[place][]*ioc{},
		bound: map[string]*ioc{}, strays: map[string]*stray{}, adriftAt: map[place][]*stray{}, arriving: map[string]*arrival{}, landing: map[string]*ioc{}, paths: map[string]int{},
		touched: map[*ioc]struct{}{}, objects: newObjects(), loose: map[*stray]struct{}{}}
}

// audit is how often everything is looked at even if nothing was heard: the safety net
// under lost events and owners that were erased by other tools.
const audit = 10 * time.Minute

// calm is how long nothing has to happen before Options.Calm is called.
const calm = 5 * time.Second

// Run works until ctx ends. Connections stay as they are then.
func (c *Connector) Run(ctx context.Context) {
	c.ctx = ctx
	c.sched = schedule.New(ctx, schedule.Options{Kernel: c.opts.Connector, Prober: c.opts.Prober, Post: c.loop.Post,
		Done: c.attempted, Freed: c.freed, Veto: c.veto, First: c.first, Moved: c.moved})
	if c.opts.Calm != nil {
		c.loop.OnCalm(calm, c.opts.Calm)
	}
	go c.pump()
	go c.follow()
	tick := c.loop.After(audit, c.audit)
	defer func() { tick.Stop() }()
	c.loop.Run(ctx, c.settle)
	for _, s := range c.strays {
		s.stop()
	}
}

func (c *Connector) audit() {
	c.touchAll()
	for _, i := range c.landing {
		c.confirm(i)
	}
	c.loop.After(audit, c.audit)
}

func (c *Connector) pump() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case ch, ok := <-c.opts.Changes:
			if !ok {
				return
			}
			c.loop.Post(func() { c.changed(ch) })
		}
	}
}

// Configure puts a configuration in force and tries at once what was waiting.
func (c *Connector) Configure(cfg *config.Stac, id config.Identity) {
	excludes := veto.Own(cfg.Excludes)
	c.loop.Post(func() {
		c.cfg, c.identity, c.excludes, c.configured = cfg, id, excludes, true
		c.defaults, c.scopes = newScopeParams(cfg.Defaults.Over(id.Params())), map[*config.Scope]scopeParams{}
		c.readmit()
		c.lookUpNames()
		c.applyConfig()
		c.applyBoot()
		c.relist()
		c.touchAll()
		c.kickAll()
	})
}

// Kick tries at once what waits for its next attempt: something has changed in the network.
func (c *Connector) Kick() { c.loop.Post(c.kickAll) }

// kickAll comes after what is to be tried has been brought up to date: an attempt that begins with the parameters of
// yesterday may hold up the one with today's for a minute.
func (c *Connector) kickAll() {
	c.settle()
	c.sched.Kick(nil)
}

// Recheck looks again at everything that the host-wide exclusion list may concern.
func (c *Connector) Recheck() {
	c.loop.Post(func() {
		c.touchAll()
		c.kickAll()
	})
}

func (c *Connector) touch(i *ioc) { c.touched[i] = struct{}{} }

func (c *Connector) touchAll() {
	for _, i := range c.iocs {
		i.ours = false
		c.touch(i)
	}
	for _, s := range c.strays {
		c.loose[s] = struct{}{}
	}
}

// settle compares what should be with what is, for all that was touched. Controllers come first:
// one that is wanted may take up a stray.
func (c *Connector) settle() {
	c.sched.Batch(c.tendAll)
	c.tellOutdated()
}

func (c *Connector) tendAll() {
	for len(c.touched) > 0 || len(c.loose) > 0 {
		for len(c.touched) > 0 {
			batch := c.touched
			c.touched = map[*ioc]struct{}{}
			for i := range batch {
				if c.iocs[i.id] == i {
					c.tend(i)
					c.tended(i)
				}
			}
		}
		batch := c.loose
		c.loose = map[*stray]struct{}{}
		for s := range batch {
			if c.strays[s.ctrl.Name] == s {
				c.tendStray(s)
				c.strayTended(s)
			}
		}
	}
}
