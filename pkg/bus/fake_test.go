package bus

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/test/privatebus"
)

// recordedHost is the host NQN of the recording in testdata.
const recordedHost = "nqn.2014-08.org.nvmexpress:uuid:5968e61b-f0db-4af9-a329-ae9ba10166a2"

// fakeDaemon is a daemon whose state tests write. It serves as finder and connector.
type fakeDaemon struct {
	mu          sync.Mutex
	controllers []Controller
	logs        []ControllerLog
	pages       map[string]Page
	entries     map[string][]nvme.DiscoveryEntry
	info        Object
	tron        bool
	err         error
	hang        bool
	moving      bool // pages change as often as they are read
	panics      bool
}

func (f *fakeDaemon) get(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("a defect")
	}
	for f.hang { // until it does no more, or ctx ends
		f.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
		f.mu.Lock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return f.err
}

func (f *fakeDaemon) Controllers(ctx context.Context, _ bool) ([]Controller, error) {
	return f.controllers, f.get(ctx)
}

func (f *fakeDaemon) LogPage(ctx context.Context, id ID) ([]nvme.DiscoveryEntry, error) {
	for _, l := range f.logs {
		if l.Controller.ID == id {
			return l.Entries, f.get(ctx)
		}
	}
	return nil, f.get(ctx)
}

func (f *fakeDaemon) AllLogPages(ctx context.Context, _ bool) ([]ControllerLog, error) {
	return f.logs, f.get(ctx)
}

func (f *fakeDaemon) Pages(ctx context.Context) ([]Page, error) {
	f.mu.Lock()
	var pages []Page
	for _, p := range f.pages {
		pages = append(pages, p)
	}
	f.mu.Unlock()
	return pages, f.get(ctx)
}

func (f *fakeDaemon) PageEntries(ctx context.Context, key string) (Page, []nvme.DiscoveryEntry, bool, error) {
	if err := f.get(ctx); err != nil {
		return Page{}, nil, false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.pages[key]
	if f.moving {
		next := p
		next.Revision++
		f.pages[key] = next
	}
	return p, f.entries[key], ok, nil
}

func (f *fakeDaemon) setPage(p Page, entries []nvme.DiscoveryEntry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pages == nil {
		f.pages, f.entries = map[string]Page{}, map[string][]nvme.DiscoveryEntry{}
	}
	f.pages[p.Key], f.entries[p.Key] = p, entries
}

func (f *fakeDaemon) ProcessInfo(ctx context.Context) (Object, error) { return f.info, f.get(ctx) }

func (f *fakeDaemon) ControllerInfo(ctx context.Context, id ID) (Controller, bool, error) {
	for _, c := range f.controllers {
		if c.ID == id {
			return c, true, f.get(ctx)
		}
	}
	return Controller{}, false, f.get(ctx)
}

func (f *fakeDaemon) Tron() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tron
}

func (f *fakeDaemon) SetTron(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tron = on
}

func (f *fakeDaemon) LogLevel() string {
	if f.Tron() {
		return "DEBUG"
	}
	return "INFO"
}

func (f *fakeDaemon) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func options(b *privatebus.Bus) Options {
	return Options{
		Address: b.Address(), ConnectTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
		CallTimeout: 30 * time.Second, Log: slog.New(slog.DiscardHandler),
	}
}

type runner interface{ Run(context.Context) error }

// start runs r until the test ends.
func start(t *testing.T, r runner) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return stop
}

// startFinder runs a finder's server and waits until it is on the bus.
func startFinder(t *testing.T, opts Options, f *fakeDaemon) *FinderServer {
	t.Helper()
	s := NewFinderServer(opts, f, f, f)
	start(t, s)
	onBus(t, s.server)
	return s
}

func onBus(t *testing.T, s *server) {
	t.Helper()
	<-s.Settled()
	eventually(t, "the server is on the bus", s.Connected)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 60 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
