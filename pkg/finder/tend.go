package finder

import (
	"errors"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// pollGone is how often the kernel's state of a connection is looked at that no source
// names any more: the kernel does not tell when it begins to reconnect.
const pollGone = 30 * time.Second

// tend does for one controller what its state asks for now. It may be called at any time and any
// number of times.
func (f *Finder) tend(d *dc) {
	switch {
	case d.disposition == forgotten:
		f.sched.Drop(d.id())
		return
	case d.out:
		f.remove(d)
		return
	case f.identity.Host.NQN == "" && d.device == nil:
		f.sched.Drop(d.id())
		return
	case !f.scanned && d.device == nil:
		return // it may be connected; the kernel would connect it a second time
	}
	f.freeze(d)
	switch {
	case d.device == nil && d.parked:
		f.sched.Drop(d.id())
	case d.device == nil && (d.disposition == frozen || !d.named && f.cfg.DCGiveUp == 0):
		f.sched.Drop(d.id())
		f.retain(d)
	case d.device == nil && f.awaited(d):
	case d.device == nil:
		f.retain(d)
		f.sched.Want(d.target())
	case d.parked:
		f.letGo(d)
	case !f.own(d):
		if d.foreign != "" {
			f.sched.Drop(d.id())
		}
		f.retain(d)
	default:
		f.sched.Connected(d.target())
		f.retain(d)
		f.converse(d)
	}
}

// awaited says whether a connection that may serve d is just being made in another name, or was made and has not been looked at yet.
func (f *Finder) awaited(d *dc) bool {
	if f.sched.Connecting(func(t tid.TID) bool { return t != d.id() && t.Overlaps(tid.Discovery, d.id()) }) {
		return true
	}
	for t := range f.unasked {
		if t.Overlaps(tid.Discovery, d.id()) {
			return true
		}
	}
	return false
}

// freeze applies the host-wide exclusion list: forward only. A live connection stays, is not made
// anew, and its page neither adds nor removes anything from then on.
func (f *Finder) freeze(d *dc) {
	excluded := f.opts.Excluded(d.id(), d.want.Host)
	switch {
	case excluded && d.disposition == active:
		d.disposition = frozen
		f.log.Warn("excluded by the host-wide list; a live connection is kept and its log page frozen", "dc", d.id())
		f.publish(d)
	case !excluded && d.disposition == frozen:
		d.disposition = active
		d.dirty = true
		f.log.Info("no longer excluded by the host-wide list", "dc", d.id())
		f.publish(d)
	}
}

// remove ends a controller that the administrator took out: the connection, if it is ours, and
// then everything that is known of it.
func (f *Finder) remove(d *dc) {
	f.sched.Drop(d.id())
	switch {
	case d.device == nil && (f.sched.Busy(d.id()) || d.landing != ""):
	case d.device == nil:
		f.drop(d)
	case !f.opts.Ownership.Owner(d.device.Name).Is(Owner):
		f.log.Info("leaving the connection of a removed discovery controller to its owner", "dc", d.id(), "device", d.device.Name)
		f.drop(d)
	case d.timers.again == nil:
		f.sched.Disconnect(d.id(), disconnectRequest(d.device))
	}
}

// letGo ends the connection of a parked controller.
func (f *Finder) letGo(d *dc) {
	f.sched.Drop(d.id())
	if d.timers.again == nil && f.opts.Ownership.Owner(d.device.Name).Is(Owner) {
		f.sched.Disconnect(d.id(), disconnectRequest(d.device))
	}
}

func disconnectRequest(c *kernel.Controller) kernel.DisconnectRequest {
	return kernel.DisconnectRequest{Name: c.Name, Expect: c.Identity()}
}

// retain runs the retention of a controller that no source names: from the moment on at
// which it is also not connected. A source that names it again, or a connection, ends it.
func (f *Finder) retain(d *dc) {
	switch {
	case d.live():
		d.downAt = time.Time{}
	case d.downAt.IsZero():
		d.downAt = time.Now()
	}
	if !d.named && d.live() && d.timers.look == nil {
		d.timers.look = f.loop.After(pollGone, func() {
			stop(&d.timers.look)
			f.look(d)
		})
	}
	if d.named || d.live() || f.cfg.DCGiveUp == config.Forever {
		stop(&d.timers.retention)
		return
	}
	if d.timers.retention != nil {
		return
	}
	since := d.goneAt
	if d.downAt.After(since) {
		since = d.downAt
	}
	d.givenUpAt = since.Add(f.cfg.DCGiveUp)
	d.timers.retention = f.loop.After(max(0, time.Until(d.givenUpAt)), func() {
		stop(&d.timers.retention)
		if f.dcs[d.key] == d && !d.named && !d.live() {
			f.forget(d)
		}
	})
}

// look reads the kernel's state of d's connection anew.
func (f *Finder) look(d *dc) {
	if f.dcs[d.key] == d && d.device != nil {
		f.inspect(d.device.Name)
	}
}

// inspect reads the kernel's state of a connection anew.
func (f *Finder) inspect(name string) {
	was := f.devices[name]
	go func() {
		c, err := f.opts.Read(name)
		f.loop.Post(func() {
			d := f.bound[name]
			switch {
			case f.devices[name] != was: // the events have told more meanwhile
			case errors.Is(err, kernel.ErrGone), err == nil && (c.Inode != was.Inode || c.KindKnown && c.Kind != tid.Discovery):
				f.vanished(name)
			case err == nil:
				f.devices[name] = &c
				if d != nil {
					if d.device.CntlID != c.CntlID {
						d.connectionChanged() // it was made anew, and that was not told
					}
					d.device = &c
				}
			}
			if d != nil {
				f.touch(d)
			}
		})
	}()
}

// forget ends what is known of a discovered controller whose retention has ended. Its
// last page stays as a reminder of what it listed, so that stacd lets those connections live, for as long as there is one.
func (f *Finder) forget(d *dc) {
	f.log.Warn("discovery controller is neither named nor reachable any more, giving it up", "dc", d.id())
	f.sched.Drop(d.id())
	if c := d.device; c != nil {
		f.unbind(d)
		f.abandon(c.Name, c.Inode)
	}
	if name := d.landing; name != "" {
		f.landed(d)
		f.unwanted(d.id(), name)
	}
	d.stopTimers()
	if d.page == nil {
		f.drop(d)
		return
	}
	d.disposition = forgotten
	f.publish(d)
	f.removed = true
	f.resolveSources = true
	f.remind()
}

// holds says whether the policy keeps the connection of d between readings.
func (f *Finder) holds(d *dc) bool {
	policy := d.want.Persistent
	if policy == config.PersistDefault {
		policy = f.cfg.Persistent
	}
	switch policy {
	case config.PersistAuto:
		return d.epcsd
	case config.PersistNo:
		return false
	}
	return true
}

// park lets go of a connection until the next poll. What the page says stays in force.
func (f *Finder) park(d *dc) {
	d.parked, d.removals = true, 0
	f.log.Debug("parking discovery controller until the next poll", "dc", d.id(), "interval", f.cfg.EPCSDPollInterval)
	f.letGo(d)
	stop(&d.timers.poll)
	d.timers.poll = f.loop.After(f.cfg.EPCSDPollInterval, func() {
		d.parked, d.dirty = false, true
		f.touch(d)
	})
}

// registrable says whether d takes the registration of a host (TP8010): a controller that says
// that it is a DDC or a CDC, over TCP.
func (d *dc) registrable() bool {
	return d.id().Transport == nvme.TCP && d.identified != nil &&
		(d.identified.DCTYPE == nvme.DCTypeDDC || d.identified.DCTYPE == nvme.DCTypeCDC)
}
