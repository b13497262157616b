package daemon

import (
	"net"
	"sync"
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

// wanted is what the firmware's discovery controllers are connected by.
type wanted struct {
	mu     sync.Mutex
	mode   config.NBFTMode
	ifaces map[nbftIface]string // last known to be what the firmware means
}

// nbftIface is how the firmware names an interface.
type nbftIface struct {
	mac  string
	vlan int
}

// wantBoot reports the firmware's discovery controllers, if the configuration wants them connected.
func (d *daemon) wantBoot(report func([]finder.Candidate), mode config.NBFTMode) {
	d.wanted.mu.Lock()
	defer d.wanted.mu.Unlock()
	d.wanted.mode = mode
	var list []finder.Candidate
	if mode == config.NBFTConnect {
		list = d.bootCandidates()
	}
	report(list)
}

// renewBoot reports them once more where they are wanted, for the network has gained something: the interface of one may appear
// later than the daemon.
func (d *daemon) renewBoot(report func([]finder.Candidate)) {
	d.wanted.mu.Lock()
	defer d.wanted.mu.Unlock()
	if d.wanted.mode == config.NBFTConnect {
		report(d.bootCandidates())
	}
}

func (d *daemon) bootCandidates() (list []finder.Candidate) {
	for _, c := range d.boot.Load().Discovery {
		t := c.TID
		if name := d.ifaceOf(c.MAC, c.VLAN); name != "" {
			t.HostIface = name
		}
		list = append(list, finder.Candidate{TID: t, Host: c.Host, Source: finder.Source{Origin: finder.Firmware, Detail: "NBFT"}})
	}
	return list
}

// ifaceOf gives the name of the interface that the firmware means; the last one as long as it cannot be told, so that
// nothing is connected anew because an interface is away.
func (d *daemon) ifaceOf(address string, vlan int) string {
	mac, err := net.ParseMAC(address)
	if err != nil {
		return ""
	}
	key := nbftIface{mac.String(), vlan}
	if table := d.network.Load(); table != nil {
		if i, ok := table.ByMAC(mac, vlan); ok {
			if d.wanted.ifaces == nil {
				d.wanted.ifaces = map[nbftIface]string{}
			}
			d.wanted.ifaces[key] = i.Name
		}
	}
	return d.wanted.ifaces[key]
}
