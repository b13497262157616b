package nvmetcp

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stas-go/stas/pkg/nvme"
)

const (
	testHost = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"
	testSub  = "nqn.2024-01.org.example:disk"
)

// memory is a Store of fixed size.
type memory struct {
	mu sync.RWMutex
	b  []byte
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return copy(p, m.b[off:]), nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copy(m.b[off:], p), nil
}

func (m *memory) Discard(off, n uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.b[off : off+n])
	return nil
}

// disk is an I/O subsystem with one namespace.
type disk struct{ ns Namespace }

func newDisk(size int) *disk {
	return &disk{Namespace{NSID: 1, Blocks: uint64(size) / 512, BlockShift: 9, UUID: [16]byte{1}, Store: &memory{b: make([]byte, size)}}}
}

func (d *disk) Identify(*Controller) nvme.Identify {
	return nvme.Identify{SN: "1", MN: "test", FR: "1", CNTRLTYPE: nvme.ControllerIO, CMIC: 3, NN: 1,
		OAES: nvme.OAESNamespace, LPA: nvme.LPAExtendedData, ONCS: 0x0c, VWC: 1}
}
func (d *disk) GetLog(*Controller, nvme.GetLogPage) ([]byte, error) { return nil, nil }
func (d *disk) Namespace(nsid uint32) *Namespace {
	if nsid == 1 {
		return &d.ns
	}
	return nil
}
func (d *disk) ActiveNamespaces(after uint32, max int) []uint32 {
	if after < 1 {
		return []uint32{1}
	}
	return nil
}

// directory is a discovery subsystem with a fixed page.
type directory struct {
	mu   sync.Mutex
	page []byte
	dims []*nvme.DIM
}

func (d *directory) Identify(*Controller) nvme.Identify {
	return nvme.Identify{CNTRLTYPE: nvme.ControllerDiscovery, DCTYPE: nvme.DCTypeCDC,
		OAES: nvme.OAESDiscovery, LPA: nvme.LPAExtendedData}
}

func (d *directory) GetLog(_ *Controller, g nvme.GetLogPage) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.LID != nvme.LogDiscovery {
		return nil, nvme.StatusInvalidLogPage | nvme.StatusDNR
	}
	if g.Offset > uint64(len(d.page)) {
		return nil, nvme.StatusInvalidField
	}
	return bytes.Clone(d.page[g.Offset:min(uint64(len(d.page)), g.Offset+uint64(g.Length))]), nil
}

func (d *directory) DIM(_ *Controller, task nvme.DIMTask, dim *nvme.DIM) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dims = append(d.dims, dim)
	return nil
}

func entries(n int) []nvme.DiscoveryEntry {
	list := make([]nvme.DiscoveryEntry, n)
	for i := range list {
		list[i] = nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4,
			Subtype: nvme.SubtypeNVMe, CntlID: nvme.CntlIDDynamic, ASQSize: 32, Trsvcid: "4420",
			SubNQN: testSub, Traddr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()}
	}
	return list
}

type resolver map[string]Backend

func (r resolver) Resolve(req *ConnectRequest) (Backend, error) {
	if b := r[req.SubNQN]; b != nil {
		return b, nil
	}
	return nil, nvme.StatusConnectInvalid | nvme.StatusDNR
}

type intercept func(Step) Action

func (f intercept) Intercept(s Step) Action { return f(s) }

// serve runs a target on a loopback port until the test ends.
func serve(t testing.TB, target *Target) Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- target.Serve(ctx, l, "test") }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := len(target.Controllers()); n != 0 {
			t.Errorf("%d controllers are left after Serve", n)
		}
	})
	return Endpoint{Addr: l.Addr().(*net.TCPAddr).AddrPort()}
}

func hostConfig(e Endpoint, sub string) HostConfig {
	return HostConfig{Endpoint: e, SubNQN: sub, HostNQN: testHost, HostID: nvme.HostID{1}, CommandTimeout: 20 * time.Second}
}

func dial(t testing.TB, cfg HostConfig) *Host {
	t.Helper()
	h, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

var digestChoices = map[string][2]bool{"plain": {}, "header": {true, false}, "data": {false, true}, "both": {true, true}}

func TestDiscover(t *testing.T) {
	want := &nvme.DiscoveryLog{GenCtr: 7, NumRec: 100, Entries: entries(100)}
	e := serve(t, &Target{Resolver: resolver{nvme.DiscoveryNQN: &directory{page: want.Encode(' ')}}})
	for name, dig := range digestChoices {
		t.Run(name, func(t *testing.T) {
			cfg := hostConfig(e, "")
			cfg.HeaderDigest, cfg.DataDigest = dig[0], dig[1]
			got, id, err := Discover(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if id.DCTYPE != nvme.DCTypeCDC || id.SUBNQN != nvme.DiscoveryNQN || id.CNTLID == 0 {
				t.Errorf("identify %+v", id)
			}
		})
	}
}

func TestReadWrite(t *testing.T) {
	const size = 4 << 20
	d := newDisk(size)
	e := serve(t, &Target{Resolver: resolver{testSub: d}, IOQueues: 2})
	for name, dig := range digestChoices {
		t.Run(name, func(t *testing.T) {
			cfg := hostConfig(e, testSub)
			cfg.HeaderDigest, cfg.DataDigest = dig[0], dig[1]
			h := dial(t, cfg)
			if n, err := h.OpenQueues(t.Context(), 4); err != nil || n != 2 {
				t.Fatalf("OpenQueues gave %d, %v; want 2", n, err)
			}
			if blocks, block, err := h.NamespaceSize(t.Context(), 1); err != nil || blocks != size/512 || block != 512 {
				t.Errorf("namespace of %d blocks of %d bytes, %v", blocks, block, err)
			}
			if _, _, err := h.NamespaceSize(t.Context(), 2); err == nil {
				t.Error("namespace 2 has a size")
			}
			data := make([]byte, size)
			rand.Read(data)
			// 4 KiB travels in the capsule, 300 KiB and 1 MiB by R2T in several H2CData.
			var wg sync.WaitGroup
			for off, n := 0, 0; off < size; off += n {
				n = min(size-off, []int{4096, 300 << 10, 1 << 20}[off>>12%3])
				wg.Go(func() {
					if err := h.Write(t.Context(), 1, uint64(off/512), 512, data[off:off+n]); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			got := make([]byte, size)
			for off := 0; off < size; off += 1 << 20 {
				if err := h.Read(t.Context(), 1, uint64(off/512), 512, got[off:off+1<<20]); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got, data) {
				t.Error("what was read differs from what was written")
			}
			if err := h.Read(t.Context(), 1, size/512, 512, got[:512]); !errors.Is(err, statusLBARange) {
				t.Errorf("read behind the end gave %v", err)
			}
			if err := h.Read(t.Context(), 2, 0, 512, got[:512]); !errors.Is(err, nvme.StatusInvalidNamespace) {
				t.Errorf("read of another namespace gave %v", err)
			}
		})
	}
}

func TestConnectRefused(t *testing.T) {
	target := &Target{Resolver: resolver{testSub: newDisk(1 << 20)}}
	e := serve(t, target)
	_, err := Dial(t.Context(), hostConfig(e, "nqn.2024-01.org.example:other"))
	if !errors.Is(err, nvme.StatusConnectInvalid) {
		t.Errorf("unknown subsystem gave %v", err)
	}
	cfg := hostConfig(e, testSub)
	cfg.HostNQN = "ho,st"
	if _, err := Dial(t.Context(), cfg); !errors.Is(err, nvme.StatusConnectInvalid) {
		t.Errorf("bad host NQN gave %v", err)
	}
	// An I/O queue of a controller that belongs to another host.
	h := dial(t, hostConfig(e, testSub))
	other := hostConfig(e, testSub)
	other.HostNQN = "nqn.2024-01.org.example:thief"
	thief := dial(t, other)
	thief.cntlid = h.cntlid
	if _, err := thief.OpenQueues(t.Context(), 1); !errors.Is(err, nvme.StatusConnectInvalid) {
		t.Errorf("I/O queue of another host's controller gave %v", err)
	}
}

func TestEvents(t *testing.T) {
	dir := &directory{page: (&nvme.DiscoveryLog{}).Encode(' ')}
	target := &Target{Resolver: resolver{nvme.DiscoveryNQN: dir}}
	h := dial(t, hostConfig(serve(t, target), ""))
	if err := h.EnableEvents(t.Context(), nvme.OAESDiscovery); err != nil {
		t.Fatal(err)
	}
	c := target.Controllers()[0]
	fastest := time.Hour
	for i := 0; i < 5 || i < 100 && fastest > 10*time.Millisecond; i++ {
		start := time.Now()
		c.Notify(nvme.AENDiscoveryLogChange)
		c.Notify(nvme.AENDiscoveryLogChange) // masked until the page is read
		got, err := h.WaitEvent(t.Context())
		if err != nil || got != nvme.AENDiscoveryLogChange {
			t.Fatalf("WaitEvent gave %v, %v", got, err)
		}
		fastest = min(fastest, time.Since(start))
		if _, err := h.ReadDiscoveryLog(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if fastest > 10*time.Millisecond {
		t.Errorf("fastest of many events took %v", fastest)
	}
	c.Notify(nvme.AENNamespaceChange) // not asked for
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if e, err := h.WaitEvent(ctx); !errors.Is(err, ErrTimeout) {
		t.Errorf("WaitEvent gave %v, %v in place of nothing", e, err)
	}
}

// A controller reset deletes the I/O queues (Base 3.7.2): the host may connect the same ones again.
func TestResetDeletesIOQueues(t *testing.T) {
	target := &Target{Resolver: resolver{testSub: newDisk(1 << 20)}}
	h := dial(t, hostConfig(serve(t, target), testSub))
	if n, err := h.OpenQueues(t.Context(), 2); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	before := h.io
	if err := h.setProperty(t.Context(), nvme.PropertyCC, 0x00460000); err != nil {
		t.Fatal(err)
	}
	if n := target.Controllers()[0].Queues(); n != 0 {
		t.Errorf("%d I/O queues are left", n)
	}
	if err := h.setProperty(t.Context(), nvme.PropertyCC, 0x00460001); err != nil {
		t.Fatal(err)
	}
	if n, err := h.OpenQueues(t.Context(), 2); n != 2 || err != nil {
		t.Errorf("%d queues, %v", n, err)
	}
	for _, q := range before {
		select {
		case <-q.done:
		case <-time.After(2 * time.Second):
			t.Errorf("I/O queue %d is still connected", q.id)
		}
	}
	if n := target.Controllers()[0].Queues(); n != 2 {
		t.Errorf("%d I/O queues", n)
	}
}

func TestDIM(t *testing.T) {
	dir := &directory{}
	target := &Target{Resolver: resolver{nvme.DiscoveryNQN: dir}}
	h := dial(t, hostConfig(serve(t, target), ""))
	want := &nvme.DIM{EntityType: nvme.DIMHost, NQN: testHost, Name: "node1", Version: "Linux 6.12"}
	for range 8 { // more than one capsule holds, so that some come by R2T
		want.Entries = append(want.Entries, nvme.DIMEntry{HostID: nvme.HostID{9}, SymbolicName: "rack 4",
			DiscoveryEntry: nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4, SubNQN: testHost, Traddr: "192.0.2.1"}})
		if err := h.DIM(t.Context(), nvme.DIMRegister, want); err != nil {
			t.Fatal(err)
		}
		dir.mu.Lock()
		got := dir.dims[len(dir.dims)-1]
		dir.mu.Unlock()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	}
	var sqe SQE
	sqe[0] = nvme.OpDIM
	if _, err := h.exec(t.Context(), h.admin, &sqe, []byte("nonsense"), nil); !errors.Is(err, nvme.StatusInvalidDiscovery) {
		t.Errorf("nonsense gave %v", err)
	}
}

func TestKeepAlive(t *testing.T) {
	var silent sync.Map
	target := &Target{Resolver: resolver{nvme.DiscoveryNQN: &directory{}},
		Interceptor: intercept(func(s Step) Action {
			_, on := silent.Load(s.Name)
			return Action{Silent: on}
		})}
	cfg := hostConfig(serve(t, target), "")
	cfg.KeepAlive = 200 * time.Millisecond
	h := dial(t, cfg)
	for answered := false; !answered; {
		select {
		case <-h.Done():
			if cfg.KeepAlive > 10*time.Second {
				t.Fatalf("connection ended: %v", h.Err())
			}
			cfg.KeepAlive *= 4 // the machine may have stood still for so long
			h = dial(t, cfg)
		case <-time.After(3 * cfg.KeepAlive):
			answered = true
		}
	}
	silent.Store(StepKeepAlive, true)
	select {
	case <-h.Done():
		if !errors.Is(h.Err(), ErrTimeout) {
			t.Errorf("connection ended by %v", h.Err())
		}
	case <-time.After(10*cfg.KeepAlive + 20*time.Second):
		t.Error("host does not notice that its keep alives are not answered")
	}
}
