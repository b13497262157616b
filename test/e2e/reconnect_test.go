//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// TestTargetRestarted takes the target's port away and makes it anew, with one more subsystem: the kernel reconnects what was there,
// no controller goes, no I/O fails, and the page is read again.
func TestTargetRestarted(t *testing.T) {
	port, subs := connected(t, 4)
	before, events, io := fabric.Controllers(t), fabric.Record(t), startIO(t, subs...)
	port.Remove(t)
	fabric.Eventually(t, 10*time.Second, func() error { return noneLive(t) })

	extra := fabric.NewSubsystem(t, prefix+"extra", fabric.Options{})
	port = fabric.TCP(t, address, service)
	up := time.Now()
	port.Link(t, append(subs, extra)...)
	awaitOwned(t, 40*time.Second, append(subs, extra)...)
	t.Logf("all live %v after the port was back", time.Since(up).Round(10*time.Millisecond))
	events.NoneRemoved(t)
	now := map[string]string{}
	for _, c := range fabric.Controllers(t) {
		now[c.Name] = c.NQN
	}
	for _, c := range before {
		if now[c.Name] != c.NQN {
			t.Errorf("%s was %s, is %q", c.Name, c.NQN, now[c.Name])
		}
	}
	io.stop(t)
}

// TestControllersLost leaves the target away for longer than the kernel tries (ctrl-loss-tmo): all controllers go, and all come back with
// the target, connected anew.
func TestControllersLost(t *testing.T) {
	wide(t)
	port, subs := serve(t, 4)
	const short = "[Global]\nctrl-loss-tmo=5\nreconnect-delay=1\n"
	fabric.Configure(t, "stafd.conf", short+noMDNS+controllers(dc))
	fabric.Configure(t, "stacd.conf", short)
	fabric.Start(t, "stafd", "stacd")
	awaitOwned(t, 20*time.Second, subs...)
	for _, name := range []string{"ctrl_loss_tmo", "reconnect_delay"} {
		for _, c := range iocs(t) {
			if got, want := content(t, "/sys/class/nvme/"+c.Name+"/"+name), map[string]string{"ctrl_loss_tmo": "5", "reconnect_delay": "1"}[name]; got != want {
				t.Errorf("%s: %s is %s, not %s", c.Name, name, got, want)
			}
		}
	}
	events, entries, stalls := fabric.Record(t), fabric.WatchRegistry(t), fabric.WatchStalls(t)
	port.Down(t)
	events.Await(t, 30*time.Second, len(subs)+1, "remove", "")
	// Everything is refused now, over and over.
	fabric.Never(t, quiet, func() error { return nil })
	up := time.Now()
	port.Up(t)
	awaitOwned(t, 40*time.Second, subs...)
	t.Logf("all live %v after the port was back", time.Since(up).Round(10*time.Millisecond))
	registered(t, events, entries, stalls)
	// The discovery controller has a retry of its own, which may come later.
	fabric.Eventually(t, 20*time.Second, func() error {
		if n := len(fabric.Controllers(t)); n != len(subs)+1 {
			return fmt.Errorf("%d controllers for %d subsystems and one discovery controller", n, len(subs))
		}
		return nil
	})
}

// noneLive is an error as long as a controller is live.
func noneLive(t *testing.T) error {
	for _, c := range fabric.Controllers(t) {
		if c.State == "live" {
			return errors.New(c.Name + " is live")
		}
	}
	return nil
}
