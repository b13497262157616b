//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// TestFirstPathsFirst has two discovery controllers behind two interfaces. Each lists what the other does, and a few that it does not:
// every subsystem has a first path before any has a second one, and each path goes through the interface of who listed it.
func TestFirstPathsFirst(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	fabric.Dummy(t, "stas-d0", "198.19.0.1/24")
	fabric.Dummy(t, "stas-d1", "198.19.2.1/24")
	left, right := fabric.TCP(t, "198.19.0.1", service), fabric.TCP(t, "198.19.2.1", service)
	const n, own = 24, 4
	subs := fabric.NewSubsystems(t, prefix+"s", n, fabric.Options{})
	left.Link(t, subs[:n-own]...)
	right.Link(t, subs[own:]...)
	fabric.Configure(t, "stafd.conf", noMDNS+controllers("transport=tcp;traddr=198.19.0.1;trsvcid=8009;host-iface=stas-d0",
		"transport=tcp;traddr=198.19.2.1;trsvcid=8009;host-iface=stas-d1"))
	fabric.Configure(t, "stacd.conf", "")
	events := fabric.Record(t)
	fabric.Start(t, "stafd", "stacd")
	const all = 2 + 2*(n-own)
	events.Await(t, 5*time.Minute, all, "change", "connected")
	fabric.Eventually(t, patience, func() error {
		for _, c := range fabric.Controllers(t) {
			if c.State != "live" || c.Owner() != "stas" {
				return fmt.Errorf("%s (%s) is %s, owner %q", c.Name, c.NQN, c.State, c.Owner())
			}
		}
		return nil
	})
	events.NoneRemoved(t)

	known := map[string]fabric.Controller{}
	for _, c := range fabric.Controllers(t) {
		known[c.Name] = c
		if want := map[string]string{"198.19.0.1": "stas-d0", "198.19.2.1": "stas-d1"}[c.Field("traddr")]; c.Field("host_iface") != want {
			t.Errorf("%s (%s) at %q, want interface %s", c.Name, c.NQN, c.Address, want)
		}
	}
	if len(known) != all {
		t.Errorf("%d controllers, not %d", len(known), all)
	}
	paths, seconds := map[string]int{}, 0
	for _, e := range events.Events() {
		c := known[e.Name]
		if e.Env["NVME_EVENT"] != "connected" || c.Discovery() {
			continue
		}
		if paths[c.NQN]++; paths[c.NQN] > 1 {
			seconds++
		}
		if seconds > 0 && len(paths) < n {
			t.Fatalf("%s has a second path while %d of %d subsystems have a first one", c.NQN, len(paths), n)
		}
	}
	for _, s := range subs[own : n-own] {
		if paths[s.NQN] != 2 {
			t.Errorf("%s has %d paths", s.NQN, paths[s.NQN])
		}
	}
	t.Logf("%d first paths, then %d second ones", len(paths), seconds)
}
