package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/godbus/dbus/v5"

	"github.com/stas-go/stas/pkg/nvme"
)

// ErrUnavailable says that there is no finder on the bus, or no bus. What it listed
// before is neither confirmed nor denied by that.
var ErrUnavailable = errors.New("stafd is not on D-Bus")

// ErrNoPage says that the finder that was asked has no page of that key.
var ErrNoPage = errors.New("stafd has no such page")

// State says whether there is a finder to ask.
type State struct {
	Available bool
	// Epoch rises whenever the finder comes, goes or is another process. What was
	// learned in an earlier epoch is to be asked for again.
	Epoch uint64
}

// Changes is what happened since it was last taken.
type Changes struct {
	State State
	// All means that any page may have changed: list them. Changed and Removed are
	// empty then.
	All     bool
	Changed map[string]uint64 // key of the page: latest revision
	Removed map[string]string // key of the page: reason
}

// maxChanges is how many pages may change before listing all is the better answer.
const maxChanges = 1024

// PagesClient watches the pages of the finder for the connector. It is safe for use by
// several goroutines; Run must be running for anything to happen.
type PagesClient struct {
	opts    Options
	log     *slog.Logger
	updates chan struct{}

	mu      sync.Mutex
	watch   *pagesWatch // the present connection, nil when there is none
	owner   string      // unique name of the finder
	decided dbus.Sequence
	changes Changes
}

// NewPagesClient makes a client; nothing happens before Run.
func NewPagesClient(opts Options) *PagesClient {
	return &PagesClient{opts: opts, log: opts.log(), updates: make(chan struct{}, 1)}
}

// Updates receives a value after anything changed; then call Take. Several changes
// may be one value, so a reader that is late misses nothing.
func (c *PagesClient) Updates() <-chan struct{} { return c.updates }

// Take gives what happened since the last Take and forgets it.
func (c *PagesClient) Take() Changes {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.changes
	c.changes = Changes{State: taken.State}
	return taken
}

// State says whether the finder is there now.
func (c *PagesClient) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes.State
}

// Run watches until ctx ends and returns nil then.
func (c *PagesClient) Run(ctx context.Context) error {
	return keepUp(ctx, c.log.With("name", FinderName), func() (bool, error) { return c.connect(ctx) })
}

func (c *PagesClient) connect(ctx context.Context) (served bool, err error) {
	w := &pagesWatch{client: c}
	conn, err := dial(ctx, c.opts, dbus.WithSignalHandler(w))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, conn.Close)()
	w.conn = conn
	c.mu.Lock()
	c.watch = w
	c.mu.Unlock()
	defer c.lost(w)
	if err := w.subscribe(ctx); err != nil {
		return false, err
	}
	<-conn.Context().Done()
	return true, errors.New("the connection ended")
}

// lost ends the epoch of a connection.
func (c *PagesClient) lost(w *pagesWatch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watch == w {
		c.watch, c.decided = nil, 0
		c.setOwner("")
	}
}

// setOwner begins a new epoch when the finder is another one now. mu is held.
func (c *PagesClient) setOwner(owner string) {
	if c.owner == owner {
		return
	}
	c.owner = owner
	c.changes = Changes{
		State: State{Available: owner != "", Epoch: c.changes.State.Epoch + 1},
		All:   true,
	}
	c.notify()
}

func (c *PagesClient) notify() {
	select {
	case c.updates <- struct{}{}:
	default:
	}
}

// note records a signal of the finder. mu is held.
func (c *PagesClient) note(key string, revision uint64, removed bool, reason string) {
	ch := &c.changes
	if !ch.All && len(ch.Changed)+len(ch.Removed) >= maxChanges {
		*ch = Changes{State: ch.State, All: true}
	}
	if !ch.All {
		if ch.Changed == nil {
			ch.Changed, ch.Removed = make(map[string]uint64), make(map[string]string)
		}
		delete(ch.Changed, key)
		delete(ch.Removed, key)
		if removed {
			ch.Removed[key] = reason
		} else {
			ch.Changed[key] = revision
		}
	}
	c.notify()
}

// List gives all pages, without their entries. No answer is an error, never an empty list.
func (c *PagesClient) List(ctx context.Context) ([]Page, error) {
	body, err := c.call(ctx, "ListPages")
	if err != nil {
		return nil, err
	}
	pages, err := decodePages(body)
	if err != nil {
		return nil, fmt.Errorf("cannot understand the list of pages of stafd: %w", err)
	}
	return pages, nil
}

// getTries bounds how often a page that changes while it is fetched is begun anew.
const getTries = 8

// Get gives one page with its entries, all of one revision. [ErrNoPage] when the
// finder has no such page.
func (c *PagesClient) Get(ctx context.Context, key string) (Page, []nvme.DiscoveryEntry, error) {
	for range getTries {
		page, entries, err := c.getOnce(ctx, key)
		if err == nil || !errors.Is(err, errMoved) {
			return page, entries, err
		}
	}
	return Page{}, nil, fmt.Errorf("cannot get page %s: it changed during each of %d attempts", key, getTries)
}

var errMoved = errors.New("the page changed")

func (c *PagesClient) getOnce(ctx context.Context, key string) (Page, []nvme.DiscoveryEntry, error) {
	var page Page
	var entries []nvme.DiscoveryEntry
	for first := true; first || uint32(len(entries)) < page.Records; first = false {
		body, err := c.call(ctx, "GetPage", key, uint32(len(entries)))
		if err != nil {
			return Page{}, nil, err
		}
		p, part, err := decodePage(body)
		switch {
		case err != nil:
			return Page{}, nil, fmt.Errorf("cannot understand page %s of stafd: %w", key, err)
		case p.Key != key:
			return Page{}, nil, fmt.Errorf("stafd gave page %s when asked for %s", p.Key, key)
		case !first && (p.Revision != page.Revision || p.Records != page.Records):
			return Page{}, nil, errMoved
		case uint32(len(entries)+len(part)) > p.Records:
			return Page{}, nil, fmt.Errorf("page %s of stafd has more entries than its %d", key, p.Records)
		case len(part) == 0 && uint32(len(entries)) < p.Records:
			return Page{}, nil, fmt.Errorf("page %s of stafd has %d entries, not its %d", key, len(entries), p.Records)
		}
		page, entries = p, append(entries, part...)
	}
	return page, entries, nil
}

// call asks the finder of this epoch, and takes the answer only if it is of this epoch.
func (c *PagesClient) call(ctx context.Context, member string, args ...any) ([]any, error) {
	c.mu.Lock()
	w, owner := c.watch, c.owner
	c.mu.Unlock()
	if w == nil || owner == "" {
		return nil, ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.callTimeout())
	defer cancel()
	call := w.conn.Object(owner, finderPath).CallWithContext(ctx, pagesInterface+"."+member, dbus.FlagNoAutoStart, args...)
	if call.Err != nil {
		return nil, callError(member, call.Err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watch != w || c.owner != owner {
		return nil, fmt.Errorf("%s: stafd was restarted meanwhile: %w", member, ErrUnavailable)
	}
	return call.Body, nil
}

func callError(member string, err error) error {
	var e dbus.Error
	if errors.As(err, &e) {
		switch e.Name {
		case errUnknownObject:
			return ErrNoPage
		case errServiceUnknown, errNameHasNoOwner, errDisconnected:
			return fmt.Errorf("%s: %w", member, ErrUnavailable)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: stafd does not answer: %w", member, err)
	}
	return fmt.Errorf("%s: %w", member, err)
}
