package daemon

import (
	"net"
	"sync/atomic"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/finder"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nbft"
	"github.com/stas-go/stas/pkg/tid"
)

// boot is what the firmware's tables say, for any goroutine to ask.
type boot struct{ atomic.Pointer[nbft.Boot] }

func (b *boot) protects(c *kernel.Controller) bool { return b.Load().Protects(c.Live) }

// names says whether a connection is the firmware's to make.
func (b *boot) names(kind tid.Kind, t tid.TID) bool { return b.Load().Names(kind, t) }

// readBoot reads the tables. A table does not change while the system runs, but a daemon may have
// been started before the firmware's files could be read.
func (d *daemon) readBoot() {
	b, problems := nbft.Read(nbft.Dir)
	for _, p := range problems {
		d.log.Error("boot connections of the firmware may go unrecognised", "error", p)
	}
	d.boot.Store(b)
}

// reportBoot gives the finder the firmware's discovery controllers, if the configuration wants them connected.
func (d *daemon) reportBoot(f *finder.Finder, mode config.NBFTMode) {
	var list []finder.Candidate
	if mode == config.NBFTConnect {
		for _, c := range d.boot.Load().Discovery {
			t := c.TID
			if table := d.network.Load(); table != nil && c.MAC != "" {
				if mac, err := net.ParseMAC(c.MAC); err == nil {
					if i, ok := table.ByMAC(mac, c.VLAN); ok {
						t.HostIface = i.Name
					}
				}
			}
			list = append(list, finder.Candidate{TID: t, Host: c.Host, Source: finder.Source{Origin: finder.Firmware, Detail: "NBFT"}})
		}
	}
	f.Report(finder.Firmware, list, true)
}
