package daemon

import (
	"context"
	"sync/atomic"
	"time"

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

func (d *daemon) readNetwork() {
	if _, err := d.followNetwork(netif.Read); err != nil {
		d.log.Warn("cannot read the network interfaces", "error", err)
	}
}

// followNetwork reads what is there now, and says whether that may help what waits.
func (d *daemon) followNetwork(read func() (*netif.Table, error)) (helps bool, err error) {
	now, err := read()
	if err != nil {
		return false, err
	}
	return now.Gained(d.network.Swap(now)), nil
}

const (
	// kickPause is how long after what waited was kicked the next kick comes at the soonest. While they follow one another it doubles
	// up to kickMost: an address comes a moment after its link, and has to be used at once; but on a host of containers interfaces come
	// without end, and each kick makes every attempt begin its waiting anew.
	kickPause = time.Second
	kickMost  = 8 * time.Second

	// networkRetry is when the network is read, or watched, once more after that failed.
	networkRetry = 5 * time.Second
)

// watchNetwork has helped called when a link has come up or an address has become usable.
func (d *daemon) watchNetwork(helped func()) func(context.Context) {
	return func(ctx context.Context) {
		for ctx.Err() == nil {
			notices, err := netif.Watch(ctx)
			if err != nil {
				d.log.Warn("cannot watch the network interfaces, trying again", "error", err)
			} else {
				d.kickOnNotices(ctx, notices, netif.Read, helped)
				if ctx.Err() != nil {
					return
				}
				d.log.Warn("notices of network interfaces cannot be received any more, watching them anew")
			}
			select {
			case <-ctx.Done():
			case <-time.After(networkRetry):
			}
		}
	}
}

// kickOnNotices reads the network at first, as it may have changed since the daemon first looked, and on every notice until they end.
func (d *daemon) kickOnNotices(ctx context.Context, notices <-chan struct{}, read func() (*netif.Table, error), helped func()) {
	var again, rested <-chan time.Time // nil: nothing to read again; no kick a short while ago
	due, failed, pause := false, false, kickPause
	for {
		helps, err := d.followNetwork(read)
		again = nil
		if err != nil {
			if !failed {
				d.log.Warn("cannot read the network interfaces, trying again; what was known stays until then", "error", err)
			}
			again = time.After(networkRetry)
		}
		failed = err != nil
		due = due || helps
		for wait := true; wait; {
			if due && rested == nil {
				due, rested = false, time.After(pause)
				helped()
			}
			select {
			case <-ctx.Done():
				return
			case _, ok := <-notices:
				if !ok {
					return
				}
				wait = false
			case <-again:
				wait = false
			case <-rested:
				if rested = nil; due {
					pause = min(2*pause, kickMost)
				} else {
					pause = kickPause
				}
			}
		}
	}
}
