//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/test/fabric"
)

// startAvahi starts it until the end of the test.
func startAvahi(t *testing.T) {
	t.Helper()
	fabric.Start(t, "avahi-daemon")
	t.Cleanup(func() { fabric.Stop(t, "avahi-daemon.socket", "avahi-daemon.service") })
}

// multicast makes an interface with an address of this host that Avahi uses. What is announced there is reached by loopback only, which
// takes ignore-iface.
func multicast(t *testing.T) {
	t.Helper()
	fabric.Dummy(t, "stas-d0", "198.19.0.1/24")
	fabric.Run(t, "ip", "link", "set", "stas-d0", "multicast", "on")
}

// zeroconf is a CDC with zoning behind an interface, as others see one: in a network namespace of its own.
const zeroconf = `
[fabricsim]
announce = yes
[port cdc]
address = 198.19.2.2
[port io]
address = 198.19.2.3
service = 4420
[dc cdc]
type = cdc
nqn = nqn.2024-01.org.example:cdc
ports = cdc
zoning = yes
[subsystem sim]
nqn = nqn.2024-01.org.example:sim
count = 3
ports = io
namespace = 64M
hosts = zoned
[zone here]
members = sim1 sim2 `

// TestFinderZeroConf starts the daemons without any configuration beside a CDC that mDNS announces: this host is registered, what its zone
// holds is connected, and each change of the zone is followed. Then Avahi goes and comes back: nothing changes for that.
func TestFinderZeroConf(t *testing.T) {
	fabric.Clean(t)
	ctl := playRemote(t, zeroconf+hostNQN(t)+"\n", "198.19.2.2/24", "198.19.2.3/24")
	fabric.Run(t, "ip", "addr", "add", "198.19.2.1/24", "dev", "stas-v0")
	startAvahi(t)
	startBoth(t, "")
	began := time.Now()
	simOnce(t, 30*time.Second, "sim1", "sim2")
	t.Logf("connected %v after the daemons were started", time.Since(began).Round(time.Millisecond))
	if c := awaitDC(t, time.Second, "198.19.2.2:8009"); c.Field("host_iface") != "stas-v0" {
		t.Errorf("the interface is not that of the announcement: %s", c.Address)
	}
	fabric.Eventually(t, 5*time.Second, func() error {
		var hosts fabricsim.HostsStatus
		must(t, json.Unmarshal([]byte(ctl("hosts", "-o", "json")), &hosts))
		if r := hosts.Registrations; len(r) != 1 || r[0].HostNQN != hostNQN(t) || r[0].HostID != hostID(t) {
			return fmt.Errorf("registered are %+v", r)
		}
		return nil
	})
	follow := func(verb, name string, want ...string) {
		t.Helper()
		ctl("zone", verb, "here", name)
		t.Logf("%s %s: followed after %v", verb, name, simOnce(t, 2*reaction, want...).Round(time.Millisecond))
	}
	follow("add", "sim3", "sim1", "sim2", "sim3")
	follow("remove", "sim3", "sim1", "sim2")

	before, events := fabric.Controllers(t), fabric.Record(t)
	same := func() error {
		if n := events.Count("remove", "") + events.Count("add", ""); n > 0 {
			return fmt.Errorf("%d controllers came or went", n)
		}
		return nil
	}
	fabric.Stop(t, "avahi-daemon.socket", "avahi-daemon.service")
	fabric.Never(t, 15*time.Second, same)
	fabric.Start(t, "avahi-daemon")
	fabric.Never(t, 5*time.Second, same)
	fabric.Stop(t, "avahi-daemon.socket", "avahi-daemon.service")
	follow("add", "sim3", "sim1", "sim2", "sim3")
	follow("remove", "sim3", "sim1", "sim2")
	nothingLost(t, before, events)
}

// publish announces a discovery controller by a process of its own, and gives what says goodbye.
func publish(t *testing.T, service string) (goodbye func()) {
	t.Helper()
	cmd := exec.Command("avahi-publish", "-s", "cdc", "_nvme-disc._tcp", service, "p=tcp", "nqn="+simPrefix+"cdc")
	must(t, cmd.Start())
	done := false
	goodbye = func() {
		if !done {
			done = true
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}
	}
	t.Cleanup(goodbye)
	return goodbye
}

// TestFinderAnnounced follows the announcement of one discovery controller: family as configured, kept after the
// goodbye for as long as it can be reached, given up after the retention when it cannot, and there again with its announcement.
func TestFinderAnnounced(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	multicast(t)
	startAvahi(t)
	f := played(t, "[port cdc]\naddress = 198.19.0.1\n[dc cdc]\ntype = cdc\nnqn = "+simPrefix+"cdc\nports = cdc\n")
	const at, manage = "198.19.0.1:8009", "[Discovery controller connection management]\ndc-giveup-timeout=5s\n"
	goodbye := publish(t, "8009")

	startStafd(t, "[Global]\nignore-iface=true\nip-family=ipv6\n")
	fabric.Never(t, 4*time.Second, func() error {
		if n := connects(f.Events(0), ""); n > 0 {
			return fmt.Errorf("%d connects over IPv4", n)
		}
		return nil
	})
	fabric.Configure(t, "stafd.conf", "[Global]\nip-family=ipv4\nignore-iface=true\n")
	fabric.Reload(t, "stafd")
	if c := awaitDC(t, 10*time.Second, at); c.Field("host_iface") != "" {
		t.Errorf("ignore-iface: %s", c.Address)
	}
	fabric.Stop(t, "stafd")
	fabric.Run(t, "nvme", "disconnect-all")
	paths, _ := filepath.Glob("/run/stafd/pages/*")
	for _, p := range paths {
		must(t, os.RemoveAll(p))
	}
	fabric.Configure(t, "stafd.conf", "[Global]\nignore-iface=true\n"+manage)
	fabric.Start(t, "stafd")
	c := awaitDC(t, 10*time.Second, at)

	events := fabric.Record(t)
	goodbye()
	fabric.Eventually(t, 5*time.Second, func() error {
		if err := fabric.Try("sh", "-c", "avahi-browse -ptr _nvme-disc._tcp | grep -q '^='"); err == nil {
			return errors.New("still announced")
		}
		return nil
	})
	noneRemovedFor(t, 8*time.Second, events)
	fabric.Unharmed(t, []fabric.Controller{c})
	if _, there := seenDCs(t)[at]; !there {
		t.Error("a discovery controller that said goodbye and can be reached is no longer shown")
	}

	// Out of reach, too: it is forgotten when the time is over.
	must(t, f.SetPort("cdc", fabricsim.PortDown))
	began := time.Now() // it is lost before nvme-cli has ended
	fabric.Run(t, "nvme", "disconnect", "-d", c.Name)
	fabric.Eventually(t, 15*time.Second, func() error {
		if d, there := seenDCs(t)[at]; there && d.Disposition != "forgotten" {
			return fmt.Errorf("still there, %s", d.SessionState)
		}
		return nil
	})
	if took := time.Since(began); took < 4*time.Second {
		t.Errorf("given up after %v, not after 5 s", took)
	}
	must(t, f.SetPort("cdc", fabricsim.PortUp))
	publish(t, "8009")
	awaitDC(t, 15*time.Second, at)
}
