//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/test/fabric"
)

// announcedFabric is a centralized discovery controller that mDNS announces, two paths
// to each of three subsystems, and a referral to an address that swallows SYNs.
const announcedFabric = `
[fabricsim]
announce = yes
[port cdc]
address = 198.19.0.1
service = 8009
[port hole]
address = 198.19.0.1
service = 8010
[port p1]
address = 198.19.0.1
service = 4500
[port p2]
address = 198.19.0.1
service = 4501
[dc cdc]
type = cdc
nqn = nqn.2024-01.org.example:cdc
ports = cdc
zoning = yes
epcsd = yes
referral = nvme+tcp://198.19.0.1:8010
[subsystem sim]
nqn = nqn.2024-01.org.example:sim
count = 3
ports = p1 p2
namespace = 64M
[fault hole]
port = hole
action = blackhole
`

// simOwned waits until exactly these subsystems have two live paths each that are ours.
func simOwned(t *testing.T, within time.Duration, names ...string) time.Duration {
	t.Helper()
	return fabric.Eventually(t, within, func() error {
		paths := make(map[string]int)
		for _, c := range fabric.Controllers(t) {
			if c.Type == "io" && c.State == "live" && c.Owner() == "stas" {
				paths[strings.TrimPrefix(c.NQN, simPrefix)]++
			} else if c.Type == "io" {
				return fmt.Errorf("%s (%s) is %s, owner %q", c.Name, c.NQN, c.State, c.Owner())
			}
		}
		for _, name := range names {
			if paths[name] != 2 {
				return fmt.Errorf("%s has %d paths", name, paths[name])
			}
		}
		if len(paths) != len(names) {
			return fmt.Errorf("connected are %v, wanted %v", paths, names)
		}
		return nil
	})
}

// withCDC starts the daemons beside an announced CDC whose zone "here" holds this host,
// sim1 and sim2, and waits until both are connected.
func withCDC(t *testing.T) *fabricsim.Fabric {
	t.Helper()
	fabric.Clean(t)
	multicast(t)
	fabric.Configure(t, "stafd.conf", "[Global]\nignore-iface=true\n")
	fabric.Configure(t, "stacd.conf", "")
	cfg, err := fabricsim.ParseConfig(strings.NewReader(announcedFabric))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Zones = []fabricsim.ZoneConfig{{Name: "here", Members: []string{hostNQN(t), "sim1", "sim2"}}}
	startAvahi(t)
	f := play(t, cfg)
	began := time.Now()
	fabric.Start(t, "stafd", "stacd")
	t.Cleanup(func() { fabric.Stop(t, "stacd", "stafd") })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("stafctl status:\n%s", fabric.Run(t, "stafctl", "status"))
		}
	})
	simOwned(t, 30*time.Second, "sim1", "sim2")
	t.Logf("all connected %v after the daemons were started", time.Since(began).Round(time.Millisecond))
	return f
}

// TestCDC has the daemons find a CDC by mDNS: they register, connect what the host's zones hold, and follow each change of the zones at once. A
// dead discovery controller among its referrals delays none of that.
func TestCDC(t *testing.T) {
	long(t)
	f := withCDC(t)
	fabric.Eventually(t, 5*time.Second, func() error {
		r := f.Hosts().Registrations
		if len(r) != 1 || r[0].HostNQN != hostNQN(t) || r[0].HostID != hostID(t) || r[0].Address == "" {
			return fmt.Errorf("registered are %+v", r)
		}
		return nil
	})
	for _, change := range []struct {
		do   func() error
		want []string
	}{
		{func() error { return f.AddToZone("here", "sim3") }, []string{"sim1", "sim2", "sim3"}},
		{func() error { return f.RemoveFromZone("here", "sim1") }, []string{"sim2", "sim3"}},
		{func() error { return f.AddToZone("other", hostNQN(t), "sim1") }, []string{"sim1", "sim2", "sim3"}},
		{func() error { return f.RemoveFromZone("here", hostNQN(t)) }, []string{"sim1"}},
	} {
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%v after %v", change.want, simOwned(t, 20*time.Second, change.want...).Round(time.Millisecond))
	}
	// The discovery controller goes away for a while: nothing is taken for that.
	before := fabric.Live(t, simPrefix+"sim1")
	if err := f.SetPort("cdc", fabricsim.PortDown); err != nil {
		t.Fatal(err)
	}
	fabric.Never(t, 3*time.Second, func() error {
		if n := len(fabric.Live(t, simPrefix+"sim1")); n != 2 {
			return fmt.Errorf("sim1 has %d paths", n)
		}
		return nil
	})
	if err := f.AddToZone("other", "sim2"); err != nil { // while nobody can hear it
		t.Fatal(err)
	}
	if err := f.SetPort("cdc", fabricsim.PortUp); err != nil {
		t.Fatal(err)
	}
	t.Logf("zone change in the meantime is there %v after the controller is back", simOwned(t, 30*time.Second, "sim1", "sim2").Round(time.Millisecond))
	fabric.Unharmed(t, before)
	fabric.Eventually(t, 5*time.Second, func() error {
		if n := len(f.Hosts().Registrations); n != 1 {
			return fmt.Errorf("%d hosts are registered after the reconnect", n)
		}
		return nil
	})
}

// TestCDCMisbehaves serves log pages that are wrong in every way. While they are, nothing
// is taken away; when they are right again, what has changed meanwhile is followed.
func TestCDCMisbehaves(t *testing.T) {
	long(t)
	f := withCDC(t)
	events := fabric.Record(t)
	for _, tt := range []struct {
		action string
		step   string
	}{
		{action: "moving-genctr"},
		{action: "stuck-genctr"},
		{action: "garbage"},
		{action: "numrec=5000"},
		{action: "numrec=0xffffffffffff"},
		{action: "discover-restart"},
		{action: "status=0x6", step: "discovery-log"},
		{action: "short", step: "discovery-log"},
		{action: "truncate", step: "discovery-log"}, // and the connection ends
		{action: "delay=1s", step: "discovery-log"},
		{action: "aen-storm=20ms"},
	} {
		t.Run(tt.action, func(t *testing.T) {
			if err := f.AddFault(fabricsim.FaultConfig{Name: "x", Subsystem: "cdc", Action: tt.action, Step: tt.step}); err != nil {
				t.Fatal(err)
			}
			if err := f.AddToZone("here", "sim3"); err != nil { // has the page read
				t.Fatal(err)
			}
			fabric.Never(t, 2*time.Second, func() error {
				if n := events.Count("remove", ""); n > 0 {
					return fmt.Errorf("%d controllers were removed", n)
				}
				return nil
			})
			if err := f.RemoveFault("x"); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, _ = f.RaiseAEN("cdc", "")
			simOwned(t, 40*time.Second, "sim1", "sim2", "sim3")
			t.Logf("followed %v after the page was right again", time.Since(began).Round(time.Millisecond))
			if err := f.RemoveFromZone("here", "sim3"); err != nil {
				t.Fatal(err)
			}
			simOwned(t, 20*time.Second, "sim1", "sim2")
			events = fabric.Record(t)
		})
	}
}
