package fabricsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sample = `
[port p1]
address = 127.0.0.1
service = 0

[port p2]
address = ::1
service = 0

[dc cdc]
type = cdc
nqn = nqn.2024-01.org.example:cdc
ports = p1
zoning = yes
epcsd = yes

[dc ddc]
nqn = nqn.2024-01.org.example:ddc
ports = p2
referral = cdc nvme+tcp://192.0.2.9:8009

[subsystem s]
nqn = nqn.2024-01.org.example:s
count = 3
ports = p1, p2
namespace = 8M

[subsystem private]
nqn = nqn.2024-01.org.example:private
ports = p2
namespace = 1G
hosts = alice

[host alice]
nqn = nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555

[host bob]
nqn = nqn.2014-08.org.nvmexpress:uuid:22222222-2222-3333-4444-555555555555

[zone za]
members = alice s1

[zone zb]
members = bob s2 s3
`

func parse(t testing.TB, text string) *Config {
	t.Helper()
	c, err := ParseConfig(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func start(t testing.TB, text string) *Fabric {
	t.Helper()
	f, err := New(parse(t, text), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func uuidNQN(n int) string {
	return fmt.Sprintf("nqn.2014-08.org.nvmexpress:uuid:%08d-2222-3333-4444-555555555555", n)
}

var alice, bob = uuidNQN(11111111), uuidNQN(22222222)

func connect(t testing.TB, f *Fabric, port, host, sub string) *nvmetcp.Host {
	t.Helper()
	h, err := dialHost(t.Context(), f, port, host, sub)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func dialHost(ctx context.Context, f *Fabric, port, host, sub string) (*nvmetcp.Host, error) {
	id, _ := nvme.HostIDFromNQN(host)
	return nvmetcp.Dial(ctx, nvmetcp.HostConfig{Endpoint: nvmetcp.Endpoint{Addr: f.Addr(port)},
		SubNQN: sub, HostNQN: host, HostID: id, KeepAlive: 30 * time.Second, CommandTimeout: 20 * time.Second})
}

// names gives what a page lists, in short.
func names(t testing.TB, h *nvmetcp.Host, lsp uint8) (gen uint64, list []string) {
	t.Helper()
	log, err := h.ReadDiscoveryLog(t.Context(), lsp)
	if err != nil {
		t.Fatal(err)
	}
	if !log.Complete() {
		t.Errorf("page has entries that make no sense: %v", log.DropReasons)
	}
	for _, e := range log.Entries {
		_, short, _ := strings.Cut(e.SubNQN, ":")
		list = append(list, fmt.Sprintf("%s %s %s", e.Subtype, short, e.AddrFamily))
	}
	return log.GenCtr, list
}

func wantNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestZoning(t *testing.T) {
	f := start(t, sample)
	a := connect(t, f, "p1", alice, "")
	_, list := names(t, a, 0)
	wantNames(t, list, "discovery cdc ipv4", "nvme s1 ipv4", "nvme s1 ipv6")
	_, list = names(t, connect(t, f, "p1", bob, "nqn.2024-01.org.example:cdc"), 0)
	wantNames(t, list, "discovery cdc ipv4", "nvme s2 ipv4", "nvme s2 ipv6", "nvme s3 ipv4", "nvme s3 ipv6")
	_, list = names(t, connect(t, f, "p1", uuidNQN(33333333), ""), 0)
	wantNames(t, list, "discovery cdc ipv4")

	if id := a.Controller(); id.DCTYPE != nvme.DCTypeCDC || id.SUBNQN != "nqn.2024-01.org.example:cdc" {
		t.Errorf("identify %+v", id)
	}
	_, list = names(t, a, nvme.LSPPortLocal)
	wantNames(t, list, "discovery cdc ipv4", "nvme s1 ipv4")
	_, list = names(t, a, nvme.LSPExtended)
	wantNames(t, list, "discovery cdc ipv4", "nvme s1 ipv4", "nvme s1 ipv6")
}

// A discovery controller of one array lists what belongs to that array.
func TestSubsystemsOfADC(t *testing.T) {
	f := start(t, sample)
	if err := f.SetDC("ddc", "subsystems", "private s2"); err != nil {
		t.Fatal(err)
	}
	if err := f.SetDC("ddc", "referral", ""); err != nil {
		t.Fatal(err)
	}
	_, list := names(t, connect(t, f, "p2", alice, ""), 0)
	wantNames(t, list, "discovery ddc ipv6", "nvme s2 ipv4", "nvme s2 ipv6", "nvme private ipv6")
}

func TestWithoutZoning(t *testing.T) {
	f := start(t, sample)
	_, list := names(t, connect(t, f, "p2", bob, ""), 0)
	all := []string{"discovery ddc ipv6", "nvme s1 ipv4", "nvme s1 ipv6", "nvme s2 ipv4", "nvme s2 ipv6", "nvme s3 ipv4", "nvme s3 ipv6"}
	refs := []string{"referral cdc ipv4", "referral discovery ipv4"}
	want := append(append([]string{}, all...), refs...)
	want[len(want)-1] = "referral  ipv4" // the well-known NQN has no colon
	wantNames(t, list, want...)
	_, list = names(t, connect(t, f, "p2", alice, ""), 0)
	wantNames(t, list, append(append(append([]string{}, all...), "nvme private ipv6"), want[len(all):]...)...)
}

// A zone change is told to exactly the hosts that it concerns, at once, and only
// their generation counter moves.
func TestZoneChangeIsTold(t *testing.T) {
	f := start(t, sample)
	hosts := map[string]*nvmetcp.Host{}
	gen := map[string]uint64{}
	for _, nqn := range []string{alice, bob, uuidNQN(33333333)} {
		h := connect(t, f, "p1", nqn, "")
		if err := h.EnableEvents(t.Context(), nvme.OAESDiscovery); err != nil {
			t.Fatal(err)
		}
		hosts[nqn] = h
		gen[nqn], _ = names(t, h, 0)
	}
	waitRequests(t, f)
	var g uint64
	var list []string
	told := func(change func(string, ...string) error) time.Duration {
		t.Helper()
		start := time.Now()
		if err := change("za", "s3"); err != nil {
			t.Fatal(err)
		}
		if _, err := hosts[alice].WaitEvent(t.Context()); err != nil {
			t.Fatal(err)
		}
		d := time.Since(start)
		g, list = names(t, hosts[alice], 0)
		return d
	}
	fastest := told(f.AddToZone)
	for i := 0; i < 20 && fastest > patience*10*time.Millisecond; i++ { // the machine may have stood still
		told(f.RemoveFromZone)
		fastest = min(fastest, told(f.AddToZone))
	}
	if fastest > patience*10*time.Millisecond {
		t.Errorf("event came after %v", fastest)
	}
	wantNames(t, list, "discovery cdc ipv4", "nvme s1 ipv4", "nvme s1 ipv6", "nvme s3 ipv4", "nvme s3 ipv6")
	if g == gen[alice] {
		t.Error("generation counter of the host that is concerned stands still")
	}
	delete(hosts, alice)
	for nqn, h := range hosts {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if e, err := h.WaitEvent(ctx); !errors.Is(err, nvmetcp.ErrTimeout) {
			t.Errorf("%s has event %v, %v", nqn, e, err)
		}
		cancel()
		if g, _ := names(t, h, 0); g != gen[nqn] {
			t.Errorf("generation counter of %s moved from %d to %d", nqn, gen[nqn], g)
		}
	}
	// Into a zone and out again without a difference: nobody is told.
	if err := f.AddToZone("za", "s3"); err != nil {
		t.Fatal(err)
	}
	if err := f.RemoveFromZone("zb"); err != nil {
		t.Fatal(err)
	}
	if _, err := hosts[bob].WaitEvent(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, list = names(t, hosts[bob], 0)
	wantNames(t, list, "discovery cdc ipv4")
	if err := f.RemoveFromZone("za", "s3", "s2"); err == nil {
		t.Error("a subsystem that is not in the zone was removed from it")
	}
}

// waitRequests waits until every discovery controller has an event request: the host
// sends it without waiting for anything.
func waitRequests(t testing.TB, f *Fabric) {
	t.Helper()
	await(t, func() bool {
		for _, c := range f.target.Controllers() {
			if c.Requests() == 0 {
				return false
			}
		}
		return true
	})
}

func await(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it does not come about")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAccess(t *testing.T) {
	f := start(t, sample)
	if _, err := dialHost(t.Context(), f, "p2", bob, "nqn.2024-01.org.example:private"); !errors.Is(err, nvme.StatusConnectHost) {
		t.Errorf("host that is not allowed: %v", err)
	}
	if _, err := dialHost(t.Context(), f, "p1", alice, "nqn.2024-01.org.example:private"); !errors.Is(err, nvme.StatusConnectInvalid) {
		t.Errorf("subsystem at a port that it is not on: %v", err)
	}
	h := connect(t, f, "p2", alice, "nqn.2024-01.org.example:private")
	if n, err := h.OpenQueues(t.Context(), 2); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	want := []byte(strings.Repeat("stas", 4096))
	if err := h.Write(t.Context(), 1, 1000, 512, want); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if err := h.Read(t.Context(), 1, 1000, 512, got); err != nil || string(got) != string(want) {
		t.Errorf("read back: %v", err)
	}
	if used := f.pool.Used(); used > 2<<16 {
		t.Errorf("16 KiB take %d bytes of memory", used)
	}
	if err := f.RemoveSubsystem("private"); err != nil {
		t.Fatal(err)
	}
	<-h.Done()
	if used := f.pool.Used(); used != 0 {
		t.Errorf("%d bytes are used by a subsystem that is gone", used)
	}
}

func TestRegistration(t *testing.T) {
	f := start(t, sample)
	h := connect(t, f, "p1", alice, "")
	entry := nvme.DIMEntry{HostID: nvme.HostID{1}, SymbolicName: "rack 4", DiscoveryEntry: nvme.DiscoveryEntry{
		Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4, SubNQN: alice}}
	d := &nvme.DIM{EntityType: nvme.DIMHost, NQN: alice, Name: "node1", Entries: []nvme.DIMEntry{entry}}
	if err := h.DIM(t.Context(), nvme.DIMRegister, d); err != nil {
		t.Fatal(err)
	}
	r := f.Hosts().Registrations
	if len(r) != 1 || r[0].SymbolicName != "rack 4" || r[0].Address != "127.0.0.1" || r[0].Name != "node1" {
		t.Fatalf("registered %+v", r)
	}
	changed := entry
	changed.SymbolicName = "rack 5"
	d.Entries = []nvme.DIMEntry{entry, changed}
	if err := h.DIM(t.Context(), nvme.DIMUpdate, d); err != nil {
		t.Fatal(err)
	}
	if r := f.Hosts().Registrations; len(r) != 1 || r[0].SymbolicName != "rack 5" || r[0].Updates != 1 {
		t.Fatalf("updated %+v", r)
	}
	d.NQN = bob
	if err := h.DIM(t.Context(), nvme.DIMRegister, d); !errors.Is(err, nvme.StatusInvalidDiscovery) {
		t.Errorf("registration for somebody else gave %v", err)
	}
	h.Close()
	await(t, func() bool { return len(f.Hosts().Registrations) == 0 })
	if err := f.SetDC("cdc", "register", "no"); err != nil {
		t.Fatal(err)
	}
	if err := connect(t, f, "p1", alice, "").DIM(t.Context(), nvme.DIMRegister, d); !errors.Is(err, nvme.StatusInvalidOpcode) {
		t.Errorf("registration without support gave %v", err)
	}
}

func TestManyEntries(t *testing.T) {
	f := start(t, `
[port p1]
address = 127.0.0.1
service = 0
[dc d]
ports = p1
[subsystem s]
nqn = nqn.2024-01.org.example:s
count = 10000
ports = p1
namespace = 1T
`)
	h := connect(t, f, "p1", alice, "")
	var log *nvme.DiscoveryLog
	fastest := time.Hour
	for i := 0; i < 5 && fastest > patience*500*time.Millisecond; i++ { // the machine may stand still
		begin := time.Now()
		var err error
		if log, err = h.ReadDiscoveryLog(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		fastest = min(fastest, time.Since(begin))
	}
	if fastest > patience*500*time.Millisecond {
		t.Errorf("reading took %v", fastest)
	}
	seen := make(map[string]bool)
	for _, e := range log.Entries {
		seen[e.SubNQN] = true
	}
	if len(seen) != 10001 {
		t.Errorf("%d entries differ, want 10001", len(seen))
	}
}

func TestPorts(t *testing.T) {
	f := start(t, sample)
	probe := func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return nvmetcp.Probe(ctx, nvmetcp.ProbeTarget{Endpoint: nvmetcp.Endpoint{Addr: f.Addr("p1")}})
	}
	h := connect(t, f, "p1", alice, "")
	for _, tt := range []struct {
		action  string
		timeout time.Duration
		want    error
	}{{"refuse", 20 * time.Second, nvmetcp.ErrRefused}, {"blackhole", 200 * time.Millisecond, nvmetcp.ErrTimeout}} {
		if err := f.AddFault(FaultConfig{Name: "x", Port: "p1", Action: tt.action}); err != nil {
			t.Fatal(err)
		}
		if err := probe(tt.timeout); !errors.Is(err, tt.want) || errors.Is(err, nvmetcp.ErrSilent) {
			t.Errorf("%s: probe gave %v", tt.action, err)
		}
		if err := f.RemoveFault("x"); err != nil {
			t.Fatal(err)
		}
		if err := probe(20 * time.Second); err != nil {
			t.Errorf("after %s: %v", tt.action, err)
		}
	}
	<-h.Done()
	before := f.Addr("p1")
	watch := connect(t, f, "p2", alice, "")
	if err := watch.EnableEvents(t.Context(), nvme.OAESDiscovery); err != nil {
		t.Fatal(err)
	}
	if err := f.MovePort("p1", netip.MustParseAddrPort("127.0.0.2:0")); err != nil {
		t.Fatal(err)
	}
	if _, err := watch.WaitEvent(t.Context()); err != nil {
		t.Fatal(err)
	}
	log, err := watch.ReadDiscoveryLog(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range log.Entries {
		if e.Traddr == before.Addr().String() {
			t.Errorf("entry %+v has the old address", e)
		}
	}
	if err := probe(20 * time.Second); err != nil {
		t.Errorf("at the new address: %v", err)
	}
}

// Of subsystems that cannot all be added none is.
func TestAddSomeSubsystems(t *testing.T) {
	f := start(t, sample)
	before := len(f.Subsystems())
	c := SubsystemConfig{Name: "x", NQN: "nqn.2024-01.org.example:s", Count: 3, Ports: []string{"p1"}, BlockSize: 512}
	if err := f.RemoveSubsystem("s1"); err != nil { // so that only the second is there already
		t.Fatal(err)
	}
	if err := f.AddSubsystem(c); err == nil {
		t.Fatal("an NQN that is there already was added")
	}
	if got := len(f.Subsystems()); got != before-1 {
		t.Errorf("%d subsystems, want %d", got, before-1)
	}
	if err := f.RemoveSubsystem("x1"); err == nil {
		t.Error("the first one is there")
	}
	c.NQN = "nqn.2024-01.org.example:x"
	if err := f.AddSubsystem(c); err != nil {
		t.Errorf("adding them by another name: %v", err)
	}
}

// A write that is under way as its subsystem goes takes no memory that nobody gives back.
func TestWriteToARemovedSubsystem(t *testing.T) {
	f := start(t, sample)
	ns := f.lookup("private").Namespace(1)
	if _, err := ns.Store.WriteAt([]byte("stas"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.RemoveSubsystem("private"); err != nil {
		t.Fatal(err)
	}
	_, err := ns.Store.WriteAt([]byte("stas"), 0)
	if used := f.pool.Used(); used != 0 {
		t.Errorf("%d bytes are used by a subsystem that is gone; the write gave %v", used, err)
	}
}

// A port that cannot be moved stays where it is.
func TestMovePortToATakenAddress(t *testing.T) {
	f := start(t, sample)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := f.MovePort("p1", taken.Addr().(*net.TCPAddr).AddrPort()); err == nil {
		t.Fatal("moved to an address that is taken")
	}
	if h, err := dialHost(t.Context(), f, "p1", alice, ""); err != nil {
		t.Errorf("where it was: %v", err)
	} else {
		h.Close()
	}
	for _, state := range []PortState{PortBlackhole, PortDown} {
		if err := f.SetPort("p1", state); err != nil {
			t.Fatal(err)
		}
		if err := f.MovePort("p1", taken.Addr().(*net.TCPAddr).AddrPort()); err == nil {
			t.Fatal("moved to an address that is taken")
		}
		if got := f.Ports()[0].State; got != string(state) {
			t.Errorf("a port that was %s and could not be moved is %s", state, got)
		}
	}
}

// Log pages do not tell of a port on all addresses which of them to take: neither at the start nor later is there one.
func TestMovePortToAllAddresses(t *testing.T) {
	f := start(t, sample)
	before := f.Addr("p1")
	if err := f.MovePort("p1", netip.MustParseAddrPort("0.0.0.0:0")); err == nil || !strings.Contains(err.Error(), "advertise-address") {
		t.Errorf("gave %v", err)
	}
	if f.Addr("p1") != before || f.Ports()[0].State != string(PortUp) {
		t.Errorf("the port is %+v", f.Ports()[0])
	}
}

// A port that two faults shut is opened when both are over.
func TestTwoFaultsOfAPort(t *testing.T) {
	f := start(t, sample)
	for _, action := range []string{"refuse", "blackhole"} {
		if err := f.AddFault(FaultConfig{Name: action, Port: "p1", Action: action}); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		over string
		want PortState
	}{{"refuse", PortBlackhole}, {"blackhole", PortUp}} {
		if err := f.RemoveFault(step.over); err != nil {
			t.Fatal(err)
		}
		if got := f.Ports()[0].State; got != string(step.want) {
			t.Errorf("without %s the port is %s, want %s", step.over, got, step.want)
		}
	}
}

// Who connects as the fabric starts meets what the configuration says: the addresses of all ports, and faults.
func TestStartIsWhole(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	const many = 300
	var text strings.Builder
	fmt.Fprintf(&text, "[port p0]\naddress = 127.0.0.1\nservice = %d\n", first.Port())
	names := "p0"
	for i := range many {
		fmt.Fprintf(&text, "[port p%d]\naddress = 127.0.0.2\nservice = 0\n", i+1)
		names += fmt.Sprintf(" p%d", i+1)
	}
	fmt.Fprintf(&text, "[dc d]\nports = p0\n[subsystem s]\nnqn = nqn.2024-01.org.example:s\nports = %s\n", names)
	text.WriteString("[fault busy]\nstep = connect\ntimes = 1\naction = status=0x181\n")
	cfg := parse(t, text.String())
	type answer struct {
		first error
		log   *nvme.DiscoveryLog
		err   error
	}
	got := make(chan answer, 1)
	go func() {
		var a answer
		c := nvmetcp.HostConfig{Endpoint: nvmetcp.Endpoint{Addr: first}, HostNQN: alice, CommandTimeout: 20 * time.Second}
		for {
			if _, _, a.first = nvmetcp.Discover(t.Context(), c); !errors.Is(a.first, nvmetcp.ErrRefused) {
				break
			}
		}
		a.log, _, a.err = nvmetcp.Discover(t.Context(), c)
		got <- a
	}()
	time.Sleep(10 * time.Millisecond)
	f, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	a := <-got
	if !errors.Is(a.first, nvme.StatusControllerBusy) {
		t.Errorf("the first connect gave %v", a.first)
	}
	if a.err != nil {
		t.Fatal(a.err)
	}
	if len(a.log.Entries) != many+2 {
		t.Errorf("%d entries", len(a.log.Entries))
	}
	for _, e := range a.log.Entries {
		if !e.HasAddress() {
			t.Fatalf("entry %+v has no address", e)
		}
	}
}
