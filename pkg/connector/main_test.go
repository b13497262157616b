package connector

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
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
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	hostNQN = "nqn.2014-08.org.nvmexpress:uuid:3a3f9475-2f25-48d3-9025-0c2f288a4e88"
	hostID  = "3a3f9475-2f25-48d3-9025-0c2f288a4e88"
)

var testHost = tid.Host{NQN: hostNQN, ID: hostID}

// rig is a connector on a host in memory, with a stafd that says what the test wants.
type rig struct {
	t *testing.T
	*fake.Host
	late time.Duration // until the kernel's controllers are looked at
	c    *Connector
	cfg  *config.Stac
	id   config.Identity
	stop func()

	mu       sync.Mutex
	silent   map[string]bool // addresses that swallow packets
	excluded map[string]bool // addresses, or addresses with an interface, that the host-wide list names
	names    map[string][]string
	firmware map[string]bool // addresses of boot connections
	attrs    map[string]map[string]string
	order    []tid.TID    // of the connects
	asked    []tid.Params // and what was asked for
	ended    []string     // addresses that were disconnected on request
	watch    func(kernel.DisconnectRequest)
	claims   int
	owners   int // reads of the registry
	journal  []string
	full     error // what writing beside an owner gives

	// stafd
	pages    map[string]content
	dead     bool            // it does not answer
	broken   map[string]bool // pages that cannot be had
	between  func()          // what happens after it has listed its pages, before each is had
	updates  chan struct{}
	gets     int
	rev      uint64
	observer Observer // nil: nobody is told
}

func (r *rig) with(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// Updates, List and Get are those of stafd.
func (r *rig) Updates() <-chan struct{} { return r.updates }

func (r *rig) List(context.Context) ([]bus.Page, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead {
		return nil, errors.New("no answer")
	}
	list := []bus.Page{}
	for _, p := range r.pages {
		list = append(list, p.page)
	}
	return list, nil
}

func (r *rig) Get(_ context.Context, key string) (bus.Page, []nvme.DiscoveryEntry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.between != nil {
		r.between()
	}
	p, ok := r.pages[key]
	if r.dead || r.broken[key] || !ok {
		return bus.Page{}, nil, errors.New("no answer")
	}
	r.gets++
	return p.page, p.entries, nil
}

// Connect notes who is connected and what is noted beside the owner.
func (r *rig) Connect(ctx context.Context, q kernel.ConnectRequest) (kernel.Connection, error) {
	queued := q.Queued
	q.Queued = func() { // which the fake calls when it begins
		r.with(func() { r.order, r.asked = append(r.order, q.TID), append(r.asked, q.Params) })
		queued()
	}
	c, err := r.Host.Connect(ctx, q)
	if err == nil {
		r.with(func() { r.attrs[c.Name()] = q.Attributes })
	}
	return c, err
}

func (r *rig) Disconnect(ctx context.Context, q kernel.DisconnectRequest) error {
	if r.watch != nil {
		r.with(func() { r.watch(q) })
	}
	err := r.Host.Disconnect(ctx, q)
	if err == nil {
		r.with(func() { r.ended = append(r.ended, q.Expect.Traddr) })
	}
	return err
}

func (r *rig) Attr(name, attr string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.attrs[name][attr]; ok {
		return v, nil
	}
	return "", fs.ErrNotExist
}

func (r *rig) Set(name, attr, value string) error {
	var err error
	r.with(func() {
		if err = r.full; err == nil {
			r.attrs[name] = map[string]string{attr: value}
		}
	})
	return err
}

func (r *rig) Owner(name string) registry.Owner {
	r.with(func() { r.owners++ })
	return r.Host.Owner(name)
}

func (r *rig) Claim(name, owner string) (string, error) {
	r.with(func() { r.claims++ })
	return r.Host.Claim(name, owner)
}

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

func newRig(t *testing.T) *rig {
	return &rig{t: t, Host: fake.New(), cfg: config.DefaultStac(), id: config.Identity{Host: testHost}, silent: map[string]bool{}, excluded: map[string]bool{},
		names: map[string][]string{}, firmware: map[string]bool{}, attrs: map[string]map[string]string{}, pages: map[string]content{}, broken: map[string]bool{},
		updates: make(chan struct{}, 1)}
}

// bubble runs f in a synctest bubble with a connector that runs.
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

func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w := r.Watcher()
	w.Only = Concerns
	at := func(set map[string]bool, addr string) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return set[addr]
	}
	r.c = New(Options{Connector: r, Prober: r, Pages: r, Changes: w.Changes(), Ownership: r, Read: r.Controller,
		Interfaces: func() tid.Interfaces { return byOctet{} }, Resolve: r.resolve, Log: slog.New(journal{r}),
		Excluded: func(t tid.TID, _ tid.Host) bool {
			return at(r.excluded, t.Traddr) || at(r.excluded, t.Traddr+" "+t.HostIface)
		},
		Protected: func(c *kernel.Controller) bool { return at(r.firmware, c.Traddr) },
		Firmwares: func(_ tid.Kind, t tid.TID) bool { return at(r.firmware, t.Traddr) }})
	if r.observer != nil {
		r.c.Observe(r.observer)
	}
	r.c.Configure(r.cfg, r.id)
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(r.late)
		_ = w.Run(ctx)
	})
	wg.Go(func() { r.c.Run(ctx) })
	r.stop = func() {
		cancel()
		wg.Wait()
	}
}

// byOctet says that 10.0.N.x is an address of ethN.
type byOctet struct{}

func (byOctet) InterfaceOf(a netip.Addr) string {
	if a.Is4() {
		return fmt.Sprintf("eth%d", a.As4()[2])
	}
	return ""
}

func (r *rig) restart() {
	r.stop()
	synctest.Wait()
	r.start()
	synctest.Wait()
}

func (r *rig) configure(change func(*config.Stac)) {
	cfg := *r.cfg
	cfg.Controllers = slices.Clone(cfg.Controllers)
	change(&cfg)
	r.cfg = &cfg
	r.c.Configure(r.cfg, r.id)
	synctest.Wait()
}

func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// page is a complete page of the discovery controller called key.
func (r *rig) page(key string, entries ...nvme.DiscoveryEntry) { r.publish(key, nil, entries...) }

// publish sets a page of stafd, changed as the test wants it, and says so.
func (r *rig) publish(key string, change func(*bus.Page), entries ...nvme.DiscoveryEntry) {
	r.with(func() {
		r.rev++
		p := bus.Page{Key: key, HostID: hostID, Disposition: bus.Active, Complete: true, Revision: r.rev, Records: uint32(len(entries)),
			ID: bus.ID{Transport: "tcp", Traddr: "10.255.0.1", Trsvcid: "8009", SubsysNQN: nvme.DiscoveryNQN, HostNQN: hostNQN}}
		if change != nil {
			change(&p)
		}
		r.pages[key] = content{p, entries}
	})
	r.tell()
}

// forget has stafd drop a page altogether.
func (r *rig) forget(key string) {
	r.with(func() { delete(r.pages, key) })
	r.tell()
}

func (r *rig) tell() {
	select {
	case r.updates <- struct{}{}:
	default:
	}
	if r.c != nil {
		synctest.Wait()
	}
}

// io is the n-th I/O controller, at an address of its own.
func io(n int) tid.TID {
	return tid.TID{Transport: nvme.TCP, Traddr: fmt.Sprintf("10.1.%d.%d", n>>8, n&255), Trsvcid: "4420", NQN: fmt.Sprintf("nqn.2026-01.test:s%d", n), HostNQN: hostNQN}
}

func entry(n int) nvme.DiscoveryEntry { return entryOf(io(n)) }

func entryOf(t tid.TID) nvme.DiscoveryEntry {
	return nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4, Subtype: nvme.SubtypeNVMe, Trsvcid: t.Trsvcid, SubNQN: t.NQN, Traddr: t.Traddr}
}

func entries(ns ...int) []nvme.DiscoveryEntry {
	var list []nvme.DiscoveryEntry
	for _, n := range ns {
		list = append(list, entry(n))
	}
	return list
}

// targets makes the I/O controllers 0 to n-1 reachable.
func (r *rig) targets(n int, b fake.Behaviour) {
	for i := range n {
		r.AddTarget(io(i), b)
	}
}

func line(t tid.TID) config.Controller {
	_, err := tid.ParseIP(t.Traddr)
	return config.Controller{Kind: tid.IO, Transport: t.Transport, Traddr: t.Traddr, HostName: err != nil, Trsvcid: t.Trsvcid, NQN: t.NQN, HostTraddr: t.HostTraddr,
		HostIface: t.HostIface, Scope: &config.Scope{}, Where: "stacd.conf:1"}
}

// connected checks which I/O controllers have connections, by number, once for each connection.
func (r *rig) connected(want ...int) {
	r.t.Helper()
	all, err := r.Controllers()
	if err != nil {
		r.t.Fatal(err)
	}
	got := []string{}
	for _, c := range all {
		got = append(got, c.Traddr)
	}
	list := []string{}
	for _, n := range want {
		list = append(list, io(n).Traddr)
	}
	slices.Sort(got)
	slices.Sort(list)
	if !slices.Equal(got, list) {
		r.t.Errorf("connected %v, want %v", got, list)
	}
}

// device is the name of the connection to the n-th controller.
func (r *rig) device(n int) string {
	all, _ := r.Controllers()
	for _, c := range all {
		if c.Traddr == io(n).Traddr {
			return c.Name
		}
	}
	return ""
}
