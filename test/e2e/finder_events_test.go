//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/stas-go/stas/test/fabric"
)

// TestFinderBesideAutoconnect has nvme-cli's own rule in force, which connects whatever a discovery controller lists when that raises an event:
// not for ours, so that what stacd excludes stays away, and nobody meets a connection that another has just made.
func TestFinderBesideAutoconnect(t *testing.T) {
	wide(t)
	const rule = "/usr/lib/udev/rules.d/70-nvmf-autoconnect.rules"
	if text, err := os.ReadFile(rule); err != nil || !strings.Contains(string(text), "0x70f002") {
		t.Fatalf("nvme-cli's rule is not there: %v", err)
	}
	fabric.Clean(t)
	f := simulate(t, strings.Replace(simulation, "count = 3", "count = 4", 1))
	fabric.Configure(t, "stacd.conf", "[Controllers]\nexclude=nqn="+simPrefix+"sim2\n")
	startStafd(t, noMDNS+controllers("transport=tcp;traddr=127.0.0.1;trsvcid=4500"))
	fabric.Start(t, "stacd")
	t.Cleanup(func() { fabric.Stop(t, "stacd") })
	simOwned(t, 20*time.Second, "sim1")
	began := time.Now()
	for i := range 20 {
		change, want := f.AddToZone, []string{"sim1", "sim3"}
		if i%2 == 1 {
			change, want = f.RemoveFromZone, []string{"sim1"}
		}
		must(t, change("here", "sim3"))
		simOwned(t, 2*reaction, want...)
	}
	fabric.Never(t, 2*time.Second, func() error {
		if n := len(fabric.Live(t, simPrefix+"sim2")); n > 0 {
			return fmt.Errorf("%d connections to what is excluded", n)
		}
		return nil
	})
	for line := range strings.Lines(fabric.Journal(t, began)) {
		if strings.Contains(line, "nvmf-connect") || strings.Contains(line, "connect-all") {
			t.Errorf("nvme-cli was started for our discovery controller: %s", line)
		}
	}
	for line := range strings.SplitSeq(dmesg(t), "\n") {
		if strings.Contains(line, "nvme") && (strings.Contains(line, "already") || strings.Contains(line, "duplicate")) {
			t.Errorf("the kernel says: %s", line)
		}
	}
	if text := fabric.Journal(t, began, "stafd", "stacd"); strings.Contains(text, "already") {
		t.Errorf("the daemons met a connection of somebody else:\n%s", text)
	}
}

// TestFinderLatency measures from the event on the wire to the signal on the bus, beyond what the discovery controller itself took.
func TestFinderLatency(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := simulate(t, simulation)
	startStafd(t, noMDNS+controllers("transport=tcp;traddr=127.0.0.1;trsvcid=4500"))
	awaitDC(t, 10*time.Second, "127.0.0.1:4500")
	awaitRead(t, f, 5*time.Second, 0)
	fabric.Never(t, time.Second, func() error { return nil })

	conn, err := dbus.ConnectSystemBus()
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	must(t, conn.AddMatchSignal(dbus.WithMatchSender("org.nvmexpress.staf"), dbus.WithMatchMember("log_pages_changed")))
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	var whole, beyond []time.Duration
	for i := range 20 {
		for len(signals) > 0 { // what came later than the pause below
			<-signals
		}
		seq := lastEvent(f)
		change := f.AddToZone
		if i%2 == 1 {
			change = f.RemoveFromZone
		}
		must(t, change("here", "sim3"))
		var told time.Time
		select {
		case <-signals:
			told = time.Now()
		case <-time.After(fabric.Slow(10 * time.Second)):
			t.Fatal("no signal")
		}
		var aen, first, last time.Time
		fabric.Eventually(t, time.Second, func() error { // an event is noted when it is on the wire already
			aen, first, last = time.Time{}, time.Time{}, time.Time{}
			for _, e := range f.Events(seq) {
				switch {
				case e.Kind == "aen" && aen.IsZero():
					aen = e.Time
				case e.Kind == "command" && strings.HasPrefix(e.Detail, "get log page 0x70") && e.Time.Before(told):
					if first.IsZero() {
						first = e.Time
					}
					last = e.Time
				}
			}
			if aen.IsZero() || first.IsZero() {
				return fmt.Errorf("no event or no read: %+v", f.Events(seq))
			}
			return nil
		})
		whole = append(whole, told.Sub(aen))
		// From the event to the first command, and from the last answer to the signal: the rest is the controller's time.
		beyond = append(beyond, first.Sub(aen)+told.Sub(last))
		fabric.Never(t, 200*time.Millisecond, func() error { return nil })
	}
	slices.Sort(whole)
	slices.Sort(beyond)
	median := beyond[len(beyond)/2]
	t.Logf("event to signal: %v median, %v worst; beyond the controller's own time: %v median, %v worst",
		whole[len(whole)/2].Round(time.Millisecond), whole[len(whole)-1].Round(time.Millisecond), median.Round(time.Millisecond), beyond[len(beyond)-1].Round(time.Millisecond))
	// 50 ms is for the real thing; emulated every step takes five to ten times as long, and longer where the machine is slow.
	if median > fabric.SlowNow(200*time.Millisecond) {
		t.Errorf("a new page was told %v after its event, without the time of the controller", median)
	}
}
