package connector

import (
	"fmt"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
)

// changed takes in one change of the kernel's controllers.
func (c *Connector) changed(ch kernel.Change) {
	switch {
	case ch.FabricsDevice:
		c.sched.Kick(nil)
	case ch.Name == "":
	case ch.Controller == nil:
		c.vanished(ch.Name)
	default:
		c.saw(ch.Controller)
	}
}

func (c *Connector) vanished(name string) {
	if s := c.strays[name]; s != nil {
		c.forgetStray(s)
	}
	if i := c.bound[name]; i != nil {
		c.log.Info("connection is gone", "ioc", i.id, "device", name)
		c.unbind(i)
		c.rebind(i)
		c.touch(i)
	}
}

func (c *Connector) saw(ctrl *kernel.Controller) {
	if !ctrl.KindKnown {
		return // it is being connected, or is none of ours to judge
	}
	if ctrl.Kind != tid.IO {
		c.vanished(ctrl.Name)
		return
	}
	if i := c.bound[ctrl.Name]; i != nil {
		if i.device.Inode == ctrl.Inode && ctrl.FitTo(tid.IO, i.id, c.opts.Interfaces()) != tid.NoFit {
			c.renew(i, ctrl)
			return
		}
		c.vanished(ctrl.Name)
	}
	if s := c.strays[ctrl.Name]; s != nil && s.ctrl.Inode != ctrl.Inode {
		c.forgetStray(s)
	}
	if i := c.match(ctrl); i != nil {
		if s := c.strays[ctrl.Name]; s != nil {
			c.forgetStray(s)
		}
		c.bind(i, ctrl)
		return
	}
	if s := c.strays[ctrl.Name]; s != nil {
		s.ctrl = ctrl
		c.loose[s] = struct{}{}
		return
	}
	c.setAdrift(ctrl, "", false)
}

// match finds the controller that ctrl serves best and that has no connection yet.
func (c *Connector) match(ctrl *kernel.Controller) *ioc {
	var best *ioc
	fit := tid.NoFit
	for _, i := range c.places[placeOf(tid.TID{Traddr: ctrl.Traddr, NQN: ctrl.NQN})] {
		if i.device != nil {
			continue
		}
		if g := ctrl.FitTo(tid.IO, i.id, c.opts.Interfaces()); g > fit || g == fit && best != nil && i.wanted() && !best.wanted() {
			best, fit = i, g
		}
	}
	return best
}

func (c *Connector) bind(i *ioc, ctrl *kernel.Controller) {
	c.bound[ctrl.Name] = i
	c.renew(i, ctrl)
}

// renew takes over what was read of i's connection.
func (c *Connector) renew(i *ioc, ctrl *kernel.Controller) {
	i.device, i.ours = ctrl, false
	if live := ctrl.State == kernel.StateLive; live != i.live {
		c.countPath(i, live)
		if live {
			c.log.Info("connected", "ioc", i.id, "device", ctrl.Name)
		}
	}
	c.touch(i)
}

func (c *Connector) countPath(i *ioc, live bool) {
	i.live = live
	if live {
		c.paths[i.id.NQN]++
		return
	}
	if c.paths[i.id.NQN]--; c.paths[i.id.NQN] <= 0 {
		delete(c.paths, i.id.NQN)
	}
}

func (c *Connector) unbind(i *ioc) {
	if i.device == nil {
		return
	}
	delete(c.bound, i.device.Name)
	if i.live {
		c.countPath(i, false)
	}
	i.device, i.ours, i.foreign = nil, false, ""
	c.sched.Lost(i.id)
}

// rebind looks among the strays for a connection that serves i.
func (c *Connector) rebind(i *ioc) {
	if i.device != nil {
		return
	}
	var best *stray
	fit := tid.NoFit
	for _, s := range c.adriftAt[placeOf(i.id)] {
		if g := s.ctrl.FitTo(tid.IO, i.id, c.opts.Interfaces()); g > fit && !c.deleting(s) {
			best, fit = s, g
		}
	}
	if best != nil {
		ctrl := best.ctrl
		c.forgetStray(best)
		c.bind(i, ctrl)
	}
}

// first says whether a connection would be the first path of its subsystem.
func (c *Connector) first(t tid.TID) bool { return c.paths[t.NQN] == 0 }

// veto stops an attempt that the administrator's host-wide list forbids. It runs off the loop.
func (c *Connector) veto(t schedule.Target) error {
	if c.opts.Excluded(t.TID, t.Host) {
		return fmt.Errorf("the host-wide exclusion list names it: %w", schedule.ErrVetoed)
	}
	return nil
}

// attempted is told of every attempt to connect.
func (c *Connector) attempted(t schedule.Target, r schedule.Result) {
	s := c.sched.Status(t.TID)
	switch {
	case r.Err == nil && r.Dropped:
		c.log.Info("connected what is no longer wanted", "ioc", t.TID, "device", kernel.Name(r.Connection.Instance))
	case r.Err == nil:
		c.log.Debug("the kernel connected", "ioc", t.TID, "device", kernel.Name(r.Connection.Instance), "took", r.Connection.Took.Round(time.Millisecond))
	case s.Attempts&(s.Attempts-1) == 0: // said at attempts 1, 2, 4, 8, ...
		c.log.Warn("cannot connect", "ioc", t.TID, "attempts", s.Attempts, "next", s.Delay.Round(100*time.Millisecond), "error", r.Err)
	}
	if i := c.iocs[t.TID]; i != nil {
		c.touch(i)
	}
	if r.Err == nil {
		if s := c.strays[kernel.Name(r.Connection.Instance)]; s != nil {
			c.loose[s] = struct{}{}
		}
	}
}

// freed is told of every disconnect.
func (c *Connector) freed(id tid.TID, err error) {
	if err != nil {
		c.log.Warn("cannot disconnect", "ioc", id, "error", err)
	}
	if i := c.iocs[id]; i != nil {
		c.touch(i)
	}
	for _, s := range c.adriftAt[placeOf(id)] {
		if err != nil {
			s.again(c)
		}
	}
}
