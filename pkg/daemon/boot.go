package daemon

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/finder"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nbft"
	"github.com/stas-go/stas/pkg/tid"
)

// boot is what the firmware's tables say, for any goroutine to ask.
type boot struct {
	atomic.Pointer[nbft.Boot]
	unread atomic.Int32 // problems with them: they may say more
}

func (b *boot) protects(c *kernel.Controller) bool { return b.Load().Protects(c.Live) }

// names says whether a connection is the firmware's to make.
func (b *boot) names(kind tid.Kind, t tid.TID) bool { return b.Load().Names(kind, t) }

// readBoot reads the tables. A table does not change while the system runs, but a daemon may have
// been started before the firmware's files could be read.
func (d *daemon) readBoot(dir string) {
	b, problems := nbft.Read(dir)
	if d.boot.Load() == nil {
		for _, p := range problems {
			d.log.Error("boot connections of the firmware may go unrecognised", "error", p)
		}
	} else if len(problems) >= int(d.boot.unread.Load()) {
		return // it says no more than is known
	}
	d.boot.Store(b)
	d.boot.unread.Store(int32(len(problems)))
}

// Tables that could not be read are read again after bootRetry, then after twice as long each time.
const (
	bootRetry     = 5 * time.Second
	bootRetryMost = 10 * time.Minute
)

// followBoot reads the tables until all of them could be, and then asks for a reload.
func (d *daemon) followBoot(dir string) func(context.Context) {
	return func(ctx context.Context) {
		if d.boot.unread.Load() == 0 {
			return
		}
		for wait := bootRetry; d.boot.unread.Load() > 0; wait = min(2*wait, bootRetryMost) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			d.readBoot(dir)
		}
		d.log.Info("all boot tables of the firmware have been read now")
		select {
		case d.again <- struct{}{}:
		default: // one is due already
		}
	}
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
func (d *daemon) wantBoot(report func(list []finder.Candidate, complete bool), mode config.NBFTMode) {
	d.wanted.mu.Lock()
	defer d.wanted.mu.Unlock()
	d.wanted.mode = mode
	var list []finder.Candidate
	if mode == config.NBFTConnect {
		list = d.bootCandidates()
	}
	report(list, mode != config.NBFTConnect || d.boot.unread.Load() == 0)
}

// renewBoot reports them once more where they are wanted, for the network has gained something: the interface of one may appear
// later than the daemon.
func (d *daemon) renewBoot(report func(list []finder.Candidate, complete bool)) {
	d.wanted.mu.Lock()
	defer d.wanted.mu.Unlock()
	if d.wanted.mode == config.NBFTConnect {
		report(d.bootCandidates(), d.boot.unread.Load() == 0)
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
