//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// prefix begins the names of the tests' subsystems.
const prefix = "nqn.2014-08.org.nvmexpress:test:"

// The discovery controller that most tests use. The same port serves the subsystems.
const (
	address = "127.0.0.1"
	service = 8009
)

// controllers makes the section of stafd.conf or stacd.conf that names them.
func controllers(lines ...string) string {
	var b strings.Builder
	b.WriteString("[Controllers]\n")
	for _, l := range lines {
		fmt.Fprintf(&b, "controller=%s\n", l)
	}
	return b.String()
}

// dc is the line of stafd.conf for the discovery controller at service.
var dc = fmt.Sprintf("transport=tcp;traddr=%s;trsvcid=%d", address, service)

// noMDNS keeps what is not under test out of a test.
const noMDNS = "[Service Discovery]\nzeroconf=disabled\n"

// serve makes n subsystems behind one port and configures the daemons for it. Nothing is started.
func serve(t *testing.T, n int) (*fabric.Port, []*fabric.Subsystem) {
	t.Helper()
	fabric.Clean(t)
	port := fabric.TCP(t, address, service)
	subs := fabric.NewSubsystems(t, prefix+"s", n, fabric.Options{})
	port.Link(t, subs...)
	fabric.Configure(t, "stafd.conf", noMDNS+controllers(dc))
	fabric.Configure(t, "stacd.conf", "")
	return port, subs
}

// connected is serve, with the daemons started and everything live.
func connected(t *testing.T, n int) (*fabric.Port, []*fabric.Subsystem) {
	t.Helper()
	port, subs := serve(t, n)
	fabric.Start(t, "stafd", "stacd")
	awaitOwned(t, time.Minute, subs...)
	return port, subs
}

// awaitOwned waits until each subsystem has exactly one controller, and it is live and registered as ours.
func awaitOwned(t *testing.T, within time.Duration, subs ...*fabric.Subsystem) time.Duration {
	t.Helper()
	return fabric.Eventually(t, within, func() error {
		count := map[string]int{}
		for _, c := range fabric.Controllers(t) {
			if c.Discovery() {
				continue
			}
			switch {
			case c.State != "live":
				return fmt.Errorf("%s (%s) is %s", c.Name, c.NQN, c.State)
			case c.Owner() != "stas":
				return fmt.Errorf("%s (%s) has owner %q", c.Name, c.NQN, c.Owner())
			}
			count[c.NQN]++
		}
		for _, s := range subs {
			if n := count[s.NQN]; n != 1 {
				return fmt.Errorf("%s has %d controllers, not 1", s.NQN, n)
			}
		}
		return nil
	})
}

// iocs are the controllers that are not discovery controllers.
func iocs(t *testing.T) []fabric.Controller {
	t.Helper()
	return slices.DeleteFunc(fabric.Controllers(t), fabric.Controller.Discovery)
}

// startIO starts I/O on every subsystem's first namespace.
func startIO(t *testing.T, subs ...*fabric.Subsystem) *traffic {
	t.Helper()
	tr := &traffic{}
	for _, s := range subs {
		tr.all = append(tr.all, fabric.StartIO(t, fabric.BlockDevice(t, 20*time.Second, s.NQN, 1), 200*time.Millisecond))
	}
	return tr
}

// traffic is I/O on many devices.
type traffic struct{ all []*fabric.IO }

// stop ends the I/O; the test fails when any of it did.
func (tr *traffic) stop(t *testing.T) {
	t.Helper()
	for _, io := range tr.all {
		io.Stop(t)
	}
}

// undisturbed is a record that proves that nothing was disconnected.
type undisturbed struct {
	before []fabric.Controller
	events *fabric.Recorder
	io     *traffic
}

// watchAll starts to prove that nothing happens to the subsystems' controllers: their identity, every uevent, and I/O on each.
func watchAll(t *testing.T, subs ...*fabric.Subsystem) *undisturbed {
	t.Helper()
	before := slices.DeleteFunc(iocs(t), func(c fabric.Controller) bool {
		return !slices.Contains(fabric.NQNs(subs), c.NQN)
	})
	if len(before) != len(subs) {
		t.Fatalf("%d controllers for %d subsystems", len(before), len(subs))
	}
	return &undisturbed{before: before, events: fabric.Record(t), io: startIO(t, subs...)}
}

// gone is an error when one of the controllers was removed.
func (u *undisturbed) gone() error {
	for _, e := range u.events.Events() {
		if e.Action == "remove" && slices.ContainsFunc(u.before, func(c fabric.Controller) bool { return c.Name == e.Name }) {
			return fmt.Errorf("%s was removed", e.Name)
		}
	}
	return nil
}

// proven fails the test when anything was disconnected since watchAll.
func (u *undisturbed) proven(t *testing.T) {
	t.Helper()
	u.io.stop(t)
	fabric.Unharmed(t, u.before)
	for _, e := range u.events.Events() {
		if slices.ContainsFunc(u.before, func(c fabric.Controller) bool { return c.Name == e.Name }) && e.Action != "change" {
			t.Errorf("%s: %s at %s", e.Name, e.Action, e.Time.Format("15:04:05.000"))
		}
	}
}
