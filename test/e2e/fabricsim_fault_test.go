//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/test/fabric"
)

// mark makes dmesg begin here.
func mark(t *testing.T) { _ = os.WriteFile("/dev/kmsg", []byte("<5>stas-test: === "+t.Name()), 0) }

// awaitLog waits for a line of the kernel's log.
func awaitLog(t *testing.T, within time.Duration, line string) {
	t.Helper()
	fabric.Eventually(t, within, func() error {
		if text := dmesg(t); !strings.Contains(text, line) {
			return fmt.Errorf("the kernel's log lacks %q:\n%s", line, text)
		}
		return nil
	})
}

// readBlock reads one block past the page cache.
func readBlock(device string) error {
	return fabric.Try("dd", "if="+device, "of=/dev/null", "bs=4096", "count=1", "iflag=direct", "status=none")
}

// TestSimBreaks breaks connections that work. The kernel says what it saw, makes the connection anew, and what was read
// or written meanwhile succeeds.
func TestSimBreaks(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := simulate(t, simulation)
	nqn := simPrefix + "sim1"
	const recovery = "starting error recovery"
	for _, tt := range []struct {
		fault   fabricsim.FaultConfig
		options string
		log     string
	}{
		{fabricsim.FaultConfig{Action: "drop-after=5s", Times: 1}, "", "Reconnecting in 1 seconds"},
		{fabricsim.FaultConfig{Step: "keep-alive", Action: "silent", Times: 1}, ",keep_alive_tmo=1", recovery},
		{fabricsim.FaultConfig{Step: "read", Action: "close", Times: 1}, "", recovery},
		{fabricsim.FaultConfig{Step: "read", Action: "truncate", Times: 1}, "", recovery},
		{fabricsim.FaultConfig{Step: "read", Action: "bad-header", Times: 1}, "", recovery},
		{fabricsim.FaultConfig{Step: "read", Action: "bad-cid", Times: 1}, "", recovery},
		{fabricsim.FaultConfig{Step: "read", Action: "terminate", Times: 1}, "", recovery},
		{fabricsim.FaultConfig{Step: "read", Action: "bad-digest", Times: 1}, ",hdr_digest,data_digest", "digest"},
	} {
		t.Run(tt.fault.Step+" "+tt.fault.Action, func(t *testing.T) {
			if tt.fault.Action == "bad-header" && !kernelSince(t, 6, 12) {
				t.Skip("Linux 6.1 does not look at the length of the header")
			}
			mark(t)
			t.Cleanup(func() { // also where the rest was not reached
				_ = f.RemoveFault("x")
				_ = fabric.Try("nvme", "disconnect-all")
			})
			tt.fault.Name, tt.fault.Subsystem = "x", "sim1"
			late := tt.fault.Step == "read" // or what the kernel reads when it connects would take the fault
			if !late {
				must(t, f.AddFault(tt.fault))
			}
			mustAttach(t, "p1", nqn, ",reconnect_delay=1"+tt.options)
			device := fabric.BlockDevice(t, 10*time.Second, nqn, 1)
			if late {
				must(t, f.AddFault(tt.fault))
				must(t, readBlock(device))
			}
			awaitLog(t, 15*time.Second, tt.log)
			must(t, f.RemoveFault("x"))
			fabric.AwaitLive(t, 10*time.Second, nqn)
			must(t, readBlock(device))
		})
	}
	t.Run("read status", func(t *testing.T) {
		mark(t)
		name := mustAttach(t, "p1", nqn, "")
		device := fabric.BlockDevice(t, 10*time.Second, nqn, 1)
		// Unrecovered Read Error (Base 2.1, figure "Media and Data Integrity Error Values") with DNR; ENODATA is its errno.
		must(t, f.AddFault(fabricsim.FaultConfig{Name: "x", Step: "read", Action: "status=0x4281"}))
		if err := readBlock(device); err == nil || !strings.Contains(err.Error(), "No data available") {
			t.Errorf("reading gave %v", err)
		}
		awaitLog(t, time.Second, "critical medium error")
		must(t, f.RemoveFault("x"))
		must(t, readBlock(device))
		fabric.Run(t, "nvme", "disconnect", "-d", name)
	})
}

// TestSimMoves lets a port disappear in each way, and come back, at another address in the end. The kernel tries the old
// one until it is told otherwise, and knows the same namespaces at the new one.
func TestSimMoves(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := simulate(t, simulation)
	nqn := simPrefix + "sim1"
	name := mustAttach(t, "p1", nqn, ",reconnect_delay=1,ctrl_loss_tmo=-1")
	device := fabric.BlockDevice(t, 10*time.Second, nqn, 1)
	for _, gone := range []struct {
		state fabricsim.PortState
		log   string
	}{{fabricsim.PortDown, "failed to connect socket: -111"}, {fabricsim.PortBlackhole, "failed to connect socket: -110"}} {
		mark(t)
		must(t, f.SetPort("p1", gone.state))
		awaitLog(t, 15*time.Second, gone.log)
		must(t, f.SetPort("p1", fabricsim.PortUp))
		t.Logf("live %v after the port is no longer %s", fabric.Eventually(t, 15*time.Second, func() error {
			if len(fabric.Live(t, nqn)) != 1 {
				return fmt.Errorf("%s is not live", name)
			}
			return nil
		}).Round(time.Millisecond), gone.state)
		must(t, readBlock(device))
	}
	must(t, f.MovePort("p1", netip.MustParseAddrPort("127.0.0.2:4600")))
	fabric.Eventually(t, 10*time.Second, func() error {
		if state := content(t, "/sys/class/nvme/"+name+"/state"); state != "connecting" {
			return fmt.Errorf("%s is %s although nobody is at its address", name, state)
		}
		return nil
	})
	second, err := fabric.Connect("transport=tcp,traddr=127.0.0.2,trsvcid=4600,nqn=" + nqn + ",hostnqn=" + hostNQN(t) + ",hostid=" + hostID(t))
	must(t, err)
	fabric.AwaitLive(t, 10*time.Second, nqn)
	if live := fabric.Live(t, nqn); len(live) != 1 || live[0].Name != second {
		t.Errorf("live are %+v, not %s alone", live, second)
	}
	if again := fabric.BlockDevice(t, 10*time.Second, nqn, 1); again != device {
		t.Errorf("%s is %s at the new address", device, again)
	}
	must(t, readBlock(device))
}

// TestSimPages has nvme-cli read pages that are wrong, over a connection that the kernel holds and that nothing of this
// harms: a page is bytes to the kernel.
func TestSimPages(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := simulate(t, simulation)
	name := mustAttach(t, "p1", simPrefix+"cdc", ",discovery,keep_alive_tmo=30")
	keepFromRule(t, name)
	cntlid := content(t, "/sys/class/nvme/"+name+"/cntlid")
	mark(t)
	type log struct {
		Genctr  uint64
		Records []struct{ Subnqn string }
	}
	read := func() (page log, err error) {
		t.Helper()
		file := t.TempDir() + "/page"
		if err := fabric.Try("sh", "-c", "nvme discover -d "+name+" -o json >"+file); err != nil {
			return page, err
		}
		return page, json.Unmarshal([]byte(content(t, file)), &page)
	}
	good, err := read()
	must(t, err)
	recent := kernelSince(t, 6, 12) // then nvme-cli is so, too: that of Debian 12 takes a page whose generation moves
	for _, tt := range []struct {
		action, step string
		check        func(page log, err error, took time.Duration) bool // nil: nvme-cli may think what it likes
	}{
		{"moving-genctr", "", func(_ log, err error, _ time.Duration) bool { return err != nil || !recent }},
		{"stuck-genctr", "", func(p log, err error, _ time.Duration) bool { return err == nil && p.Genctr == 1 }},
		{"discover-restart", "", func(_ log, err error, _ time.Duration) bool { return err != nil }},
		{"status=0x6", "discovery-log", func(_ log, err error, _ time.Duration) bool { return err != nil }},
		{"delay=500ms", "discovery-log", func(p log, err error, took time.Duration) bool {
			return err == nil && len(p.Records) == len(good.Records) && took >= time.Second
		}},
		{"numrec=100", "", nil},
		{"garbage", "", nil},
		{"short", "discovery-log", nil},
	} {
		must(t, f.AddFault(fabricsim.FaultConfig{Name: "x", Subsystem: "cdc", Step: tt.step, Action: tt.action}))
		began := time.Now()
		page, err := read()
		took := time.Since(began)
		must(t, f.RemoveFault("x"))
		t.Logf("%s: nvme-cli sees %d records of generation %d, %v, after %v", tt.action, len(page.Records), page.Genctr, err, took.Round(time.Millisecond))
		if tt.check != nil && !tt.check(page, err, took) {
			t.Errorf("%s: nvme-cli sees %d records of generation %d, %v, after %v", tt.action, len(page.Records), page.Genctr, err, took)
		}
		if page, err := read(); err != nil || len(page.Records) != len(good.Records) {
			t.Errorf("%s: afterwards nvme-cli sees %d records, %v", tt.action, len(page.Records), err)
		}
	}
	if now := content(t, "/sys/class/nvme/"+name+"/cntlid"); now != cntlid {
		t.Errorf("the connection was made anew")
	}
	noComplaints(t)
	simEvents(t, f, name)
}

// simEvents has events suppressed, poured out, and failed.
func simEvents(t *testing.T, f *fabricsim.Fabric, name string) {
	t.Helper()
	const aen = "0x70f002"
	_ = fabric.Run(t, "nvme", "discover", "-d", name) // now an event is armed
	events := fabric.Record(t)
	must(t, f.AddFault(fabricsim.FaultConfig{Name: "x", Subsystem: "cdc", Action: "no-aen"}))
	must(t, f.AddToZone("here", "sim3"))
	fabric.Never(t, time.Second, func() error {
		if n := events.Count("change", aen); n > 0 {
			return fmt.Errorf("%d events although there are to be none", n)
		}
		return nil
	})
	must(t, f.RemoveFault("x"))
	must(t, f.RemoveFromZone("here", "sim3"))
	events.Await(t, 5*time.Second, 1, "change", aen)

	must(t, f.AddFault(fabricsim.FaultConfig{Name: "x", Subsystem: "cdc", Action: "aen-storm=20ms"}))
	events.Await(t, 10*time.Second, 20, "change", aen)
	must(t, f.RemoveFault("x"))
	if state := content(t, "/sys/class/nvme/"+name+"/state"); state != "live" {
		t.Errorf("%s is %s after the storm", name, state)
	}
	noComplaints(t)

	// A request that fails is the last one: the kernel asks again after the next reset only.
	_ = fabric.Run(t, "nvme", "discover", "-d", name)
	before := events.Count("change", aen)
	must(t, f.AddFault(fabricsim.FaultConfig{Name: "x", Subsystem: "cdc", Step: "aen", Action: "status=0x6", Times: 1}))
	_, err := f.RaiseAEN("cdc", "")
	must(t, err)
	must(t, f.AddToZone("here", "sim3"))
	fabric.Never(t, time.Second, func() error {
		if n := events.Count("change", aen); n > before {
			return fmt.Errorf("%d events after a request that failed", n-before)
		}
		return nil
	})
	must(t, f.RemoveFault("x"))
	must(t, os.WriteFile("/sys/class/nvme/"+name+"/reset_controller", []byte("1"), 0))
	events.Await(t, 5*time.Second, 1, "change", "rediscover")
	must(t, f.RemoveFromZone("here", "sim3"))
	events.Await(t, 5*time.Second, before+1, "change", aen)
}
