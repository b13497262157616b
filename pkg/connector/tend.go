package connector

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

// tend does for one I/O controller what its state asks for now.
func (c *Connector) tend(i *ioc) {
	if c.barred(i) {
		c.sched.Drop(i.id)
		if i.device != nil {
			d := i.device
			c.unbind(i)
			c.setAdrift(d, i.source(), false)
		}
		return
	}
	if c.parted(i) {
		return
	}
	if i.device == nil {
		c.rebind(i)
	}
	switch {
	case !i.wanted() || c.identity.Host.NQN == "" || c.covered(i):
		c.sched.Drop(i.id)
		if i.device != nil && !i.wanted() {
			c.keepWhileLive(i)
		}
	case i.device == nil && (!c.scanned || c.awaited(i)): // it may be connected
	case i.device == nil && c.opts.Excluded(i.id, i.host):
		c.sched.Drop(i.id)
	case i.device == nil && c.exhausted(i):
		c.sched.Drop(i.id)
	case i.boot && i.device != nil:
		c.sched.Connected(i.target())
	case i.boot:
		c.sched.Want(i.target())
	case c.opts.Firmwares(tid.IO, i.id):
		c.sched.Drop(i.id)
		c.tellFirmwares(i)
	case i.device == nil:
		c.sched.Want(i.target())
	case c.opts.Protected(i.device):
		c.sched.Drop(i.id)
	case c.own(i):
		c.sched.Connected(i.target())
	case i.foreign != "":
		c.sched.Drop(i.id)
	}
}

// tellFirmwares reports once that i is a boot connection of the firmware: not for us to make, to
// adopt or to end.
func (c *Connector) tellFirmwares(i *ioc) {
	if !i.told {
		i.told = true
		c.log.Error("this I/O controller is a boot connection of the firmware (NBFT); leaving it alone", "ioc", i.id)
	}
}

// exhausted says whether the attempts that are allowed while NCC is set have been made.
func (c *Connector) exhausted(i *ioc) bool {
	if !i.ncc() || c.cfg.ConnectAttemptsOnNCC == 0 {
		i.gaveUp = false
		return false
	}
	if !i.gaveUp && c.sched.Status(i.id).Attempts >= c.cfg.ConnectAttemptsOnNCC {
		i.gaveUp = true
		c.log.Info("giving up for as long as all discovery controllers report no contact to the central one (NCC)", "ioc", i.id, "attempts", c.cfg.ConnectAttemptsOnNCC)
	}
	return i.gaveUp
}

// own makes sure that the connection of i is ours, and says whether it is.
func (c *Connector) own(i *ioc) bool {
	if i.ours {
		c.checkNote(i)
		return true
	}
	name := i.device.Name
	owner := c.opts.Ownership.Owner(name)
	if owner.Kind() == registry.KindNone {
		if c.sched.Busy(i.id) || i.device.State != kernel.StateLive {
			return false // the worker is about to register it
		}
		now, err := c.opts.Read(name)
		if errors.Is(err, kernel.ErrGone) || err == nil && now.Inode != i.device.Inode {
			c.check(map[string]uint64{name: i.device.Inode})
			i.unclaimed = true
			c.claimLater()
			return false // another that has the name now is not ours to claim
		}
		if err == nil {
			_, err = c.opts.Ownership.Claim(name, Owner)
		}
		if err != nil && !errors.Is(err, registry.ErrOwned) {
			if !i.unclaimed {
				i.unclaimed = true
				c.log.Warn("cannot register ownership of the connection", "device", name, "error", err)
			}
			c.claimLater()
			return true // registering is best effort; the connection serves
		}
		owner, i.noted = c.opts.Ownership.Owner(name), false // what stood beside the last one may have gone with it
	}
	if owner.Protected() {
		if who := owner.String(); i.foreign != who {
			i.foreign = who
			c.log.Info("connected by another owner, leaving it alone", "ioc", i.id, "device", name, "owner", owner)
		}
		return false
	}
	i.ours, i.foreign, i.unclaimed = owner.Is(Owner), "", false
	if i.ours {
		c.checkNote(i)
	}
	return i.ours
}

// checkNote sees to it that the registry names one who calls for the connection of i: it was taken over and nothing is noted, or
// who is noted has ceased to call for it while this daemon did not run. Whose page is not known may call for it still.
func (c *Connector) checkNote(i *ioc) {
	if i.noted {
		return
	}
	noted, err := c.opts.Ownership.Attr(i.device.Name, sourceAttr)
	switch p := c.pages[noted]; {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return
	case err == nil && (noted == i.source() || i.listedBy(noted)):
	case err == nil && noted != configSource && (p == nil || !p.removes()):
		return
	default:
		c.renote(i, i.device.Name)
		return
	}
	i.noted = true
}

// ownAgain is how long at least after a connection was found its owner is read once more: the rule that removes the
// entries of controllers that went may run late, and take the entry of one that was given the same name since for
// that of its predecessor.
const ownAgain = 5 * time.Second

// ownLater reads the owner of i's connection once more, together with that of others that were found meanwhile.
func (c *Connector) ownLater(i *ioc) {
	if c.found = append(c.found, i); len(c.found) == 1 {
		c.ownFound()
	}
}

// ownFound reads the owners of those that have been found by now once more. It is the turn of those that are found meanwhile after them.
func (c *Connector) ownFound() {
	n := len(c.found)
	c.loop.After(ownAgain, func() {
		for _, i := range c.found[:n] {
			if i.device != nil {
				i.ours = false
				c.touch(i)
			}
		}
		if c.found = slices.Delete(c.found, 0, n); len(c.found) > 0 {
			c.ownFound()
		} else {
			c.found = nil
		}
	})
}

// claimAgain is how long after a connection could not be registered, as the registry's file system is
// full for example, that is tried again. Nothing tells when it would succeed.
const claimAgain = 5 * time.Second

// claimLater looks again at the connections that could not be registered.
func (c *Connector) claimLater() {
	if c.claiming {
		return
	}
	c.claiming = true
	c.loop.After(claimAgain, func() {
		c.claiming = false
		for _, i := range c.iocs {
			if i.unclaimed && i.device != nil {
				c.touch(i)
			}
		}
	})
}

// keepWhileLive watches a connection that only a page mentions which neither adds nor
// removes: it stays while it is live and is not made anew.
func (c *Connector) keepWhileLive(i *ioc) {
	if i.keeps(i.device) {
		return
	}
	d := i.device
	c.unbind(i)
	c.setAdrift(d, i.source(), false)
}

func (c *Connector) deleting(s *stray) bool { return c.sched.Busy(s.id) }

// idOf is the Transport ID of a connection, spelled as what asks for it is.
func idOf(d *kernel.Controller) tid.TID {
	t := tid.TID{Transport: d.Transport, Traddr: d.Traddr, Trsvcid: d.Trsvcid, NQN: d.NQN,
		HostTraddr: d.HostTraddr, HostIface: d.HostIface, HostNQN: d.HostNQN}
	if n, err := tid.New(tid.IO, t); err == nil {
		return n
	}
	return t
}
