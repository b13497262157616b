//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// shownObject is a controller as the typed interfaces show it.
type shownObject struct {
	Key, SubsysNQN, Device, Subsystem, KernelState, State, SessionState, Owner, SrcAddr, LastError, Registration string
	Reasons, Origins, PendingChanges, BlockDevices                                                               []string
	Attempts, Records                                                                                            int
	PageReadTime                                                                                                 int64
}

// ask gives what a tool prints once its daemon answers: systemd has started one when it is at work, and it takes its name on the bus
// after that.
func ask(t *testing.T, tool string, args ...string) string {
	t.Helper()
	var out []byte
	fabric.Eventually(t, 10*time.Second, func() error {
		var messages strings.Builder
		cmd := exec.Command(tool, args...)
		cmd.Stderr = &messages
		var err error
		if out, err = cmd.Output(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", tool, strings.Join(args, " "), err, messages.String())
		}
		return nil
	})
	return string(out)
}

// objects asks a tool for the objects of its daemon, by NQN.
func objects(t *testing.T, tool string) map[string]shownObject {
	t.Helper()
	var info struct{ Objects []shownObject }
	out := ask(t, tool, "status", "-o", "json")
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	all := map[string]shownObject{}
	for _, o := range info.Objects {
		all[o.SubsysNQN] = o
	}
	return all
}

// TestObjects looks at the controllers one by one, on a real kernel, and has them disconnected and connected anew.
func TestObjects(t *testing.T) {
	_, subs := connected(t, 2)
	a, b := subs[0].NQN, subs[1].NQN
	for _, nqn := range []string{a, b} {
		fabric.BlockDevice(t, reaction, nqn, 1)
		// The worker has registered it before it tells stacd that it is connected.
		fabric.Eventually(t, reaction, func() error {
			o := objects(t, "stacctl")[nqn]
			if o.State != "connected" || o.KernelState != "live" || o.Owner != "stas" || !strings.HasPrefix(o.Subsystem, "nvme-subsys") ||
				len(o.BlockDevices) != 1 || o.SrcAddr == "" || len(o.PendingChanges) != 0 || len(o.Reasons) != 1 || !strings.Contains(o.Reasons[0], address) {
				return fmt.Errorf("%s: %+v", nqn, o)
			}
			return nil
		})
	}
	fabric.Eventually(t, reaction, func() error {
		for _, o := range objects(t, "stafctl") {
			if o.SessionState != "held" || o.Records < 2 || o.PageReadTime == 0 || o.Owner != "stas" || !strings.Contains(strings.Join(o.Origins, " "), "stafd.conf:") {
				return fmt.Errorf("%+v", o)
			}
		}
		return nil
	})

	fabric.Run(t, "stacctl", "disconnect", a)
	if live := fabric.Live(t, a); len(live) != 0 {
		t.Errorf("disconnected: %v", live)
	}
	fabric.Run(t, "stafctl", "refresh", address)
	fabric.Never(t, 5*time.Second, func() error {
		if live := fabric.Live(t, a); len(live) != 0 {
			return fmt.Errorf("%s came back by itself", a)
		}
		return nil
	})
	if o := objects(t, "stacctl")[a]; o.State != "disconnected" || o.Device != "" {
		t.Errorf("%+v", o)
	}
	fabric.Run(t, "stacctl", "reconnect", a)
	awaitOwned(t, reaction, subs...)

	fabric.Configure(t, "stacd.conf", "[Global]\nkato=17\n")
	fabric.Reload(t, "stacd")
	fabric.Eventually(t, reaction, func() error {
		if o := objects(t, "stacctl")[b]; !slices.Equal(o.PendingChanges, []string{"kato"}) {
			return fmt.Errorf("pending are %v", o.PendingChanges)
		}
		return nil
	})
	fabric.Run(t, "stacctl", "reconnect", b)
	for _, c := range fabric.Live(t, b) {
		if c.KATO != "17" {
			t.Errorf("%s: kato is %s", c.Name, c.KATO)
		}
	}
	if all := objects(t, "stacctl"); len(all[b].PendingChanges) != 0 || !slices.Equal(all[a].PendingChanges, []string{"kato"}) {
		t.Errorf("pending are %v and %v", all[a].PendingChanges, all[b].PendingChanges)
	}

	// A restart forgets with what a connection was made; what sysfs shows is still known.
	fabric.Restart(t, "stacd")
	fabric.Eventually(t, reaction, func() error {
		all := objects(t, "stacctl")
		if !slices.Equal(all[a].PendingChanges, []string{"kato"}) || len(all[b].PendingChanges) != 0 {
			return fmt.Errorf("pending are %v and %v", all[a].PendingChanges, all[b].PendingChanges)
		}
		return nil
	})
	before := iocs(t)
	fabric.Run(t, "stafctl", "reconnect", address)
	fabric.Eventually(t, reaction, func() error {
		for _, o := range objects(t, "stafctl") {
			if o.SessionState == "held" && o.Device != "" && o.Records >= 2 {
				return nil
			}
		}
		return fmt.Errorf("%+v", objects(t, "stafctl"))
	})
	fabric.Unharmed(t, before)
}

// TestObjectsOfOthers: who is not root only reads, and nobody's connections are the only ones that disconnect-all takes.
func TestObjectsOfOthers(t *testing.T) {
	wide(t)
	_, subs := connected(t, 1)
	key := objects(t, "stacctl")[subs[0].NQN].Key
	as := func(user string, args ...string) (string, error) {
		out, err := exec.Command("runuser", append([]string{"-u", user, "--", "busctl"}, args...)...).CombinedOutput()
		return string(out), err
	}
	path := "/org/nvmexpress/stac/controller/" + key
	if out, err := as("nobody", "call", "org.nvmexpress.stac", "/org/nvmexpress/stac", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"); err != nil {
		t.Errorf("nobody cannot list: %s", out)
	}
	for _, method := range [][]string{{"Reconnect"}, {"Disconnect", "b", "false"}} {
		out, err := as("nobody", append([]string{"call", "org.nvmexpress.stac", path, "org.nvmexpress.stac.controller"}, method...)...)
		if err == nil || !strings.Contains(out, "denied") {
			t.Errorf("nobody calls %s: %v, %s", method[0], err, out)
		}
	}

	other := fabric.NewSubsystem(t, prefix+"other", fabric.Options{})
	fabric.TCP(t, address, service+1).Link(t, other)
	fabric.Run(t, "nvme", "connect", "-t", "tcp", "-a", address, "-s", fmt.Sprint(service+1), "-n", other.NQN)
	fabric.AwaitLive(t, reaction, other.NQN)
	before := fabric.Live(t, subs[0].NQN)
	fabric.Run(t, "stacctl", "disconnect-all")
	fabric.AwaitGone(t, reaction, other.NQN)
	fabric.Unharmed(t, before)
}
