//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// zoned is a centralized discovery controller and five subsystems with two paths each, of which this host sees the first two.
var zoned = strings.Replace(simulation, "count = 3", "count = 5", 1)

// registryRight fails the test when the registry does not say exactly what is: every connection is ours, and nothing else is in it.
func registryRight(t *testing.T, within time.Duration) {
	t.Helper()
	fabric.Eventually(t, within, func() error {
		var live []string
		for _, c := range fabric.Controllers(t) {
			if c.Owner() != "stas" {
				return fmt.Errorf("%s (%s) has owner %q", c.Name, c.NQN, c.Owner())
			}
			live = append(live, c.Name)
		}
		entries, err := os.ReadDir("/run/nvme/registry")
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !slices.Contains(live, e.Name()) {
				return fmt.Errorf("the registry has %s, which is no controller", e.Name())
			}
		}
		return nil
	})
}

// TestZoneFlips changes the zones a hundred times in ten seconds: what is listed all the time is not touched, in the end exactly what is
// listed is connected, and nothing is left of the rest.
func TestZoneFlips(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := simulate(t, zoned)
	startBoth(t, noMDNS+controllers("transport=tcp;traddr=127.0.0.1;trsvcid=4500"))
	simOwned(t, patience, "sim1", "sim2")
	keep := fabric.Live(t, simPrefix+"sim1")
	events, load := fabric.Record(t), fabric.StartIO(t, fabric.BlockDevice(t, 10*time.Second, simPrefix+"sim1", 1), 0)

	const flips, span = 100, 10 * time.Second
	in := map[string]bool{"sim2": true}
	stalls, began := fabric.WatchStalls(t), time.Now()
	for n := range flips {
		time.Sleep(time.Until(began.Add(time.Duration(n+1) * span / flips))) // what comes late is made up for
		name := fmt.Sprintf("sim%d", 2+rand.N(4))
		change := f.AddToZone
		if in[name] {
			change = f.RemoveFromZone
		}
		must(t, change("here", name))
		in[name] = !in[name]
	}
	took := time.Since(began)
	want := []string{"sim1"}
	for name, is := range in {
		if is {
			want = append(want, name)
		}
	}
	settled := simOwned(t, patience, want...)
	made, gone := events.Count("add", ""), events.Count("remove", "")
	t.Logf("%d changes in %v; %v connected %v after the last; %d controllers made and %d removed meanwhile", flips, took.Round(10*time.Millisecond), want, settled.Round(time.Millisecond), made, gone)
	if took-stalls.Between(began, began.Add(took)) > span+2*time.Second {
		t.Errorf("the changes took %v: the test proves less than it should", took)
	}
	if made == 0 || gone == 0 {
		t.Error("nothing was made or nothing removed: the test proves nothing")
	}
	fabric.Never(t, quiet, func() error {
		for _, c := range iocs(t) {
			if !slices.Contains(want, strings.TrimPrefix(c.NQN, simPrefix)) {
				return fmt.Errorf("%s (%s) is connected", c.Name, c.NQN)
			}
		}
		return nil
	})
	simOwned(t, quiet, want...)
	registryRight(t, patience)
	load.Stop(t)
	nothingLost(t, keep, events)
	if left, _ := filepath.Glob("/run/stacd/intents/*"); len(left) > 0 {
		t.Errorf("intents are left behind: %v", left)
	}
}
