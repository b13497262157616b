package kernel

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"time"

	"github.com/stas-go/stas/pkg/uevent"
)

// Source delivers uevents; a [uevent.Monitor] of the kernel's group for [Subsystems] is one.
// Receive gives [uevent.ErrOverflow] where events were lost. Close makes it return.
type Source interface {
	Receive() (uevent.Event, error)
	Close() error
}

// Reader is what a [Watcher] needs of [Sysfs].
type Reader interface {
	Names() ([]string, error)
	ControllerIf(name string, want func(Kind) bool) (c Controller, ok bool, err error)
}

// rescanInterval is how often everything is looked at without a reason, as a net under
// what the kernel does not tell: giving up is an event, losing a connection is none.
const rescanInterval = 10 * time.Minute

// pollInterval takes its place on kernels before 5.18, which do not tell of connections
// that were made or made again (drivers/nvme/host/core.c, nvme_change_uevent). Distributions bring newer drivers to older
// kernels (RHEL 9 has 5.14): the attribute cntrltype, which came with that event, is what tells them.
const pollInterval = 5 * time.Second

// retryInterval is for what could not be read for want of memory or descriptors.
const retryInterval = time.Second

// Watcher tells what changes about the controllers of the host. Events only make it
// look: every Change carries what sysfs says now, and as long as the consumer is slow
// the events about one controller add up to one Change. Its memory is bounded by the
// number of controllers.
type Watcher struct {
	Log *slog.Logger // none means slog.Default(); set it before Run

	// Only says which controllers the consumer is told of, nil: all. Of others no more is read than
	// what tells their kind. One that turns out to be none of these is told to be gone. Set it before Run.
	Only func(Kind) bool

	sysfs    Reader
	source   Source
	interval time.Duration
	tells    bool // the kernel tells of connections, whatever its version
	polls    bool // what the last scan found is told only if it has changed
	toldAll  time.Time
	dirty    *dirty
	changes  chan Change
	told     map[string]told // what the consumer was told is there
}

// told is what a consumer knows of a controller, as far as it matters for what to tell next.
type told struct {
	inode  uint64
	live   bool
	digest uint64 // of all that was told
}

var digestSeed = maphash.MakeSeed()

// NewWatcher makes a watcher of source, which must have been opened already: what
// happens between that and the first look at sysfs is seen, not missed.
func NewWatcher(sysfs Reader, source Source) *Watcher {
	w := &Watcher{sysfs: sysfs, source: source, interval: rescanInterval, dirty: newDirty(),
		changes: make(chan Change), told: map[string]told{}}
	if o := (Options{Release: kernelRelease()}); !o.AtLeast(5, 18) {
		w.interval = pollInterval
	}
	return w
}

// Changes is where changes are told. It is closed when Run returns.
func (w *Watcher) Changes() <-chan Change { return w.changes }

// Run tells first what is there (with Rescan set, then ScanDone) and after that what
// changes, until ctx ends or the source fails. It closes the source.
func (w *Watcher) Run(ctx context.Context) error {
	defer close(w.changes)
	ctx, cancel := context.WithCancelCause(ctx)
	received := make(chan struct{})
	go func() {
		defer close(received)
		cancel(w.receive())
	}()
	defer func() { <-received }()
	defer func() { _ = w.source.Close() }()

	w.dirty.request(firstScan)
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		err := w.work(ctx)
		if w.interval == pollInterval && w.tells {
			w.interval = rescanInterval
			tick.Reset(w.interval)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			w.log().Warn("cannot look at NVMe controllers, trying again", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(retryInterval):
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-w.dirty.wake:
		case <-tick.C:
			w.dirty.request(quietScan)
		}
	}
}

func (w *Watcher) log() *slog.Logger {
	if w.Log != nil {
		return w.Log
	}
	return slog.Default()
}

// work tells everything that there is to tell now. What it could not look at remains to be told.
func (w *Watcher) work(ctx context.Context) error {
	for ctx.Err() == nil {
		if s := w.dirty.takeScan(); s != noScan {
			if err := w.scan(s); err != nil {
				w.dirty.request(s)
				return err
			}
		}
		i, ok := w.dirty.next()
		if !ok {
			return nil
		}
		if err := w.tell(ctx, i); err != nil {
			w.dirty.putBack(i)
			return err
		}
	}
	return nil
}

// receive moves events into the dirty set, so that the socket's buffer stays empty
// however slow the consumer is.
func (w *Watcher) receive() error {
	for {
		e, err := w.source.Receive()
		switch {
		case errors.Is(err, uevent.ErrOverflow):
			w.dirty.request(lostScan)
		case err != nil:
			return fmt.Errorf("cannot watch NVMe controllers: %w", err)
		default:
			w.dirty.event(&e)
		}
	}
}

// scan marks everything that is there, and everything that was.
func (w *Watcher) scan(s scan) error {
	names, err := w.sysfs.Names()
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(names))
	for _, n := range names {
		there[n] = true
	}
	for n := range w.told {
		if !there[n] {
			names = append(names, n)
		}
	}
	w.polls = s == quietScan && w.interval == pollInterval && time.Since(w.toldAll) < rescanInterval
	if !w.polls {
		w.toldAll = time.Now()
	}
	w.dirty.rescan(names, s)
	return nil
}

// tell looks at one thing and tells the consumer.
func (w *Watcher) tell(ctx context.Context, i item) error {
	if i.name == "" {
		return w.deliver(ctx, Change{FC: i.fc, FabricsDevice: i.fabrics, ScanDone: i.done})
	}
	c, err := w.look(i.name)
	w.tells = w.tells || i.flags&flagConnected != 0 || err == nil && c.CntrlType != ""
	gone := errors.Is(err, ErrGone)
	if err != nil && !gone {
		return err
	}
	rescan := i.flags&flagRescan != 0
	before, was := w.told[i.name]
	// A consumer may know one that it was not told of, from having it connected: of that it hears the end, too.
	if was && (gone || before.inode != c.Inode) || gone && i.flags&flagRemoved != 0 {
		delete(w.told, i.name)
		before, was = told{}, false
		if err := w.deliver(ctx, Change{Name: i.name, Rescan: rescan}); err != nil {
			return err
		}
	}
	if gone || !c.Transport.Fabric() {
		return nil
	}
	live, digest := Live(c.State), maphash.Comparable(digestSeed, c)
	if w.polls && i.flags == flagRescan && was && before.digest == digest {
		return nil
	}
	w.told[i.name] = told{c.Inode, live, digest}
	// The event may have been lost, and old kernels send none.
	connected := i.flags&flagConnected != 0 || was && live && !before.live
	return w.deliver(ctx, Change{Name: i.name, Controller: &c, Rescan: rescan, Connected: connected,
		Rediscover: i.flags&flagRediscover != 0, AEN: i.flags&flagAEN != 0 && c.mayBeDiscovery()})
}

// look reads a controller. One that the consumer does not want to be told of is as good as gone; but one that it
// was told of stays until its kind is known to be another, which old kernels never tell of some.
func (w *Watcher) look(name string) (Controller, error) {
	var concerns func(Kind) bool
	if w.Only != nil {
		_, was := w.told[name]
		concerns = func(k Kind) bool { return w.Only(k) || was && !k.Known }
	}
	c, ok, err := w.sysfs.ControllerIf(name, concerns)
	if err == nil && !ok {
		err = ErrGone
	}
	return c, err
}

// mayBeDiscovery is false only for what surely has no discovery log page.
func (c *Controller) mayBeDiscovery() bool { return c.CntrlType != TypeIO && c.CntrlType != TypeAdmin }

func (w *Watcher) deliver(ctx context.Context, c Change) error {
	select {
	case w.changes <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
