//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// TestFinderFC plugs in a Fibre Channel port that is a discovery service: its event is all that leads to it.
func TestFinderFC(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	sub := fabric.NewSubsystem(t, prefix+"fc", fabric.Options{})
	fabric.FC(t).Link(t, sub)
	startBoth(t, noMDNS)
	fabric.Never(t, time.Second, func() error { return nil })
	fabric.FCLink(t)
	began := time.Now()
	ours := func() error {
		dcs := 0
		for _, c := range fabric.Controllers(t) {
			if c.Transport != "fc" || c.State != "live" || c.Owner() != "stas" {
				return fmt.Errorf("%s (%s) is %s, owner %q", c.Name, c.NQN, c.State, c.Owner())
			}
			if c.Discovery() {
				dcs++
			}
		}
		if live := fabric.Live(t, sub.NQN); len(live) != 1 || dcs != 1 {
			return fmt.Errorf("%d discovery controllers and %d I/O controllers", dcs, len(live))
		}
		return nil
	}
	fabric.Eventually(t, 20*time.Second, ours)
	t.Logf("connected %v after the port appeared", time.Since(began).Round(time.Millisecond))
	fabric.Restart(t, "stafd")
	fabric.Eventually(t, 10*time.Second, ours)
	// The cable cannot be pulled: nvme-fcloop refuses what is connected over a port that was there before. What the kernel leaves of a
	// port that is lost for long is a controller that is removed: then stafd asks the ports anew, and connects.
	for _, c := range fabric.Controllers(t) {
		if c.Discovery() {
			fabric.Run(t, "nvme", "disconnect", "-d", c.Name)
		}
	}
	fabric.Eventually(t, 20*time.Second, ours)
}

// TestFinderRDMA connects a discovery controller and what it lists over RDMA.
func TestFinderRDMA(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	sub := fabric.NewSubsystem(t, prefix+"rdma", fabric.Options{})
	port := fabric.RDMA(t, "4420")
	port.Link(t, sub)
	startBoth(t, noMDNS+controllers("transport=rdma;traddr=198.19.1.1"))
	awaitOwned(t, 20*time.Second, sub)
	awaitDC(t, time.Second, "198.19.1.1:4420")
	extra := fabric.NewSubsystem(t, prefix+"rdma2", fabric.Options{})
	port.Link(t, extra)
	awaitOwned(t, 2*reaction, sub, extra)
}
