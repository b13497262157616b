package daemon

import (
	"testing"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/finder"
	"github.com/stas-go/stas/pkg/nbft"
	"github.com/stas-go/stas/pkg/netif"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// The interface that the firmware means may appear after the daemon has read its configuration, and go for a while.
func TestBootInterfaceAppearsLater(t *testing.T) {
	there, err := netif.Read()
	if err != nil {
		t.Skip(err)
	}
	var iface netif.Interface
	for _, l := range there.Interfaces() {
		if found, ok := there.ByMAC(l.MAC, 0); ok && len(l.MAC) == 6 && found.Index == l.Index {
			iface = l
		}
	}
	if iface.Name == "" {
		t.Skip("no interface with a hardware address here")
	}
	d := new(daemon)
	d.boot.Store(&nbft.Boot{Discovery: []nbft.Connection{{TID: tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1", Trsvcid: "8009"}, MAC: iface.MAC.String()}}})
	d.network.Store(new(netif.Table))
	reports, last := 0, []finder.Candidate(nil)
	report := func(list []finder.Candidate) { reports, last = reports+1, list }
	reported := func(want string) {
		t.Helper()
		if len(last) != 1 || last[0].TID.HostIface != want {
			t.Errorf("reported %+v, want one by interface %q", last, want)
		}
	}

	d.renewBoot(report)
	if reports != 0 {
		t.Error("a report before the configuration was read")
	}
	d.wantBoot(report, config.NBFTConnect)
	reported("")
	d.network.Store(there)
	d.renewBoot(report)
	reported(iface.Name)
	d.network.Store(new(netif.Table))
	d.renewBoot(report)
	reported(iface.Name)

	d.wantBoot(report, config.NBFTProtect)
	if len(last) != 0 {
		t.Errorf("reported %+v, want nothing", last)
	}
	n := reports
	d.renewBoot(report)
	if reports != n {
		t.Error("a report of what is not wanted")
	}
}
