//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// TestReloadSaysWhatWaits changes parameters that a connection has for life. The reload leaves the connections as they are and says,
// before it is over, what waits and which command ends that; the command does, and the status says so.
func TestReloadSaysWhatWaits(t *testing.T) {
	wide(t)
	_, subs := connected(t, 2)
	fabric.Eventually(t, 10*time.Second, func() error {
		if state := sessionState(t); state != "held" {
			return fmt.Errorf("stafd's session is %s", state)
		}
		return nil
	})
	before := fabric.Controllers(t)
	fabric.Configure(t, "stafd.conf", "[Global]\nkato=17\n"+noMDNS+controllers(dc))
	fabric.Configure(t, "stacd.conf", "[Global]\nkato=19\nqueue-size=64\n")
	began := time.Now()
	fabric.Reload(t, "stafd", "stacd")
	fabric.Unharmed(t, before)
	waits := regexp.MustCompile(`([0-9]+ connections? uses?) other parameters \(([a-z, -]+)\) than the configuration now says; it takes effect at the next connect, or now with: (sta[cf]ctl reconnect( nvme[0-9]+)+)`)
	for daemon, want := range map[string][2]string{"stafd": {"1 connection uses", "kato"}, "stacd": {"2 connections use", "kato, queue-size"}} {
		status := func() string {
			return strings.TrimSpace(fabric.Run(t, "systemctl", "show", "-P", "StatusText", daemon))
		}
		// systemd waits for what the daemon says when it has begun to reload; it may begin after the signal was sent.
		var m [][]string
		fabric.Eventually(t, reaction, func() error {
			if m = waits.FindAllStringSubmatch(fabric.Journal(t, began, daemon), -1); len(m) == 0 {
				return fmt.Errorf("%s does not say what waits", daemon)
			}
			return nil
		})
		if len(m) != 1 || m[0][1] != want[0] || m[0][2] != want[1] {
			t.Fatalf("%s said %q, want %q once", daemon, m, want)
		}
		fabric.Eventually(t, time.Second, func() error {
			if s := status(); !strings.Contains(s, "for a reconnect to use changed parameters") {
				return fmt.Errorf("status of %s: %s", daemon, s)
			}
			return nil
		})
		fabric.Run(t, strings.Fields(m[0][3])[0], strings.Fields(m[0][3])[1:]...)
		fabric.Eventually(t, 20*time.Second, func() error {
			if s := status(); strings.Contains(s, "reconnect") {
				return fmt.Errorf("status of %s: %s", daemon, s)
			}
			return nil
		})
	}
	fabric.Eventually(t, 20*time.Second, func() error { // or its discovery controller is only being made
		if state := sessionState(t); state != "held" {
			return fmt.Errorf("stafd's session is %s", state)
		}
		return nil
	})
	awaitOwned(t, 10*time.Second, subs...)
	for _, c := range fabric.Controllers(t) {
		want := "19"
		if c.Discovery() {
			want = "17"
		}
		if got := content(t, "/sys/class/nvme/"+c.Name+"/kato"); got != want {
			t.Errorf("%s has the keep-alive time %s, not %s", c.Name, got, want)
		}
	}

	// A new daemon finds the connections of the old one, and says what they lack, too.
	fabric.Configure(t, "stacd.conf", "[Global]\nkato=23\n")
	began = time.Now()
	fabric.Restart(t, "stacd")
	said(t, began, 15*time.Second, "stacd", "2 connections use other parameters (kato) than the configuration now says")
}

// sessionState is that of the only discovery controller.
func sessionState(t *testing.T) string {
	t.Helper()
	for _, o := range objects(t, "stafctl") {
		return o.SessionState
	}
	return "none"
}
