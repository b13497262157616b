//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// TestBesideZoneChanges changes the zones a hundred times while nvme-cli's autoconnect rules are in force, and both exclusion lists
// name a subsystem that the zones hold: the target never sees a connect to those, the journal has a line a change and no more, nobody meets
// a connection that another has just made, and a connection made by hand stays what it is.
func TestBesideZoneChanges(t *testing.T) {
	long(t)
	const rule = "/usr/lib/udev/rules.d/70-nvmf-autoconnect.rules"
	if text, err := os.ReadFile(rule); err != nil || !strings.Contains(string(text), "0x70f002") {
		t.Fatalf("nvme-cli's rule is not there: %v", err)
	}
	fabric.Clean(t)
	// One path each, so that a change is one connect or one disconnect.
	f := simulate(t, strings.NewReplacer("count = 3", "count = 8", "ports = p1 p2", "ports = p1").Replace(simulation))
	exclude(t, "nqn="+simPrefix+"sim3")
	fabric.Configure(t, "stacd.conf", "[Controllers]\nexclude=nqn="+simPrefix+"sim2\n")
	startStafd(t, noMDNS+controllers("transport=tcp;traddr=127.0.0.1;trsvcid=4500"))
	fabric.Start(t, "stacd")
	t.Cleanup(func() { fabric.Stop(t, "stacd") })
	simOnce(t, patience, "sim1")
	byHand := mustAttach(t, "p1", simPrefix+"sim8", "")
	hand := fabric.Live(t, simPrefix+"sim8")
	owned := func(within time.Duration, names ...string) {
		t.Helper()
		fabric.Eventually(t, within, func() error {
			live := map[string]string{}
			for _, c := range iocs(t) {
				if c.Name != byHand {
					live[strings.TrimPrefix(c.NQN, simPrefix)] = c.State + " " + c.Owner()
				}
			}
			for _, name := range names {
				if live[name] != "live stas" {
					return fmt.Errorf("%s is %q", name, live[name])
				}
			}
			if len(live) != len(names) {
				return fmt.Errorf("connected are %v, wanted %v", live, names)
			}
			return nil
		})
	}
	owned(patience, "sim1")
	before, events, since := append(fabric.Live(t, simPrefix+"sim1"), hand...), fabric.Record(t), time.Now()
	const changes = 100
	in := map[string]bool{"sim2": true} // in the zone at first
	for range changes {
		// What is excluded comes and goes, too.
		name := fmt.Sprintf("sim%d", 2+rand.N(6))
		change := f.AddToZone
		if in[name] {
			change = f.RemoveFromZone
		}
		must(t, change("here", name))
		in[name] = !in[name]
		want := []string{"sim1"}
		for _, n := range []string{"sim4", "sim5", "sim6", "sim7"} {
			if in[n] {
				want = append(want, n)
			}
		}
		owned(patience, want...)
	}
	fabric.Never(t, quiet, func() error { return nil })
	for _, e := range f.Events(0) {
		if e.Kind == "connect" && (e.Subsystem == "sim2" || e.Subsystem == "sim3" || strings.Contains(e.Detail, "sim2") || strings.Contains(e.Detail, "sim3")) {
			t.Errorf("connect to what is excluded: %+v", e)
		}
	}
	text := fabric.Journal(t, since, "stafd", "stacd")
	lines := strings.Count(text, "\n")
	t.Logf("%d lines in the journal for %d changes", lines, changes)
	if lines > changes {
		t.Errorf("more lines than changes:\n%s", text)
	}
	for line := range strings.Lines(fabric.Journal(t, since)) {
		if strings.Contains(line, "nvmf-connect") || strings.Contains(line, "connect-all") {
			t.Errorf("nvme-cli was started for our discovery controller: %s", line)
		}
	}
	if strings.Contains(text, "already") {
		t.Errorf("the daemons met a connection of somebody else:\n%s", text)
	}
	for line := range strings.SplitSeq(dmesg(t), "\n") {
		if low := strings.ToLower(line); strings.Contains(low, "nvme") && (strings.Contains(low, "already") || strings.Contains(low, "duplicate") || strings.Contains(line, "-114")) {
			t.Errorf("the kernel says: %s", line)
		}
	}
	nothingLost(t, before, events)
	if o := hand[0].Owner(); o != "" {
		t.Errorf("the connection made by hand has owner %q", o)
	}
}

// TestBesideNvmeCLI has an administrator work with nvme-cli 2.x, which has no registry: what it disconnects that is wanted is made again; what it
// connects that is wanted becomes ours; what is not wanted stays unowned and is left alone.
func TestBesideNvmeCLI(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := simulate(t, strings.NewReplacer("count = 3", "count = 5", "ports = p1 p2", "ports = p1").Replace(simulation))
	startBoth(t, noMDNS+controllers("transport=tcp;traddr=127.0.0.1;trsvcid=4500"))
	simOnce(t, patience, "sim1", "sim2")

	// nvme disconnect-all takes everything, ours too. All of it comes back, the discovery controller included.
	fabric.Run(t, "nvme", "disconnect-all")
	began := time.Now()
	simOnce(t, patience, "sim1", "sim2")
	t.Logf("connected again %v after nvme disconnect-all", time.Since(began).Round(time.Millisecond))
	awaitDC(t, patience, "127.0.0.1:4500")
	registryRight(t, patience)

	// By hand, not wanted: left alone, whatever changes.
	fabric.Run(t, "nvme", "connect", "-t", "tcp", "-a", "127.0.0.1", "-s", "4500", "-n", simPrefix+"sim5")
	fabric.AwaitLive(t, patience, simPrefix+"sim5")
	hand, events := fabric.Live(t, simPrefix+"sim5"), fabric.Record(t)
	// By hand a moment before it is listed: it becomes ours, and there is no second one.
	fabric.Run(t, "nvme", "connect", "-t", "tcp", "-a", "127.0.0.1", "-s", "4500", "-n", simPrefix+"sim3")
	must(t, f.AddToZone("here", "sim3"))
	fabric.Eventually(t, patience, func() error {
		if c := fabric.Live(t, simPrefix+"sim3"); len(c) != 1 || c[0].Owner() != "stas" {
			return fmt.Errorf("sim3: %+v", c)
		}
		return nil
	})
	// nvme disconnect of one of ours that is wanted: made again.
	fabric.Run(t, "nvme", "disconnect", "-n", simPrefix+"sim3")
	fabric.Eventually(t, 10*time.Second, func() error {
		if c := fabric.Live(t, simPrefix+"sim3"); len(c) != 1 || c[0].Owner() != "stas" {
			return fmt.Errorf("sim3: %+v", c)
		}
		return nil
	})
	// stacctl disconnect-all respects the registry: unowned ones only.
	out := fabric.Run(t, "stacctl", "disconnect-all")
	fabric.AwaitGone(t, patience, simPrefix+"sim5")
	fabric.Never(t, quiet, func() error {
		for _, name := range []string{"sim1", "sim2", "sim3"} {
			if n := len(fabric.Live(t, simPrefix+name)); n != 1 {
				return fmt.Errorf("%s has %d connections after stacctl disconnect-all: %s", name, n, out)
			}
		}
		return nil
	})
	if slices.ContainsFunc(events.Events(), func(e fabric.Uevent) bool {
		return e.Name == hand[0].Name && e.Action == "add"
	}) {
		t.Errorf("%s was made again", hand[0].Name)
	}
}
