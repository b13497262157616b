//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
	"github.com/stas-go/stas/test/nbft"
)

// bootTarget offers the subsystem of the boot table where the table says it is.
func bootTarget(t *testing.T) (*fabric.Port, *fabric.Subsystem) {
	t.Helper()
	service, err := strconv.Atoi(nbft.Service)
	if err != nil {
		t.Fatal(err)
	}
	port := fabric.TCP(t, nbft.Address, service)
	sub := fabric.NewSubsystem(t, nbft.SubNQN, fabric.Options{})
	port.Link(t, sub)
	return port, sub
}

// A boot connection of the firmware is never made, adopted or ended by us, whatever the registry, the configuration
// and log pages say.
func TestBootConnectionProtected(t *testing.T) {
	_, subs := serve(t, 1)
	bootTarget(t)
	line := fmt.Sprintf("transport=tcp;traddr=%s;trsvcid=%s;nqn=%s;host-nqn=%s", nbft.Address, nbft.Service, nbft.SubNQN, nbft.HostNQN)
	fabric.Configure(t, "stacd.conf", controllers(line))
	since := time.Now()
	fabric.Start(t, "stafd", "stacd")
	fabric.AwaitLive(t, time.Minute, subs[0].NQN)
	says(t, since, "stacd", "boot connection of the firmware")
	fabric.Never(t, 3*time.Second, func() error {
		if len(fabric.Live(t, nbft.SubNQN)) > 0 {
			return errors.New("the boot subsystem was connected")
		}
		return nil
	})

	device, err := fabric.Connect(fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%s,nqn=%s,hostnqn=%s,hostid=%s",
		nbft.Address, nbft.Service, nbft.SubNQN, nbft.HostNQN, nbft.HostID))
	if err != nil {
		t.Fatal(err)
	}
	fabric.AwaitLive(t, time.Minute, nbft.SubNQN)
	events := fabric.Record(t)
	before := fabric.Controllers(t)
	for _, owner := range []string{"", "nbft", "stas"} {
		own(t, device, owner)
		fabric.Configure(t, "stacd.conf", "") // it is no longer named either
		fabric.Reload(t, "stacd")
		fabric.Restart(t, "stafd", "stacd")
		fabric.Configure(t, "stacd.conf", controllers(line)+"exclude=nqn="+nbft.SubNQN+"\n")
		fabric.Reload(t, "stacd")
		fabric.AwaitLive(t, time.Minute, subs[0].NQN)
		fabric.Never(t, 2*time.Second, func() error {
			if len(fabric.Live(t, nbft.SubNQN)) == 0 {
				return errors.New("the boot connection is gone")
			}
			return nil
		})
	}
	events.NoneRemoved(t)
	fabric.Unharmed(t, before)
}

// nbft-reconnect=yes makes a lost boot connection again, as the firmware's: its owner, its host.
func TestBootConnectionMadeAgain(t *testing.T) {
	wide(t)
	serve(t, 1)
	_, sub := bootTarget(t)
	fabric.Configure(t, "stacd.conf", "[I/O controller connection management]\nnbft-reconnect=yes\n")
	fabric.Start(t, "stafd", "stacd")
	firmwares := func() error {
		live := fabric.Live(t, sub.NQN)
		if len(live) == 0 {
			return errors.New("not connected")
		}
		if c := live[0]; c.HostNQN != nbft.HostNQN || c.Owner() != "nbft" {
			return fmt.Errorf("%s has host %s and owner %q", c.Name, c.HostNQN, c.Owner())
		}
		return nil
	}
	fabric.Eventually(t, time.Minute, firmwares)
	fabric.Run(t, "nvme", "disconnect", "-n", sub.NQN)
	fabric.Eventually(t, time.Minute, firmwares)
}

// own sets the registry's owner of a device, or takes it away.
func own(t *testing.T, device, owner string) {
	t.Helper()
	name := strings.TrimPrefix(device, "/dev/")
	if owner == "" {
		fabric.Run(t, "rm", "-rf", "/run/nvme/registry/"+name)
		return
	}
	fabric.Run(t, "sh", "-c", "mkdir -p /run/nvme/registry/"+name+" && echo "+owner+" > /run/nvme/registry/"+name+"/owner")
}
