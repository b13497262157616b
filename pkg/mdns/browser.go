package mdns

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Browser keeps the set of announced discovery controllers. Run does the work; the other
// methods may be called from any goroutine, before, during and after Run.
type Browser struct {
	address string
	log     *slog.Logger
	t       timing
	recheck chan struct{}
	updates chan struct{}

	// Owned by Run.
	set       *set
	live      bool // Avahi answers
	settled   bool // ... and has looked around
	host      []string
	lastNote  string
	truncated bool

	mu    sync.Mutex
	state State
}

// New returns a Browser that knows nothing yet.
func New(o Options) *Browser {
	return &Browser{
		address: o.Address,
		log:     o.logger(),
		t:       defaultTiming,
		recheck: make(chan struct{}, 1),
		updates: make(chan struct{}, 1),
		set:     newSet(maxServices),
	}
}

// Updates holds a mark after every change of what Snapshot returns. It is never closed.
func (b *Browser) Updates() <-chan struct{} { return b.updates }

// Snapshot returns the present state. The caller may keep it but not change its slices.
func (b *Browser) Snapshot() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// Recheck asks for a new lookup of every announcement, for when an announced address does not
// answer: Avahi tells of instances that come and go, not of new addresses. It returns at once;
// more than one request in ten seconds counts as one.
func (b *Browser) Recheck() { mark(b.recheck) }

// Run browses until ctx ends, whatever happens to the bus and to Avahi, and then returns nil.
// It must run only once. Services stay in the snapshot afterwards, marked stale.
func (b *Browser) Run(ctx context.Context) error {
	fails := 0
	for ctx.Err() == nil {
		start := time.Now()
		err := b.session(ctx)
		b.live, b.settled = false, false
		b.publish()
		if ctx.Err() != nil {
			break
		}
		b.note(slog.LevelWarn, "mDNS is not available, keeping what is known", err)
		// A session that held is no failure; one that did not must not be tried in a circle.
		if time.Since(start) > b.t.retryMax {
			fails = 0
		}
		fails++
		sleep(ctx, pause(fails, b.t.retryMin, b.t.retryMax))
	}
	return nil
}

// session lasts as long as one connection and one owner of Avahi's name.
func (b *Browser) session(ctx context.Context) error {
	l, err := dial(ctx, b.address, b.t.call)
	if err != nil {
		return err
	}
	defer l.close()
	if l.gate.currentOwner() == "" {
		b.note(slog.LevelInfo, "Avahi is not running, waiting for it", nil)
	}
	owner, err := l.awaitOwner(ctx)
	if err != nil {
		return err
	}
	return newEpoch(b, l, owner).run(ctx)
}

// publish makes the snapshot anew.
func (b *Browser) publish() {
	list := b.set.services(b.live)
	warnings := slices.Concat(b.host, sharedAddresses(list))
	if b.truncated {
		warnings = append(warnings, "more services are announced than can be handled: some are left out")
	}
	next := State{Epoch: b.set.epoch, Available: b.live && b.settled && !b.set.unknown(), Services: list, Warnings: warnings}
	b.mu.Lock()
	last := b.state
	b.state = next
	b.mu.Unlock()
	for _, w := range warnings {
		if !slices.Contains(last.Warnings, w) {
			b.log.Warn("mDNS: " + w)
		}
	}
	if next.Epoch != last.Epoch || next.Available != last.Available ||
		!slices.Equal(next.Services, last.Services) || !slices.Equal(next.Warnings, last.Warnings) {
		mark(b.updates)
	}
}

// note logs a change of the way to Avahi, once until there is another one.
func (b *Browser) note(level slog.Level, text string, err error) {
	line := text
	args := []any{}
	if err != nil {
		line += err.Error()
		args = append(args, "err", err)
	}
	if line != b.lastNote {
		b.lastNote = line
		b.log.Log(context.Background(), level, text, args...)
	}
}

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
