package mdns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// testAvahi is a real avahi-daemon on a testBus, in the network namespace of the tests or in
// another one.
type testAvahi struct {
	t   *testing.T
	bus *testBus
	dir string
	ns  string
	cmd *exec.Cmd
}

const avahiConf = `[server]
host-name=%s
use-ipv4=yes
use-ipv6=yes
enable-dbus=yes
disallow-other-stacks=no
ratelimit-interval-usec=1000000
ratelimit-burst=1000
[wide-area]
enable-wide-area=no
[publish]
publish-workstation=no
publish-hinfo=no
[reflector]
[rlimits]
`

func startAvahi(t *testing.T, bus *testBus, host, ns string) *testAvahi {
	t.Helper()
	need(t, "avahi-daemon", "ip")
	dir, err := os.MkdirTemp("", "mdnsavahi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "avahi.conf"), fmt.Appendf(nil, avahiConf, host), 0o644); err != nil {
		t.Fatal(err)
	}
	a := &testAvahi{t: t, bus: bus, dir: dir, ns: ns}
	a.Start()
	t.Cleanup(a.Kill)
	return a
}

// Start runs the daemon. Each has a /run of its own for its lock file.
func (a *testAvahi) Start() {
	a.t.Helper()
	script := "mount -t tmpfs tmpfs /run && exec avahi-daemon --no-drop-root --no-chroot --no-rlimits --no-proc-title -f " + a.dir + "/avahi.conf"
	args := []string{"unshare", "-m", "sh", "-c", script}
	if a.ns != "" {
		args = append([]string{"ip", "netns", "exec", a.ns}, args...)
	}
	a.cmd = exec.Command(args[0], args[1:]...)
	a.cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+a.bus.Address)
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.OpenFile(filepath.Join(a.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		a.t.Fatal(err)
	}
	defer log.Close()
	a.cmd.Stderr = log
	if err := startChild(a.cmd); err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() {
		if a.t.Failed() {
			text, _ := os.ReadFile(filepath.Join(a.dir, "log"))
			a.t.Logf("log of Avahi:\n%s", text)
		}
	})
}

// Stop ends the daemon as an administrator would, Kill as a crash would.
func (a *testAvahi) Stop() { a.end(syscall.SIGTERM) }
func (a *testAvahi) Kill() { a.end(syscall.SIGKILL) }

func (a *testAvahi) end(s os.Signal) {
	if a.cmd != nil {
		a.cmd.Process.Signal(s)
		a.cmd.Wait()
		a.cmd = nil
	}
}

func ip(t *testing.T, format string, args ...any) {
	t.Helper()
	line := fmt.Sprintf(format, args...)
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", line, err, out)
	}
}

// netns makes a network namespace for the length of the test.
func netns(t *testing.T) string {
	t.Helper()
	need(t, "ip")
	name := fmt.Sprintf("mdns%d", time.Now().UnixNano())
	ip(t, "netns add %s", name)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
	return name
}

// wire makes an interface and the other end of its cable, peerName, in another namespace.
func wire(t *testing.T, name, addr, ns, peerAddr string) {
	t.Helper()
	ip(t, "link add %s type veth peer name peer%s netns %s", name, name, ns)
	t.Cleanup(func() { exec.Command("ip", "link", "del", name).Run() })
	ip(t, "addr add %s dev %s", addr, name)
	ip(t, "-n %s addr add %s dev peer%s", ns, peerAddr, name)
	ip(t, "link set %s up", name)
	ip(t, "-n %s link set peer%s up", ns, name)
}

func announce(t *testing.T, bus *testBus, a Announcement) *Publisher {
	t.Helper()
	if a.Type == "" {
		a.Type = TypeTCP
	}
	if err := a.check(); err != nil {
		t.Fatal(err)
	}
	p := publish(Options{Address: bus.Address}, a, quick())
	t.Cleanup(p.Close)
	select {
	case <-p.Ready():
	case <-time.After(time.Minute):
		t.Fatal("not announced")
	}
	return p
}

func named(s State, name string, proto Protocol) (Service, bool) {
	for _, svc := range s.Services {
		if svc.Name == name && svc.Protocol == proto {
			return svc, true
		}
	}
	return Service{}, false
}

// Whoever looks for centralized discovery controllers only finds ours.
func TestSubtype(t *testing.T) {
	bus := startBus(t)
	startAvahi(t, bus, "cdc", "")
	announce(t, bus, Announcement{Name: "central", Port: 8009, Protocol: "tcp", CDC: true})
	announce(t, bus, Announcement{Name: "direct", Port: 8009, Protocol: "tcp"})
	conn := bus.Conn()
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	err := conn.Object(avahiName, "/").Call(avahiName+".Server.ServiceBrowserNew", 0, int32(-1), int32(-1), SubtypeCDC, domain, uint32(0)).Err
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	limit := time.After(time.Minute)
	for end := false; !end || !found["central"]; { // Avahi says after a second that this is all, also where it was late itself
		select {
		case s := <-signals:
			switch s.Name {
			case browserIface + ".ItemNew":
				found[s.Body[2].(string)] = true
			case browserIface + ".AllForNow":
				end = true
			}
		case <-limit:
			t.Fatal("no end of browsing")
		}
	}
	if len(found) != 1 || !found["central"] {
		t.Errorf("found %v", found)
	}
}

// One daemon, one host: both types, the kinds of p=, the order of the TXT strings, goodbye.
func TestRealAvahi(t *testing.T) {
	bus := startBus(t)
	need(t, "avahi-daemon")
	wire(t, "stor0", "192.0.2.10/24", netns(t), "192.0.2.11/24")
	startAvahi(t, bus, "here", "")
	const nqn = "nqn.1988-11.com.dell:SFSS:1:20221122"
	tcp := announce(t, bus, Announcement{Name: "CDC one", Type: TypeTCP, Port: 8009, CDC: true, Interface: "stor0",
		TXT: [][]byte{[]byte("P=tcp"), []byte("p=roce"), []byte("NQN=" + nqn), []byte("noval"), []byte("k=a=b")}})
	announce(t, bus, Announcement{Name: "RoCE", Type: TypeUDP, Port: 4420, Protocol: "roce", Interface: "stor0"})
	announce(t, bus, Announcement{Name: "no p", Type: TypeTCP, Port: 8009, Interface: "stor0"})
	w := browse(t, bus, nil)
	s := w.until("both services on both protocols", func(s State) bool { return s.Available && len(s.Services) == 4 && stale(s) == 0 })
	got, _ := named(s, "CDC one", IPv4)
	index, err := net.InterfaceByName("stor0")
	if err != nil {
		t.Fatal(err)
	}
	want := Service{Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "8009", NQN: nqn, Interface: "stor0",
		IfIndex: index.Index, Protocol: IPv4, Name: "CDC one", Type: TypeTCP, Domain: "local"}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got, _ := named(s, "CDC one", IPv6); !strings.HasPrefix(got.Traddr, "fe80::") || !strings.HasSuffix(got.Traddr, "%stor0") {
		t.Errorf("link-local address is %q", got.Traddr)
	}
	if got, _ := named(s, "RoCE", IPv4); got.Transport != "rdma" || got.Trsvcid != "4420" || got.Type != TypeUDP {
		t.Errorf("got %+v", got)
	}
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(w.log.String(), "no p"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) { // it may be the last that is looked up
			t.Fatalf("nothing is said about the record without p:\n%s", w.log)
		}
	}
	tcp.Close()
	w.until("the goodbye", func(s State) bool { _, ok := named(s, "CDC one", IPv4); return !ok && len(s.Services) == 2 })

	// An interface that is deleted takes its announcements along.
	ip(t, "link del stor0")
	w.until("nothing on the deleted interface", func(s State) bool { return s.Available && len(s.Services) == 0 })
}

// Two hosts on a cable: what an Avahi restart on this side and the end of the other side do.
func TestRealAvahiOnTheWire(t *testing.T) {
	need(t, "ip", "avahi-daemon", "dbus-daemon")
	ns := netns(t)
	wire(t, "wirea", "192.0.2.1/25", ns, "192.0.2.2/25")
	wire(t, "wireb", "192.0.2.129/25", ns, "192.0.2.130/25")
	bus, peerBus := startBus(t), startBus(t)
	avahi := startAvahi(t, bus, "initiator", "")
	startAvahi(t, peerBus, "array", ns)
	ann := Announcement{Name: "array", Port: 8009, TXT: [][]byte{[]byte("p=tcp"), []byte("p=iwarp")}}
	pub := announce(t, peerBus, ann)

	w := browse(t, bus, func(tm *timing) { tm.settle = 4 * time.Second })
	complete := func(s State) bool {
		_, ok4 := named(s, "array", IPv4)
		_, ok6 := named(s, "array", IPv6)
		return len(s.Services) == 4 && stale(s) == 0 && ok4 && ok6
	}
	s := w.until("both ports, both protocols", complete)
	for _, svc := range s.Services {
		if svc.Transport != "tcp" {
			t.Errorf("the order of the TXT strings is lost: %+v", svc)
		}
	}
	w.until("a settled browser", func(s State) bool { return s.Available })

	// However Avahi ends and comes back: nothing is lost, not for a moment.
	for _, end := range []func(){avahi.Stop, avahi.Kill} {
		epoch := w.Snapshot().Epoch
		end()
		w.until("a dead Avahi", func(s State) bool { return !s.Available && stale(s) == 4 })
		w.never("a loss", 300*time.Millisecond, func(s State) bool { return len(s.Services) != 4 })
		avahi.Start()
		for deadline := time.Now().Add(time.Minute); ; {
			s := w.Snapshot()
			if len(s.Services) != 4 {
				t.Fatalf("services lost in a restart of Avahi: %+v", s)
			}
			if s.Available && s.Epoch > epoch && stale(s) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("Avahi is back and not used: %+v\n%s", s, w.log)
			}
			select {
			case <-w.Updates():
			case <-time.After(time.Second):
			}
		}
	}

	// The other side says goodbye, and comes back with another port.
	pub.Close()
	w.until("the goodbye", func(s State) bool { return s.Available && len(s.Services) == 0 })
	ann.Port = 8010
	announce(t, peerBus, ann)
	w.until("the new port", func(s State) bool { return complete(s) && s.Services[0].Trsvcid == "8010" })

	// A new address of a host is no event of the browser: Recheck finds it. (Its prefix differs, as
	// secondary addresses go with the primary one.)
	ip(t, "-n %s addr add 192.0.2.3/26 dev peerwirea", ns)
	ip(t, "-n %s addr del 192.0.2.2/25 dev peerwirea", ns)
	for range 120 {
		w.Recheck()
		if got := addresses(w.Snapshot()); strings.Contains(got, "192.0.2.3") {
			return
		}
		select {
		case <-w.Updates():
		case <-time.After(500 * time.Millisecond):
		}
	}
	t.Errorf("the new address was not found: %+v\n%s", w.Snapshot(), w.log)
}

func addresses(s State) string {
	var list []string
	for _, svc := range s.Services {
		list = append(list, svc.Traddr)
	}
	return strings.Join(list, " ")
}

// A name that is taken gets a number; another host with addresses of its own is announced;
// all of it comes back after a restart of Avahi.
func TestPublisher(t *testing.T) {
	bus := startBus(t)
	need(t, "avahi-daemon")
	wire(t, "stor1", "198.51.100.10/24", netns(t), "198.51.100.11/24")
	avahi := startAvahi(t, bus, "sim", "")
	announce(t, bus, Announcement{Name: "dc", Port: 8009, Protocol: "tcp", Interface: "stor1"})
	announce(t, bus, Announcement{Name: "dc", Port: 8010, Protocol: "tcp", Interface: "stor1"})
	announce(t, bus, Announcement{Name: "elsewhere", Port: 8009, Protocol: "tcp", Interface: "stor1",
		Host: "array9.local", Addrs: []netip.Addr{netip.MustParseAddr("198.51.100.99")}})
	w := browse(t, bus, nil)
	all := func(s State) bool {
		_, first := named(s, "dc", IPv4)
		second, _ := named(s, "dc #2", IPv4)
		other, _ := named(s, "elsewhere", IPv4)
		return s.Available && first && second.Trsvcid == "8010" && other.Traddr == "198.51.100.99" && stale(s) == 0
	}
	w.until("all three", all)
	avahi.Stop()
	w.until("no Avahi", func(s State) bool { return !s.Available })
	avahi.Start()
	w.until("all three again", func(s State) bool { return s.Epoch > 1 && all(s) })
}

func TestPublishChecks(t *testing.T) {
	good := Announcement{Name: "x", Type: TypeTCP, Port: 1}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Announcement){
		"no name":          func(a *Announcement) { a.Name = "" },
		"long name":        func(a *Announcement) { a.Name = strings.Repeat("x", 64) },
		"name not UTF-8":   func(a *Announcement) { a.Name = "\xff" },
		"type":             func(a *Announcement) { a.Type = "_http._tcp" },
		"CDC by UDP":       func(a *Announcement) { a.Type, a.CDC = TypeUDP, true },
		"no port":          func(a *Announcement) { a.Port = 0 },
		"bad NQN":          func(a *Announcement) { a.NQN = "x" },
		"host, no address": func(a *Announcement) { a.Host = "h.local" },
	} {
		bad := good
		spoil(&bad)
		if p, err := Publish(Options{}, bad); err == nil {
			p.Close()
			t.Errorf("%s was taken", name)
		}
	}
}
