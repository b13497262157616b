package connector

import (
	"errors"
	"fmt"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
)

// Concerns says which of the kernel's controllers a Connector is to be told of. One that is only just being
// connected is none of them yet.
func Concerns(k kernel.Kind) bool { return k.Known && k.Kind == tid.IO }

// changed takes in one change of the kernel's controllers.
func (c *Connector) changed(ch kernel.Change) {
	switch {
	case ch.ScanDone:
		c.scanned = true
		c.touchAll()
		c.verify()
	case ch.FabricsDevice:
		c.kickAll()
	case ch.Name == "":
	case ch.Controller == nil:
		c.vanished(ch.Name)
	default:
		c.saw(ch.Controller)
	}
}

// verify looks whether what is known is still there, after events were lost: of a connection
// whose beginning and end were both among them nothing is told.
func (c *Connector) verify() {
	known := map[string]uint64{}
	for name, i := range c.bound {
		known[name] = i.device.Inode
	}
	for name, s := range c.strays {
		known[name] = s.ctrl.Inode
	}
	c.check(known)
}

// check reads connections, by name and inode, and drops those that are gone.
func (c *Connector) check(known map[string]uint64) {
	if len(known) == 0 {
		return
	}
	go func() {
		for name, inode := range known {
			ctrl, err := c.opts.Read(name)
			if err == nil && ctrl.Inode == inode || err != nil && !errors.Is(err, kernel.ErrGone) {
				continue
			}
			c.loop.Post(func() {
				i, s := c.bound[name], c.strays[name]
				if i != nil && i.device.Inode == inode || s != nil && s.ctrl.Inode == inode {
					c.vanished(name)
				}
			})
		}
	}()
}

func (c *Connector) vanished(name string) {
	if a := c.arriving[name]; a != nil {
		delete(c.arriving, name) // what is being read of it is no longer true
		c.touchAllAt(placeOf(a.id))
	}
	if s := c.strays[name]; s != nil {
		c.forgetStray(s)
	}
	if i := c.bound[name]; i != nil {
		c.log.Info("connection is gone", "ioc", i.id, "device", name)
		c.unbind(i)
		c.rebind(i)
		c.touch(i)
		c.touchAllAt(placeOf(i.id)) // if i is excluded, it has covered others by its connection alone
	}
	if i := c.landing[name]; i != nil {
		c.crashed(i)
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
	defer func() {
		if i := c.landing[ctrl.Name]; i != nil {
			c.crashed(i) // it turned out to be another one than was asked for
		}
	}()
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

// match finds the controller that ctrl serves best and that has no connection yet: one that is
// to be connected before one that another description covers, before one that is only mentioned.
func (c *Connector) match(ctrl *kernel.Controller) *ioc {
	var best *ioc
	grade := 0
	for _, i := range c.places[placeOfDevice(ctrl)] {
		if i.device != nil {
			continue
		}
		fit := ctrl.FitTo(tid.IO, i.id, c.opts.Interfaces())
		if fit == tid.NoFit || c.barred(i) || !i.keeps(ctrl) {
			continue
		}
		g := int(fit)
		if i.wanted() {
			g += 10
			if !c.covered(i) {
				g += 10
			}
		}
		if g > grade {
			best, grade = i, g
		}
	}
	return best
}

func (c *Connector) bind(i *ioc, ctrl *kernel.Controller) {
	c.landed(i)
	c.bound[ctrl.Name] = i
	c.touchPlace(placeOf(i.id)) // if i is excluded, it covers others from now on
	i.noted = false
	c.ownLater(i)
	c.renew(i, ctrl)
}

// renew takes over what was read of i's connection.
func (c *Connector) renew(i *ioc, ctrl *kernel.Controller) {
	i.device, i.ours = ctrl, false
	if live := ctrl.State == kernel.StateLive; live != i.live {
		i.live = live
		if live {
			c.log.Info("connected", "ioc", i.id, "device", ctrl.Name)
		}
	}
	c.count(i)
	c.touch(i)
}

// count keeps the number of paths to the subsystem of i. A connection counts from the moment on at
// which the kernel has made it: its event comes later than the next choice of whom to connect.
func (c *Connector) count(i *ioc) {
	is := i.live || i.landing != ""
	if is == i.counted {
		return
	}
	i.counted = is
	if is {
		c.paths[i.id.NQN]++
		return
	}
	if c.paths[i.id.NQN]--; c.paths[i.id.NQN] <= 0 {
		delete(c.paths, i.id.NQN)
	}
}

// land notes that the kernel has made the connection name for i, which no event has shown yet. It may be
// gone already, and its event told before this; then it is to be made again.
func (c *Connector) land(i *ioc, name string) {
	c.landed(i)
	if o := c.landing[name]; o != nil {
		c.crashed(o) // the name has been given again
	}
	i.landing = name
	c.landing[name] = i
	c.count(i)
	c.loop.After(confirmAfter, func() {
		if i.landing == name {
			c.confirm(i)
		}
	})
}

// confirmAfter is how long the event of a connection that was made has time before that is looked for. Nearly always it comes first.
const confirmAfter = 500 * time.Millisecond

// confirm looks whether the connection that has just been made for i is there.
func (c *Connector) confirm(i *ioc) {
	name := i.landing
	go func() {
		ctrl, err := c.opts.Read(name)
		c.loop.Post(func() {
			switch {
			case i.landing != name: // the events have told of it meanwhile
			case errors.Is(err, kernel.ErrGone):
				c.crashed(i)
			case err == nil:
				c.saw(&ctrl)
			}
		})
	}()
}

// arrival is a connection that was made and is not wanted so any more.
type arrival struct{ id tid.TID }

// readAgain is how long after a connection that was made could not be read that is tried again.
const readAgain = time.Second

// expect notes that the kernel has made the connection name, which is no longer wanted as t. Another
// description of the same may take it up; until it is seen nothing of the kind is connected.
func (c *Connector) expect(t tid.TID, name string) {
	if o := c.arriving[name]; o != nil {
		c.touchAllAt(placeOf(o.id)) // the name has been given again
	}
	a := &arrival{t}
	c.arriving[name] = a
	go func() {
		ctrl, err := c.opts.Read(name)
		c.loop.Post(func() {
			if c.arriving[name] != a {
				return
			}
			if err != nil && !errors.Is(err, kernel.ErrGone) {
				c.loop.After(readAgain, func() {
					if c.arriving[name] == a {
						c.expect(t, name)
					}
				})
				return
			}
			delete(c.arriving, name)
			if err == nil {
				c.saw(&ctrl)
			}
			c.touchAllAt(placeOf(t))
		})
	}()
}

// awaited says whether a connection that may serve i is just being made in another name.
func (c *Connector) awaited(i *ioc) bool {
	if c.sched.Connecting(func(t tid.TID) bool { return t != i.id && t.Overlaps(tid.IO, i.id) }) {
		return true
	}
	for _, a := range c.arriving {
		if a.id.Overlaps(tid.IO, i.id) {
			return true
		}
	}
	for _, o := range c.places[placeOf(i.id)] {
		if o != i && o.landing != "" && o.id.Overlaps(tid.IO, i.id) {
			return true
		}
	}
	return false
}

// landed ends the wait for the event of a connection that was made for i.
func (c *Connector) landed(i *ioc) {
	if i.landing != "" {
		delete(c.landing, i.landing)
		i.landing = ""
		c.count(i)
		c.touchPlace(placeOf(i.id))
	}
}

// crashed notes that the connection that was made for i was gone before it was seen.
func (c *Connector) crashed(i *ioc) {
	c.landed(i)
	c.sched.Lost(i.id)
	c.touch(i)
}

func (c *Connector) unbind(i *ioc) {
	if i.device == nil {
		return
	}
	c.release(i)
	c.sched.Lost(i.id)
}

// release takes the connection of i away from it.
func (c *Connector) release(i *ioc) {
	delete(c.bound, i.device.Name)
	i.device, i.ours, i.foreign, i.live, i.object.parts = nil, false, "", false, false
	c.count(i)
}

// rebind looks for a connection that serves i: among the strays, and among those of less deliberate
// descriptions of the same connection.
func (c *Connector) rebind(i *ioc) {
	if i.device != nil {
		return
	}
	var best *stray
	fit := tid.NoFit
	for _, s := range c.adriftAt[placeOf(i.id)] {
		if g := s.ctrl.FitTo(tid.IO, i.id, c.opts.Interfaces()); g > fit && i.keeps(s.ctrl) && (!c.deleting(s) || c.recall(s)) {
			best, fit = s, g
		}
	}
	if best != nil {
		ctrl := best.ctrl
		c.forgetStray(best)
		c.bind(i, ctrl)
		return
	}
	if !i.wanted() || c.covered(i) || c.barred(i) {
		return
	}
	for _, o := range c.places[placeOf(i.id)] {
		if o.device == nil || o == i || o.wanted() && !(o.id.Overlaps(tid.IO, i.id) && ahead(i, o)) {
			continue
		}
		if d := o.device; d.FitTo(tid.IO, i.id, c.opts.Interfaces()) != tid.NoFit {
			c.sched.Drop(o.id)
			c.release(o)
			c.touch(o)
			c.bind(i, d)
			return
		}
	}
}

// recall takes back the disconnect of s if it has not begun, as something calls for the connection again.
func (c *Connector) recall(s *stray) bool {
	if !c.sched.Recall(s.id) {
		return false
	}
	for _, o := range c.adriftAt[placeOf(s.id)] {
		c.loose[o] = struct{}{}
	}
	return true
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
	c.remember(t, r)
	s := c.sched.Status(t.TID)
	switch {
	case r.Err == nil && r.Dropped:
		c.log.Info("connected what is no longer wanted", "ioc", t.TID, "device", kernel.Name(r.Connection.Instance))
	case r.Err == nil:
		c.log.Debug("the kernel connected", "ioc", t.TID, "device", kernel.Name(r.Connection.Instance), "took", r.Connection.Took.Round(time.Millisecond))
	case errors.Is(r.Err, kernel.ErrNotBegun): // it was taken back
	case s.Attempts&(s.Attempts-1) == 0: // said at attempts 1, 2, 4, 8, ...
		c.log.Warn("cannot connect", "ioc", t.TID, "attempts", s.Attempts, "next", s.Delay.Round(100*time.Millisecond), "error", r.Err)
	}
	for _, w := range r.Connection.Warnings {
		c.log.Warn("connected, but not all is as it should be", "ioc", t.TID, "device", kernel.Name(r.Connection.Instance), "warning", w)
	}
	if i := c.iocs[t.TID]; i != nil {
		if r.Err == nil && i.device == nil {
			c.land(i, kernel.Name(r.Connection.Instance))
		}
		if noted := t.Attributes[sourceAttr]; r.Err == nil && noted != i.source() && !i.listedBy(noted) {
			c.renote(i, kernel.Name(r.Connection.Instance)) // it was unlisted meanwhile
		}
		c.touch(i)
	}
	c.touchAllAt(placeOf(t.TID)) // one that waited for this may be the only one left
	if r.Err == nil && r.Dropped {
		c.expect(t.TID, kernel.Name(r.Connection.Instance))
	}
	if r.Err == nil {
		if s := c.strays[kernel.Name(r.Connection.Instance)]; s != nil {
			c.loose[s] = struct{}{}
		}
	}
}

// freed is told of every disconnect.
func (c *Connector) freed(id tid.TID, err error) {
	c.freedOnRequest(id, err)
	if err != nil {
		c.log.Warn("cannot disconnect", "ioc", id, "error", err)
	}
	ended := map[string]uint64{}
	if i := c.iocs[id]; i != nil {
		c.touch(i)
		if err == nil && i.device != nil {
			ended[i.device.Name] = i.device.Inode
		}
	}
	for _, s := range c.adriftAt[placeOf(id)] {
		switch {
		case err != nil:
			s.again(c)
		case s.id == id:
			ended[s.ctrl.Name] = s.ctrl.Inode
			s.again(c) // it may be another connection of that name, which had to wait
		}
	}
	c.check(ended) // its event may come late, or not at all
}
