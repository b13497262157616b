package daemon

import (
	"context"
	"sync/atomic"

	"github.com/stas-go/stas/pkg/netif"
	"github.com/stas-go/stas/pkg/tid"
)

// network is the host's interfaces and addresses as last read, for any goroutine to ask.
type network struct{ atomic.Pointer[netif.Table] }

// interfaces tells which interface holds which local address.
func (d *daemon) interfaces() tid.Interfaces {
	if t := d.network.Load(); t != nil {
		return t
	}
	return nil
}

func (d *daemon) readNetwork() (changed bool) {
	now, err := netif.Read()
	if err != nil {
		d.log.Warn("cannot read the network interfaces; what was known stays", "error", err)
		return false
	}
	last := d.network.Swap(now)
	return last == nil || !last.Equal(now)
}

// watchNetwork has changed called whenever a link comes up or an address becomes usable.
func (d *daemon) watchNetwork(changed func()) func(context.Context) {
	return func(ctx context.Context) {
		notices, err := netif.Watch(ctx)
		if err != nil {
			d.log.Warn("cannot watch the network interfaces; what waits for one will wait for its next attempt", "error", err)
			return
		}
		if d.readNetwork() { // since the daemon first looked
			changed()
		}
		for range notices {
			if d.readNetwork() {
				changed()
			}
		}
	}
}
