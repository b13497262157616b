//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// interrupt ends a daemon in one way and waits until systemd has it running again.
func interrupt(t *testing.T, unit, how string) {
	t.Helper()
	if how == "restart" {
		fabric.Restart(t, unit)
		return
	}
	// systemd gives up on a unit that fails often; that is not what is under test.
	fabric.Run(t, "systemctl", "reset-failed", unit)
	before := fabric.MainPID(t, unit)
	fabric.Signal(t, unit, "KILL")
	fabric.Eventually(t, time.Minute, func() error {
		if pid := fabric.MainPID(t, unit); pid == 0 || pid == before || fabric.Property(t, unit, "ActiveState") != "active" {
			return fmt.Errorf("%s is %s with process %d", unit, fabric.Property(t, unit, "ActiveState"), pid)
		}
		return nil
	})
}

// pause waits for a random time, so that what follows comes at a random moment.
func pause(t *testing.T, most time.Duration) {
	t.Helper()
	d := rand.N(most)
	t.Logf("after %v:", d.Round(time.Millisecond))
	time.Sleep(d)
}

// TestInterrupted restarts and kills both daemons at random moments while everything is connected: nothing is disconnected.
func TestInterrupted(t *testing.T) {
	_, subs := connected(t, 8)
	u := watchAll(t, subs...)
	for range 2 {
		for _, how := range []string{"restart", "kill"} {
			for _, unit := range []string{"stafd", "stacd"} {
				pause(t, 300*time.Millisecond)
				t.Logf("%s of %s", how, unit)
				interrupt(t, unit, how)
			}
		}
	}
	pause(t, 300*time.Millisecond)
	t.Log("restart of both")
	fabric.Restart(t, "stafd", "stacd")
	awaitOwned(t, 20*time.Second, subs...)
	fabric.Never(t, 3*time.Second, u.gone)
	u.proven(t)
	if n := len(iocs(t)); n != len(subs) {
		t.Errorf("%d I/O controllers for %d subsystems", n, len(subs))
	}
}

// TestInterruptedConnecting does so while 32 subsystems are being connected: in the end each has one controller,
// live and ours, and none was ever removed.
func TestInterruptedConnecting(t *testing.T) {
	wide(t)
	for _, how := range []string{"restart", "kill"} {
		for _, unit := range []string{"stafd", "stacd"} {
			t.Run(how+" "+unit, func(t *testing.T) {
				_, subs := serve(t, 32)
				events := fabric.Record(t)
				fabric.Start(t, "stafd", "stacd")
				events.Await(t, 20*time.Second, 2, "change", "connected")
				for range 2 {
					pause(t, 1500*time.Millisecond)
					t.Logf("%s with %d connected", how, events.Count("change", "connected")-1)
					interrupt(t, unit, how)
				}
				awaitOwned(t, time.Minute, subs...)
				events.NoneRemoved(t)
				if n := len(fabric.Controllers(t)); n != len(subs)+1 {
					t.Errorf("%d controllers for %d subsystems and one discovery controller", n, len(subs))
				}
			})
		}
	}
}
