package finder

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
	"github.com/stas-go/stas/pkg/tid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testHost = tid.Host{NQN: hostNQN, ID: hostID}

// rig is a finder on a host in memory.
type rig struct {
	t *testing.T
	*fake.Host
	late time.Duration // until the kernel's controllers are looked at
	all  func() ([]kernel.Controller, error)
	f    *Finder
	cfg  *config.Staf
	id   config.Identity
	dir  string // state files; "": none
	stop func()

	mu         sync.Mutex
	silent     map[string]bool // addresses that swallow packets
	excluded   map[string]bool // addresses that the host-wide list names
	names      map[string][]string
	lookups    int
	unanswered int
	changed    []string // keys of PageChanged
	removed    []string // keys of PageRemoved
	signals    int
	dcRemoved  int
	journal    []string
	watch      func(kernel.DisconnectRequest)
	kickstart  func(context.Context) error      // nil: there is no FC
	looking    func(name string)                // called after a controller was read, before that is told
	reads      func(*kernel.Controller, *error) // changes what was read of a controller
	made       func(kernel.Connection)          // called after a connect, before that is told
	unlisted   []error                          // what the next looks at the supported log pages bring
}

// SupportedLogPages fails as is said.
func (r *rig) SupportedLogPages(ctx context.Context, name string) (*nvme.SupportedLogPages, error) {
	var err error
	r.with(func() {
		if len(r.unlisted) > 0 {
			err, r.unlisted = r.unlisted[0], r.unlisted[1:]
		}
	})
	if err != nil {
		return nil, err
	}
	return r.Host.SupportedLogPages(ctx, name)
}

// Controller is what the finder reads of one controller.
func (r *rig) Controller(name string) (kernel.Controller, error) {
	c, err := r.Host.Controller(name)
	var looking func(string)
	r.with(func() { looking = r.looking })
	if looking != nil {
		looking(name)
	}
	r.with(func() {
		if r.reads != nil {
			r.reads(&c, &err)
		}
	})
	return c, err
}

// Connect tells of every connection that was made.
func (r *rig) Connect(ctx context.Context, q kernel.ConnectRequest) (kernel.Connection, error) {
	c, err := r.Host.Connect(ctx, q)
	if err == nil && r.made != nil {
		r.made(c)
	}
	return c, err
}

// Disconnect has every disconnect watched.
func (r *rig) Disconnect(ctx context.Context, q kernel.DisconnectRequest) error {
	if r.watch != nil {
		r.with(func() { r.watch(q) })
	}
	return r.Host.Disconnect(ctx, q)
}

func (r *rig) LogPagesChanged(bus.ID, string) { r.with(func() { r.signals++ }) }
func (r *rig) DCRemoved()                     { r.with(func() { r.dcRemoved++ }) }
func (r *rig) PageChanged(key string, _ uint64) {
	r.with(func() { r.changed = append(r.changed, key) })
}
func (r *rig) PageRemoved(key, _ string) { r.with(func() { r.removed = append(r.removed, key) }) }

func (r *rig) with(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// Probe finds what answers: every target of the host but the silent ones.
func (r *rig) Probe(ctx context.Context, t tid.TID, _ bool) error {
	r.mu.Lock()
	silent := r.silent[t.Traddr]
	r.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nvmetcp.ErrTimeout
	}
	return nil
}

func (r *rig) resolve(_ context.Context, name string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookups++
	if a := r.names[name]; len(a) > 0 {
		return a, nil
	}
	return nil, errors.New("no such host")
}

// journal collects what is logged at Info and above.
type journal struct{ r *rig }

func (j journal) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (j journal) WithAttrs([]slog.Attr) slog.Handler           { return j }
func (j journal) WithGroup(string) slog.Handler                { return j }
func (j journal) Handle(_ context.Context, rec slog.Record) error {
	var b strings.Builder
	b.WriteString(rec.Message)
	rec.Attrs(func(a slog.Attr) bool { b.WriteString(" " + a.String()); return true })
	j.r.with(func() { j.r.journal = append(j.r.journal, b.String()) })
	return nil
}

// said counts the journal's lines that hold text.
func (r *rig) said(text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, l := range r.journal {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

// newRig makes a host and a configuration; nothing runs before start.
func newRig(t *testing.T) *rig {
	cfg := config.DefaultStaf()
	cfg.Zeroconf = false
	return &rig{t: t, Host: fake.New(), cfg: cfg, id: config.Identity{Host: testHost}, silent: map[string]bool{}, excluded: map[string]bool{}, names: map[string][]string{}}
}

// bubble runs f in a synctest bubble with a finder that runs.
func bubble(t *testing.T, prepare func(*rig), f func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		if prepare != nil {
			prepare(r)
		}
		r.start()
		defer func() {
			r.stop()
			_ = r.Close()
			synctest.Wait()
		}()
		synctest.Wait()
		f(r)
	})
}

// start starts a finder and its watcher, as the daemon does.
func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w := r.Watcher()
	var store *Store
	if r.dir != "" {
		var err error
		if store, err = OpenStore(r.dir, slog.New(journal{r})); err != nil {
			r.t.Fatal(err)
		}
	}
	r.f = New(Options{Connector: r, Commands: r, Prober: r, Changes: w.Changes(), Ownership: r.Host, Read: r.Controller, Connections: r.all,
		Kickstart: r.kickstart, Interfaces: func() tid.Interfaces { return nil }, Resolve: r.resolve, Store: store, Log: slog.New(journal{r}),
		Unanswered: func() { r.with(func() { r.unanswered++ }) },
		Excluded: func(t tid.TID, _ tid.Host) bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.excluded[t.Traddr]
		}})
	w.Only = r.f.Concerns
	r.f.Announce(r)
	r.f.Configure(r.cfg, r.id)
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(r.late)
		_ = w.Run(ctx)
	})
	wg.Go(func() { r.f.Run(ctx); store.Close() })
	r.stop = func() {
		cancel()
		wg.Wait()
	}
}

// restart ends the finder and starts another one on the same host.
func (r *rig) restart() {
	r.stop()
	synctest.Wait()
	r.start()
	synctest.Wait()
}

// configure puts a changed configuration in force.
func (r *rig) configure(change func(*config.Staf)) {
	cfg := *r.cfg
	cfg.Controllers = slices.Clone(cfg.Controllers)
	change(&cfg)
	r.cfg = &cfg
	r.f.Configure(r.cfg, r.id)
	synctest.Wait()
}

func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// controller is a controller= line for a discovery controller at traddr.
func controller(traddr string) config.Controller {
	_, err := tid.ParseIP(traddr)
	return config.Controller{Kind: tid.Discovery, Transport: nvme.TCP, Traddr: traddr, HostName: err != nil, Trsvcid: "8009", NQN: nvme.DiscoveryNQN,
		Scope: &config.Scope{}, Where: "stafd.conf:1"}
}

// target makes a discovery controller that lists entries.
func (r *rig) target(traddr string, b fake.Behaviour, entries ...nvme.DiscoveryEntry) {
	b.Kind = tid.Discovery
	r.AddTarget(dcTID(traddr), b)
	r.SetLogQuietly(dcTID(traddr), log(entries...))
}

var generation uint64

func log(entries ...nvme.DiscoveryEntry) *nvme.DiscoveryLog {
	generation++
	return &nvme.DiscoveryLog{GenCtr: generation, NumRec: uint64(len(entries)), Entries: entries}
}

// seen is a discovery controller as the finder knows it.
type seen struct {
	key, device, origin string
	disposition         disposition
	entries             []nvme.DiscoveryEntry
	complete, live      bool
	named, parked       bool
	revision            uint64
}

// dcs gives what is known, by address.
func (r *rig) dcs() map[string]seen {
	m, err := loop.Ask(context.Background(), r.f.loop, func() map[string]seen {
		m := map[string]seen{}
		for _, d := range r.f.dcs {
			s := seen{key: d.key, origin: d.want.Origin.String(), disposition: d.disposition, live: d.live(), named: d.named, parked: d.parked}
			if d.device != nil {
				s.device = d.device.Name
			}
			if d.page != nil {
				s.complete, s.entries, s.revision = true, d.page.entries, d.page.revision
			}
			m[d.id().Traddr] = s
		}
		return m
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// lists checks what the page of a controller says.
func (r *rig) lists(traddr string, want ...nvme.DiscoveryEntry) {
	r.t.Helper()
	s, ok := r.dcs()[traddr]
	if !ok || !s.complete || !slices.Equal(s.entries, want) {
		r.t.Errorf("%s: known %v, %+v; want the entries %v", traddr, ok, s, want)
	}
}

// connections are the devices of the host.
func (r *rig) connections() []kernel.Controller {
	all, err := r.Controllers()
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

func (r *rig) connected(n int) {
	r.t.Helper()
	if all := r.connections(); len(all) != n {
		r.t.Errorf("%d connections, want %d: %+v", len(all), n, all)
	}
}
