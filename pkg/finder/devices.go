package finder

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
)

// Concerns says which of the kernel's controllers a Finder is to be told of. One of which the kind is not known
// yet matters only while a connection is wanted: somebody else may just be making it. It may be called on any goroutine.
func (f *Finder) Concerns(k kernel.Kind) bool {
	return k.Known && k.Kind == tid.Discovery || !k.Known && f.wanting.Load()
}

// noteWanting keeps what Concerns goes by.
func (f *Finder) noteWanting() {
	wanting := !f.scanned
	for _, d := range f.dcs {
		wanting = wanting || d.device == nil && !d.parked && d.disposition != forgotten
	}
	f.wanting.Store(wanting)
}

// changed takes in one change of the kernel's controllers.
func (f *Finder) changed(c kernel.Change) {
	switch {
	case c.ScanDone:
		if f.scanned { // it is told at the start, and after events were lost
			f.missedFC()
		}
		f.scanned = true
		f.touchAll()
		f.sparesDue = true
		for name := range f.devices {
			f.inspect(name) // what was told of it may have been lost with its beginning and its end
		}
	case c.FabricsDevice:
		f.kickAll()
	case c.FC != nil:
		f.heardFC(*c.FC)
	case c.Name == "":
	case c.Controller == nil:
		f.vanished(c.Name)
	default:
		f.saw(c)
	}
}

func (f *Finder) vanished(name string) {
	delete(f.devices, name)
	if d := f.landing[name]; d != nil {
		f.crashed(d)
	}
	if d := f.bound[name]; d != nil {
		f.log.Info("connection to discovery controller is gone", "dc", d.id(), "device", name)
		f.unbind(d)
		f.rebind(d)
		f.touch(d)
		if d.id().Transport == nvme.FC && !d.parked && d.device == nil {
			f.kickstart()
		}
	}
}

func (f *Finder) saw(c kernel.Change) {
	ctrl := c.Controller
	if ctrl.KindKnown && ctrl.Kind != tid.Discovery {
		f.vanished(c.Name) // the name now belongs to an I/O controller
		return
	}
	f.devices[c.Name] = ctrl
	if ctrl.KindKnown {
		defer func() {
			if d := f.landing[c.Name]; d != nil {
				f.crashed(d) // it turned out to be another one than was asked for
			}
		}()
	}
	d := f.bound[c.Name]
	if d != nil && (d.device.Inode != ctrl.Inode || ctrl.KindKnown && ctrl.FitTo(tid.Discovery, d.id(), f.opts.Interfaces()) == tid.NoFit) {
		f.vanished(c.Name)
		f.devices[c.Name] = ctrl
		d = nil
	}
	fresh := d == nil
	if fresh {
		if d = f.match(ctrl); d == nil {
			f.sparesDue = true
			return
		}
		f.bind(d, ctrl)
	}
	was := d.device
	d.device = ctrl
	switch {
	case c.Connected && !c.Rediscover && d.newborn && !fresh && was.CntlID == ctrl.CntlID:
		d.newborn = false // it tells what is known, and the session has begun
	case c.Connected, c.Rediscover, fresh, was.CntlID != ctrl.CntlID:
		d.connectionChanged()
	}
	if c.AEN {
		d.dirty = true
	}
	f.touch(d)
}

// match finds the known controller that ctrl serves best and that has none yet.
func (f *Finder) match(ctrl *kernel.Controller) *dc {
	var best *dc
	fit := tid.NoFit
	for _, d := range f.places[placeOf(tid.TID{Transport: ctrl.Transport, Traddr: ctrl.Traddr, Trsvcid: ctrl.Trsvcid})] {
		if d.device != nil || d.parked || d.disposition == forgotten {
			continue
		}
		if g := ctrl.FitTo(tid.Discovery, d.id(), f.opts.Interfaces()); g > fit {
			best, fit = d, g
		}
	}
	return best
}

func (f *Finder) bind(d *dc, ctrl *kernel.Controller) {
	f.landed(d)
	d.device, d.lostAt, d.removals = ctrl, time.Time{}, 0
	f.bound[ctrl.Name] = d
}

func (f *Finder) unbind(d *dc) {
	if d.device == nil {
		return
	}
	delete(f.bound, d.device.Name)
	d.device, d.foreign, d.lostAt = nil, "", time.Now()
	f.setOutdated(d, false)
	f.sparesDue = true
	d.connectionChanged()
	stop(&d.timers.again)
	f.sched.Lost(d.id())
}

// rebind looks among the kernel's controllers for one that serves d.
func (f *Finder) rebind(d *dc) {
	if d.device != nil || d.parked || d.disposition == forgotten {
		return
	}
	var best *kernel.Controller
	fit := tid.NoFit
	for _, ctrl := range f.devices {
		if f.bound[ctrl.Name] != nil {
			continue
		}
		if g := ctrl.FitTo(tid.Discovery, d.id(), f.opts.Interfaces()); g > fit || g == fit && best != nil && ctrl.Instance < best.Instance {
			best, fit = ctrl, g
		}
	}
	if best != nil {
		f.bind(d, best)
		d.connectionChanged()
		f.inspect(best.Name) // its end may not have been told
		f.touch(d)
	}
}

// claimAgain is how long after a connection could not be registered, as the registry's file system is
// full for example, that is tried again. Nothing tells when it would succeed.
const claimAgain = 5 * time.Second

// claimLater has d looked at again.
func (f *Finder) claimLater(d *dc) {
	if d.timers.claim == nil {
		d.timers.claim = f.loop.After(claimAgain, func() {
			stop(&d.timers.claim)
			f.touch(d)
		})
	}
}

// own makes sure that the connection of d is ours, and says whether it is. An unowned
// one that serves what we want is claimed; one of another owner is left alone for as long as it is there.
func (f *Finder) own(d *dc) bool {
	owner := f.opts.Ownership.Owner(d.device.Name)
	if owner.Kind() == registry.KindNone {
		if f.sched.Busy(d.id()) || !d.live() {
			return false // whoever makes it is about to register it
		}
		err := f.stillThere(d.device.Name, d.device.Inode)
		if errors.Is(err, kernel.ErrGone) { // another that has the name now is not ours to claim
			f.look(d)
			f.claimLater(d)
			return false
		}
		if err == nil {
			_, err = f.opts.Ownership.Claim(d.device.Name, cmp.Or(d.target().Owner, Owner))
		}
		if err != nil && !errors.Is(err, registry.ErrOwned) {
			if !d.unclaimed {
				d.unclaimed = true
				f.log.Warn("cannot register ownership of the connection", "device", d.device.Name, "error", err)
			}
			f.claimLater(d)
			return true // registering is best effort; the connection serves
		}
		owner = f.opts.Ownership.Owner(d.device.Name)
	}
	if owner.Name() == registry.NBFT && d.firmwares() {
		d.foreign = ""
		return true
	}
	if owner.Protected() {
		if owner.Kind() == registry.KindUnknown {
			f.claimLater(d) // nothing tells when it can be found out
		}
		if name := owner.String(); d.foreign != name {
			d.foreign = name
			f.log.Info("discovery controller is connected by another owner, leaving it alone", "dc", d.id(), "device", d.device.Name, "owner", owner)
		}
		return false
	}
	d.foreign = ""
	return true
}

// veto stops an attempt that the administrator's host-wide list forbids. It runs off the loop.
func (f *Finder) veto(t schedule.Target) error {
	if f.opts.Excluded(t.TID, t.Host) {
		return fmt.Errorf("the host-wide exclusion list names it: %w", schedule.ErrVetoed)
	}
	return nil
}

// attempted is told of every attempt to connect.
func (f *Finder) attempted(t schedule.Target, r schedule.Result) {
	f.sparesDue = true
	if r.Err == nil {
		f.log.Info("connected", "dc", t.TID, "device", kernel.Name(r.Connection.Instance))
		for _, w := range r.Connection.Warnings {
			f.log.Warn("connected, but not all is as it should be", "dc", t.TID, "device", kernel.Name(r.Connection.Instance), "warning", w)
		}
		f.made(t, kernel.Name(r.Connection.Instance), r.Dropped)
	} else if n := f.sched.Status(t.TID).Attempts; n&(n-1) == 0 && !errors.Is(r.Err, kernel.ErrNotBegun) { // said at attempts 1, 2, 4, 8, ...
		f.log.Warn("cannot connect", "dc", t.TID, "attempts", n, "error", r.Err)
		if f.opts.Unanswered != nil && slices.ContainsFunc(f.places[placeOf(t.TID)], (*dc).announced) {
			f.opts.Unanswered()
		}
	}
	for _, d := range f.places[placeOf(t.TID)] {
		f.touch(d)
	}
}

// freed is told of every disconnect.
func (f *Finder) freed(id tid.TID, err error) {
	f.freedOnRequest(id, err)
	f.spareFreed(id)
	if err != nil {
		f.log.Warn("cannot disconnect", "dc", id, "error", err)
	}
	for _, d := range f.places[placeOf(id)] {
		if d.device != nil && (d.out || d.parked) {
			// Its end is told by an event, normally at once. Failures wait before the next try.
			d.removals++
			stop(&d.timers.again)
			d.timers.again = f.loop.After(schedule.Delay(kernel.Other, d.removals), func() {
				stop(&d.timers.again)
				f.look(d)
			})
		}
		f.touch(d)
	}
}
