//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/stas-go/stas/test/fabric"
)

// TestUnits checks the installed units as systemd does.
func TestUnits(t *testing.T) {
	out := fabric.Run(t, "sh", "-c", "systemd-analyze verify --man=no /usr/lib/systemd/system/sta[fc]d.service 2>&1")
	if out != "" {
		t.Errorf("systemd-analyze verify says:\n%s", out)
	}
}

// TestRegistrySurvivesStop stops the daemons: who made the connections is known all the same.
func TestRegistrySurvivesStop(t *testing.T) {
	wide(t)
	_, subs := connected(t, 2)
	before := fabric.Controllers(t)
	fabric.Stop(t, "stacd", "stafd")
	fabric.Unharmed(t, before)
	for _, c := range before {
		if c.Owner() != "stas" {
			t.Errorf("%s (%s): owner is %q after the stop", c.Name, c.NQN, c.Owner())
		}
	}
	awaitOwned(t, reaction, subs...)
}

// TestPolicy has somebody who is not root use the daemons: reading is allowed, changing is not.
func TestPolicy(t *testing.T) {
	connected(t, 1)
	nobody := func(args ...string) error {
		return fabric.Try("setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups"}, args...)...)
	}
	for _, d := range []struct{ tool, bus string }{{"stafctl", "staf"}, {"stacctl", "stac"}} {
		for _, args := range [][]string{{"ls"}, {"ls", "-d"}, {"status"}} {
			if err := nobody(append([]string{d.tool}, args...)...); err != nil {
				t.Errorf("nobody cannot read: %v", err)
			}
		}
		name, path := "org.nvmexpress."+d.bus, "/org/nvmexpress/"+d.bus
		set := []string{"busctl", "set-property", name, path, name + ".debug", "tron", "b", "true"}
		if err := nobody(set...); err == nil {
			t.Errorf("nobody may switch %s's tracing on", d.bus)
		} else if !strings.Contains(err.Error(), "denied") && !strings.Contains(err.Error(), "not allowed") && !strings.Contains(err.Error(), "policy") {
			t.Errorf("refused for another reason: %v", err)
		}
		if out := fabric.Run(t, "busctl", "get-property", name, path, name+".debug", "tron"); strings.TrimSpace(out) != "b false" {
			t.Errorf("tron of %s is %s", d.bus, out)
		}
		fabric.Run(t, set[0], set[1:]...)
		if out := fabric.Run(t, "busctl", "get-property", name, path, name+".debug", "tron"); strings.TrimSpace(out) != "b true" {
			t.Errorf("root cannot switch %s's tracing on: %s", d.bus, out)
		}
	}
}
