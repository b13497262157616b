//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// TestStart starts the daemons in front of fabrics of several sizes: everything is connected, registered and visible to nvme-cli.
func TestStart(t *testing.T) {
	for _, n := range []int{1, 32, 200} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			if n > 100 {
				wide(t)
			}
			_, subs := serve(t, n)
			events, entries, stalls := fabric.Record(t), fabric.WatchRegistry(t), fabric.WatchStalls(t)
			started := time.Now()
			fabric.Start(t, "stafd", "stacd")
			events.Await(t, time.Duration(n)*time.Second/2+20*time.Second, n+1, "change", "connected")
			t.Logf("%d live %v after systemctl start", n, time.Since(started).Round(10*time.Millisecond))
			awaitOwned(t, 5*time.Second, subs...)

			registered(t, events, entries, stalls)
			identified(t, n)
			shown(t, subs)
		})
	}
}

// registered fails the test when controllers were connected longer than 100 ms without an entry that says it is ours, not
// counting the time in which the machine ran nothing at all. One in twenty, and always one, may take up to ten times as long: the machine is
// emulated, and what keeps the worker waiting is not always what keeps the watch for that waiting.
func registered(t *testing.T, events *fabric.Recorder, entries *fabric.Entries, stalls *fabric.Stalls) {
	t.Helper()
	var worst time.Duration
	// An entry can be read before inotify has told of it.
	fabric.Eventually(t, 5*time.Second, func() error {
		all := entries.All()
		for _, e := range events.Events() {
			if e.Env["NVME_EVENT"] == "connected" && !slices.ContainsFunc(all, func(entry fabric.Entry) bool { return entry.Name == e.Name }) {
				return fmt.Errorf("%s: connected and not registered", e.Name)
			}
		}
		return nil
	})
	all := entries.All()
	bound := fabric.SlowNow(100 * time.Millisecond)
	var late []string
	for _, e := range events.Events() {
		if e.Env["NVME_EVENT"] != "connected" {
			continue
		}
		for _, entry := range all {
			if entry.Name != e.Name {
				continue
			}
			after := entry.Time.Sub(e.Time)
			worst = max(worst, after)
			if stalled := stalls.Between(e.Time, entry.Time); after-stalled > bound {
				late = append(late, fmt.Sprintf("%s: registered %v after it was connected, of which the machine stood still for %v", e.Name, after, stalled))
				if after-stalled > 10*bound {
					t.Errorf("far too late: %s", late[len(late)-1])
				}
			}
			if entry.Owner != "stas" {
				t.Errorf("%s: the registry says owner %q", e.Name, entry.Owner)
			}
		}
	}
	t.Logf("longest time from connected to registered: %v", worst.Round(100*time.Microsecond))
	if connected := events.Count("change", "connected"); len(late) > max(1, connected/20) {
		t.Errorf("%d of %d were registered late:\n%s", len(late), connected, strings.Join(late, "\n"))
	}
}

// identified fails the test when a controller does not carry the host's identity, or the discovery controller another keep-alive time.
func identified(t *testing.T, n int) {
	t.Helper()
	var discovery, io int
	for _, c := range fabric.Controllers(t) {
		if c.HostNQN != hostNQN(t) || c.HostID != hostID(t) {
			t.Errorf("%s (%s): hostnqn %q, hostid %q", c.Name, c.NQN, c.HostNQN, c.HostID)
		}
		if !c.Discovery() {
			io++
			continue
		}
		discovery++
		if c.KATO != "30" {
			t.Errorf("%s: keep-alive time of the discovery controller is %q, not 30", c.Name, c.KATO)
		}
		if c.Owner() != "stas" {
			t.Errorf("%s: owner of the discovery controller is %q", c.Name, c.Owner())
		}
	}
	if discovery != 1 || io != n {
		t.Errorf("%d discovery and %d I/O controllers, not 1 and %d", discovery, io, n)
	}
}

// shown fails the test when nvme-cli does not list the subsystems.
func shown(t *testing.T, subs []*fabric.Subsystem) {
	t.Helper()
	var hosts []struct {
		Subsystems []struct {
			NQN   string
			Paths []struct{ Name, Transport, Address, State string }
		}
	}
	out := fabric.Run(t, "nvme", "list-subsys", "-o", "json")
	if err := json.Unmarshal([]byte(out), &hosts); err != nil {
		t.Fatalf("nvme list-subsys: %v\n%s", err, out)
	}
	live := map[string]int{}
	for _, h := range hosts {
		for _, s := range h.Subsystems {
			for _, p := range s.Paths {
				if p.State == "live" && p.Transport == "tcp" && strings.Contains(p.Address, "trsvcid=8009") {
					live[s.NQN]++
				}
			}
		}
	}
	verbose := fabric.Run(t, "nvme", "list", "-v")
	for _, s := range subs {
		if live[s.NQN] != 1 {
			t.Errorf("nvme list-subsys shows %d live paths of %s", live[s.NQN], s.NQN)
		}
		if !strings.Contains(verbose, s.NQN) {
			t.Errorf("nvme list -v does not show %s", s.NQN)
		}
	}
}
