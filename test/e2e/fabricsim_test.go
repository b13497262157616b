//go:build e2e

package e2e

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/test/fabric"
)

// simPrefix begins the names of what fabricsim plays.
const simPrefix = "nqn.2024-01.org.example:"

// simulation is a centralized discovery controller with zoning, and three subsystems
// with two paths each. This host sees the first two.
const simulation = `
[port p1]
address = 127.0.0.1
service = 4500
[port p2]
address = ::1
service = 4501
[dc cdc]
type = cdc
nqn = nqn.2024-01.org.example:cdc
ports = p1
zoning = yes
epcsd = yes
[subsystem sim]
nqn = nqn.2024-01.org.example:sim
count = 3
ports = p1 p2
namespace = 256M
namespace = 256M
[subsystem private]
nqn = nqn.2024-01.org.example:private
ports = p1
namespace = 64M
hosts = zoned
`

// simulate plays a fabric inside this process until the end of the test.
func simulate(t *testing.T, text string) *fabricsim.Fabric {
	t.Helper()
	cfg, err := fabricsim.ParseConfig(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Zones = append(cfg.Zones, fabricsim.ZoneConfig{Name: "here", Members: []string{hostNQN(t), "sim1", "sim2"}})
	return play(t, cfg)
}

func play(t *testing.T, cfg *fabricsim.Config) *fabricsim.Fabric {
	t.Helper()
	f, err := fabricsim.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, e := range f.Events(0) {
				t.Log(e.Time.Format("15:04:05.000"), e.Kind, e.Subsystem, e.Cntlid, e.Queue, e.Detail)
			}
		}
		f.Close()
	})
	// Runs before the above: no controller is left to reconnect.
	t.Cleanup(func() { _ = fabric.Try("nvme", "disconnect-all") })
	return f
}

// attach connects the kernel to something that is played.
func attach(t *testing.T, port, nqn, options string) (string, error) {
	t.Helper()
	addr := map[string]string{"p1": "traddr=127.0.0.1,trsvcid=4500", "p2": "traddr=::1,trsvcid=4501"}[port]
	return fabric.Connect("transport=tcp," + addr + ",nqn=" + nqn + ",hostnqn=" + hostNQN(t) + ",hostid=" + hostID(t) + options)
}

func mustAttach(t *testing.T, port, nqn, options string) string {
	t.Helper()
	name, err := attach(t, port, nqn, options)
	if err != nil {
		t.Fatalf("cannot connect to %s: %v\n%s", nqn, err, dmesg(t))
	}
	return name
}

// keepFromRule has our udev rule keep that of nvme-cli away from a discovery controller: it would connect all that the
// controller lists whenever that says that something has changed.
func keepFromRule(t *testing.T, name string) {
	t.Helper()
	dir := "/run/nvme/registry/" + name
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(dir+"/owner", []byte("stas\n"), 0o644))
}

// dmesg is what the kernel has said since the test began with a clean machine.
func dmesg(t *testing.T) string {
	t.Helper()
	text := fabric.Run(t, "dmesg")
	if i := strings.LastIndex(text, "stas-test: === "); i >= 0 {
		return text[i:]
	}
	return text
}

func noComplaints(t *testing.T) {
	t.Helper()
	for _, line := range fabric.Complaints(dmesg(t)) {
		t.Errorf("the kernel complains: %s", line)
	}
}

// TestSimIO has the kernel connect with and without digests, and over two paths; a
// file system on it holds 64 MB; and nothing of that makes the kernel complain.
func TestSimIO(t *testing.T) {
	fabric.Clean(t)
	simulate(t, simulation)
	for i, options := range []string{"", ",hdr_digest,data_digest", ",nr_io_queues=1,disable_sqflow"} {
		nqn := fmt.Sprintf("%ssim%d", simPrefix, i+1)
		mustAttach(t, "p1", nqn, options)
		mustAttach(t, "p2", nqn, options)
		fabric.AwaitLive(t, 10*time.Second, nqn)
		fileSystem(t, fabric.BlockDevice(t, 10*time.Second, nqn, 1))
		fabric.Run(t, "udevadm", "settle") // it reads what was unmounted: a read that is under way makes the kernel complain
		fabric.Run(t, "nvme", "disconnect", "-n", nqn)
	}
	noComplaints(t)
}

// fileSystem makes one, puts 64 MB of noise on it and reads them back from the target.
func fileSystem(t *testing.T, device string) {
	t.Helper()
	dir := t.TempDir()
	// Not crypto/rand: for that much it would hold up this process, the target in it included, for longer than a keep alive takes.
	noise := make([]byte, 0, 64<<20)
	for source := rand.NewPCG(1, 2); len(noise) < cap(noise); {
		noise = binary.NativeEndian.AppendUint64(noise, source.Uint64())
	}
	fabric.Run(t, "mkfs.ext4", "-q", "-F", device)
	fabric.Run(t, "mount", device, dir)
	file := filepath.Join(dir, "noise")
	err := os.WriteFile(file, noise, 0o600)
	fabric.Run(t, "umount", dir)
	if err != nil {
		t.Fatal(err)
	}
	fabric.Run(t, "mount", device, dir) // what is read now comes from the target
	got, err := os.ReadFile(file)
	fabric.Run(t, "fstrim", dir)
	fabric.Run(t, "umount", dir)
	if err != nil || string(got) != string(noise) {
		t.Errorf("64 MB read back from %s differ: %v", device, err)
	}
	fabric.Run(t, "fsck.ext4", "-fn", device)
}

// TestSimDiscovery has the kernel hold a connection to the discovery controller, and
// nvme-cli agree with what is configured.
func TestSimDiscovery(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := simulate(t, simulation)
	device := "/dev/" + mustAttach(t, "p1", simPrefix+"cdc", ",discovery,keep_alive_tmo=30")
	name := filepath.Base(device)
	keepFromRule(t, name)
	for attr, want := range map[string]string{"cntrltype": "discovery", "dctype": "cdc", "subsysnqn": simPrefix + "cdc", "kato": "30"} {
		if got := content(t, "/sys/class/nvme/"+name+"/"+attr); got != want {
			t.Errorf("%s is %s, not %s", attr, got, want)
		}
	}
	var page struct {
		Genctr  uint64
		Records []struct{ Subtype, Traddr, Trsvcid, Subnqn string }
	}
	discover := func() {
		t.Helper()
		page.Records = nil
		if err := json.Unmarshal([]byte(fabric.Run(t, "nvme", "discover", "-d", name, "-o", "json")), &page); err != nil {
			t.Fatal(err)
		}
	}
	discover()
	if n := len(page.Records); n != 5 || page.Records[1].Subnqn != simPrefix+"sim1" || page.Records[1].Trsvcid != "4500" || page.Records[2].Traddr != "::1" {
		t.Errorf("nvme-cli sees %+v", page.Records)
	}
	if out := fabric.Run(t, "nvme", "supported-log-pages", device); !strings.Contains(out, "LID 0x70") {
		t.Errorf("supported log pages:\n%s", out)
	}
	if out := fabric.Run(t, "nvme", "id-ctrl", device); !strings.Contains(out, "fabricsim") {
		t.Errorf("id-ctrl:\n%s", out)
	}
	registration(t, f, name)

	events, log := fabric.Record(t), f.Events(0)
	if err := f.AddToZone("here", "sim3"); err != nil {
		t.Fatal(err)
	}
	events.Await(t, 5*time.Second, 1, "change", "0x70f002")
	log = f.Events(log[len(log)-1].Seq)
	for _, e := range log {
		if e.Kind == "aen" {
			t.Logf("event on the wire %v after the zone change", e.Time.Sub(log[0].Time))
		}
	}
	generation := page.Genctr
	discover()
	if len(page.Records) != 7 || page.Genctr == generation {
		t.Errorf("nvme-cli sees %d records, generation %d after %d", len(page.Records), page.Genctr, generation)
	}
	// The kernel reads whatever changed under it again, and nvme-cli's own connections are clean, too.
	if n := strings.Count(fabric.Run(t, "nvme", "discover", "-t", "tcp", "-a", "127.0.0.1", "-s", "4500"), "subnqn:"); n != 7 {
		t.Errorf("nvme discover lists %d entries", n)
	}
	fabric.Run(t, "nvme", "connect-all", "-t", "tcp", "-a", "127.0.0.1", "-s", "4500")
	fabric.Eventually(t, 10*time.Second, func() error {
		for i := range 3 {
			if n := len(fabric.Live(t, fmt.Sprintf("%ssim%d", simPrefix, i+1))); n != 2 {
				return fmt.Errorf("sim%d has %d paths after connect-all", i+1, n)
			}
		}
		return nil
	})
	if all := fabric.Controllers(t); len(all) != 7 { // and the discovery controller
		t.Errorf("connect-all made %d controllers: %+v", len(all)-1, all)
	}
	noComplaints(t)
}

// registration registers and deregisters by nvme-cli.
func registration(t *testing.T, f *fabricsim.Fabric, name string) {
	t.Helper()
	fabric.Run(t, "nvme", "dim", "--task=register", "--device="+name)
	r := f.Hosts().Registrations
	if len(r) != 1 || r[0].HostNQN != hostNQN(t) || r[0].HostID != hostID(t) || r[0].Type != "host" {
		t.Errorf("registered: %+v", r)
	}
	fabric.Run(t, "nvme", "dim", "--task=deregister", "--device="+name)
	if r := f.Hosts().Registrations; len(r) != 0 {
		t.Errorf("still registered: %+v", r)
	}
}

// TestSimRestart ends the target and plays it anew: the kernel comes back to the same
// namespaces by itself. When the subsystem is gone for good it gives up at once.
func TestSimRestart(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	cfg, err := fabricsim.ParseConfig(strings.NewReader(simulation))
	if err != nil {
		t.Fatal(err)
	}
	first, err := fabricsim.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	nqn := simPrefix + "sim1"
	name, err := attach(t, "p1", nqn, ",reconnect_delay=1,ctrl_loss_tmo=30")
	device := ""
	if err == nil {
		device = fabric.BlockDevice(t, 10*time.Second, nqn, 1)
	}
	first.Close()
	if err != nil {
		t.Fatal(err)
	}
	f := play(t, cfg)
	fabric.AwaitLive(t, 20*time.Second, nqn)
	if again := fabric.BlockDevice(t, 10*time.Second, nqn, 1); again != device {
		t.Errorf("%s is %s after the restart", device, again)
	}
	if live := fabric.Live(t, nqn); len(live) != 1 || live[0].Name != name {
		t.Errorf("controllers after the restart: %+v", live)
	}
	if err := f.RemoveSubsystem("sim1"); err != nil {
		t.Fatal(err)
	}
	if !kernelSince(t, 6, 10) { // before, it does not look at "do not retry" (nvmf_should_reconnect)
		fabric.Never(t, 3*time.Second, func() error {
			if state := content(t, "/sys/class/nvme/"+name+"/state"); state != "connecting" && state != "resetting" {
				return fmt.Errorf("%s is %s", name, state)
			}
			return nil
		})
		// Linux 6.1 gives no end to one that it cannot reconnect before ctrl_loss_tmo has passed.
		fabric.Run(t, "nvme", "disconnect", "-d", name)
	}
	fabric.AwaitGone(t, 40*time.Second, nqn)
}

// TestSimMisbehaviour shows what the kernel makes of a target that misbehaves.
func TestSimMisbehaviour(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := simulate(t, simulation)
	// The kernel's own bounds are 3 s for TCP and 10 s for ICResp. Where a connection breaks while an admin command is
	// under way it does not notice, but waits 60 s for the answer: STAS_LONG=1 tries these, too.
	const long = true
	// Linux 6.1 does not count how much of ICResp it got, takes half of one for a whole, and waits for an answer to Connect then. Nor does
	// it look at the length of a header.
	recent := kernelSince(t, 6, 12)
	var badHeader error
	noICResp, halfICResp, headerText := syscall.EINVAL, syscall.EIO, ""
	if recent {
		noICResp, halfICResp, badHeader, headerText = syscall.ECONNRESET, syscall.ECONNRESET, syscall.EIO, "unexpected header length"
	}
	for _, tt := range []struct {
		port, step, action string
		want               error
		log                string // in the kernel's log
		long               bool
	}{
		{"p1", "", "refuse", syscall.ECONNREFUSED, "", false},
		{"p1", "", "blackhole", syscall.ETIMEDOUT, "", false},
		{"", "accept", "close", noICResp, "", false},
		{"", "icreq", "silent", syscall.EAGAIN, "", false},
		{"", "icreq", "close", noICResp, "", false},
		{"", "icreq", "bad-digest", syscall.EINVAL, "digest", false},
		{"", "icreq", "terminate", syscall.EINVAL, "", long},
		{"", "connect", "status=0x4181", syscall.EIO, "16769", false},
		{"", "connect", "status=0x4184", syscall.EIO, "16772", false},
		{"", "connect", "close", syscall.EIO, "", long},
		{"", "connect", "silent", syscall.EIO, "", long},
		{"", "connect", "truncate", syscall.EIO, "", long},
		{"", "connect", "terminate", syscall.EIO, "C2HTermReq", long},
		{"", "connect", "bad-cid", syscall.EIO, "", long},
		{"", "connect", "bad-header", badHeader, headerText, long},
		{"", "property-get", "status=0x4006", syscall.EIO, "Property Get error", false},
		{"", "identify", "status=0x4006", syscall.EIO, "Identify Controller failed", false},
		{"", "identify", "close", syscall.EIO, "", long},
		{"", "identify", "silent", syscall.EIO, "", long},
		{"", "io-connect", "status=0x4181", syscall.EIO, "16769", false},
		{"", "connect", "delay=1s", nil, "", false},
		{"", "icreq", "truncate", halfICResp, "", long},
	} {
		t.Run(tt.step+" "+tt.action, func(t *testing.T) {
			if tt.long && os.Getenv("STAS_LONG") == "" {
				t.Skip("takes a minute")
			}
			mark(t)
			fault := fabricsim.FaultConfig{Name: "x", Port: tt.port, Step: tt.step, Action: tt.action}
			if err := f.AddFault(fault); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			name, err := attach(t, "p1", simPrefix+"sim1", "")
			t.Logf("%v after %v", err, time.Since(began).Round(time.Millisecond))
			if rerr := f.RemoveFault("x"); rerr != nil {
				t.Fatal(rerr)
			}
			reset := tt.step == "accept" && errors.Is(err, syscall.ECONNRESET) // when the kernel had not sent yet
			if !errors.Is(err, tt.want) && !reset {
				t.Errorf("connect gave %v, want %v", err, tt.want)
			}
			if err == nil {
				fabric.Run(t, "nvme", "disconnect", "-d", name)
			}
			if text := dmesg(t); !strings.Contains(text, tt.log) {
				t.Errorf("the kernel's log lacks %q:\n%s", tt.log, text)
			}
		})
	}
	if _, err := attach(t, "p1", simPrefix+"private", ""); !errors.Is(err, syscall.EIO) {
		t.Errorf("subsystem of another zone: %v", err)
	}
	mustAttach(t, "p1", simPrefix+"sim1", "") // and it is still there for those who behave
}

// TestSimKeys has the kernel authenticate with fabricsim.
func TestSimKeys(t *testing.T) {
	wide(t)
	needKernel(t, "CONFIG_NVME_AUTH", "CONFIG_NVME_HOST_AUTH")
	fabric.Clean(t)
	key := strings.TrimSpace(fabric.Run(t, "nvme", "gen-dhchap-key", "-n", hostNQN(t), "-m", "1"))
	ctrl := strings.TrimSpace(fabric.Run(t, "nvme", "gen-dhchap-key", "-n", hostNQN(t)))
	other := strings.TrimSpace(fabric.Run(t, "nvme", "gen-dhchap-key", "-n", hostNQN(t)))
	for _, how := range []string{"dhchap-dhgroup = null", "dhchap-dhgroup = ffdhe2048\ndhchap-hash = sha512"} {
		t.Run(how, func(t *testing.T) {
			simulate(t, simulation+"[host me]\nnqn = "+hostNQN(t)+"\ndhchap-key = "+key+"\ndhchap-ctrl-key = "+ctrl+"\n"+how+"\n")
			nqn := simPrefix + "sim1"
			for _, tt := range []struct {
				options string
				ok      bool
			}{
				{",dhchap_secret=" + key, true},
				{",dhchap_secret=" + key + ",dhchap_ctrl_secret=" + ctrl, true},
				{",dhchap_secret=" + other, false},
				{",dhchap_secret=" + key + ",dhchap_ctrl_secret=" + other, false},
				{"", false},
			} {
				name, err := attach(t, "p1", nqn, tt.options)
				if (err == nil) != tt.ok {
					t.Errorf("connect gave %v, want success %t\n%s", err, tt.ok, dmesg(t))
				}
				if err == nil {
					fabric.BlockDevice(t, 10*time.Second, nqn, 1)
					fabric.Run(t, "nvme", "disconnect", "-d", name)
				}
			}
		})
	}
}

// TestSimAnnounce has Avahi announce a discovery controller, at its new address when it moves, and say goodbye.
func TestSimAnnounce(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	fabric.Dummy(t, "stas-d0", "198.19.0.1/24")
	fabric.Dummy(t, "stas-d1", "198.19.1.1/24")
	cfg, err := fabricsim.ParseConfig(strings.NewReader("[fabricsim]\nannounce = yes\n[port p1]\naddress = 198.19.0.1\nservice = 4500\n" +
		"[dc cdc]\ntype = cdc\nnqn = " + simPrefix + "cdc\nports = p1\n"))
	if err != nil {
		t.Fatal(err)
	}
	fabric.Start(t, "avahi-daemon")
	t.Cleanup(func() { fabric.Stop(t, "avahi-daemon.socket", "avahi-daemon.service") })
	f := play(t, cfg)
	announced := func(want ...string) func() error {
		return func() error {
			list := fabric.Run(t, "avahi-browse", "--resolve", "--parsable", "--terminate", "_cdc._sub._nvme-disc._tcp")
			for _, w := range want {
				if !strings.Contains(list, w) {
					return fmt.Errorf("%q is not in\n%s", w, list)
				}
			}
			if len(want) == 0 && strings.Contains(list, "fabricsim") {
				return fmt.Errorf("there is still\n%s", list)
			}
			return nil
		}
	}
	fabric.Eventually(t, 30*time.Second, announced(";198.19.0.1;4500;", "nqn="+simPrefix+"cdc", "p=tcp"))
	if err := f.MovePort("p1", netip.MustParseAddrPort("198.19.1.1:4600")); err != nil {
		t.Fatal(err)
	}
	fabric.Eventually(t, 30*time.Second, announced(";198.19.1.1;4600;"))
	f.Close()
	fabric.Eventually(t, 30*time.Second, announced())
}
