package finder

import (
	"errors"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
)

// spare is a connection of the kernel to a discovery controller that serves none of those that are
// known. Ours come about when what an attempt was made for is dropped, or gets another connection, while the
// attempt is inside the kernel, and when a daemon dies together with its memory. Others' are not touched.
type spare struct {
	inode    uint64
	orphan   bool // what this daemon made it for is no longer wanted: that is reason enough
	looked   bool // a look at it is under way
	ending   bool // its disconnect is under way
	failures int  // disconnects in a row that did not end it
	again    *time.Timer
}

func (f *Finder) forgetSpare(name string) {
	if s := f.spares[name]; s != nil {
		stop(&s.again)
		delete(f.spares, name)
	}
}

// abandon makes the connection name a spare that may go.
func (f *Finder) abandon(name string, inode uint64) {
	f.forgetSpare(name)
	f.spares[name] = &spare{inode: inode, orphan: true}
	f.sparesDue = true
}

// tendSpares finds the spare connections and ends those of ours that nothing will need.
func (f *Finder) tendSpares() {
	for name := range f.spares {
		if c := f.devices[name]; c == nil || c.Inode != f.spares[name].inode || f.bound[name] != nil {
			f.forgetSpare(name)
		}
	}
	for name, ctrl := range f.devices {
		if f.bound[name] != nil || f.landing[name] != nil || !ctrl.KindKnown || ctrl.Kind != tid.Discovery {
			continue
		}
		if d := f.match(ctrl); d != nil {
			f.bind(d, ctrl)
			d.connectionChanged()
			f.touch(d)
			continue
		}
		if !f.opts.Ownership.Owner(name).Is(Owner) {
			continue
		}
		if d := f.leftAlone(ctrl); d != nil {
			f.unbind(d)
			f.bind(d, ctrl)
			d.connectionChanged()
			f.touch(d)
			continue
		}
		s := f.spares[name]
		if s == nil {
			s = &spare{inode: ctrl.Inode}
			f.spares[name] = s
		}
		if server, needless := f.needless(ctrl, s.orphan); needless && !s.looked && !s.ending && s.again == nil && !f.sched.Busy(idOf(ctrl)) {
			f.verify(name, server)
		}
	}
}

// leftAlone gives what a connection of ours would serve, where that goes by one of another owner: over that it is not spoken to.
func (f *Finder) leftAlone(ctrl *kernel.Controller) *dc {
	for _, d := range f.places[placeOf(idOf(ctrl))] {
		if d.foreign != "" && !d.parked && !d.out && ctrl.FitTo(tid.Discovery, d.id(), f.opts.Interfaces()) != tid.NoFit {
			return d
		}
	}
	return nil
}

// needless says whether a spare connection may end: it is to a controller that another connection serves, given
// as server, or that wants none now; or to one that exclude= names; or to none that anybody can still name.
func (f *Finder) needless(ctrl *kernel.Controller, orphan bool) (server string, is bool) {
	for _, d := range f.places[placeOf(idOf(ctrl))] {
		switch {
		case d.disposition == forgotten, ctrl.FitTo(tid.Discovery, d.id(), f.opts.Interfaces()) == tid.NoFit:
		case d.device != nil && d.foreign == "" && !f.sched.Busy(d.id()): // one that is being ended serves no longer
			return d.device.Name, true
		case d.parked, d.out:
			is = true
		default:
			return "", false
		}
	}
	return "", is || f.excludedByConfig(idOf(ctrl)) || orphan && !f.cfg.Incomplete || f.allKnown()
}

// allKnown says whether everything that could name a controller has spoken: only then is a connection that
// fits nothing one that nothing names.
func (f *Finder) allKnown() bool {
	if !f.scanned || !f.sources.configured || f.cfg.Incomplete || f.identity.Host.NQN == "" || !f.heardOutside() {
		return false
	}
	for name := range f.sources.names {
		if len(f.sources.names[name]) == 0 {
			return false
		}
	}
	for _, d := range f.dcs {
		if d.disposition != forgotten && (d.page == nil || d.page.stale || d.page.dropped > 0) {
			return false // its page may lead there
		}
	}
	return true
}

// verify looks at a spare and at the connection that is preferred to it before it is ended: events about
// both may be on their way, or lost.
func (f *Finder) verify(name, server string) {
	s := f.spares[name]
	s.looked = true
	go func() {
		there, err := f.opts.Read(name)
		var other kernel.Controller
		var otherErr error
		if server != "" {
			other, otherErr = f.opts.Read(server)
		}
		f.loop.Post(func() {
			s.looked = false
			f.sparesDue = true
			if c := f.devices[name]; f.spares[name] != s || c == nil || c.Inode != s.inode {
				return // it has gone meanwhile
			}
			if b := f.bound[server]; server != "" && b != nil && (errors.Is(otherErr, kernel.ErrGone) || otherErr == nil && other.Inode != b.device.Inode) {
				f.vanished(server) // and the spare takes its place
				return
			}
			switch {
			case errors.Is(err, kernel.ErrGone), err == nil && there.Inode != s.inode:
				f.vanished(name)
			case err != nil || otherErr != nil:
				f.rest(name, s)
			default:
				f.endSpare(name, s, server)
			}
		})
	}()
}

// endSpare disconnects a spare for which nothing has changed while it was looked at.
func (f *Finder) endSpare(name string, s *spare, server string) {
	ctrl := f.devices[name]
	now, needless := f.needless(ctrl, s.orphan)
	id := idOf(ctrl)
	if !needless || now != server || f.bound[name] != nil || f.sched.Busy(id) {
		f.rest(name, s)
		return
	}
	f.log.Info("disconnecting what is not needed", "dc", id, "device", name, "served by", server)
	s.ending = true
	f.sched.Disconnect(id, disconnectRequest(ctrl))
}

// rest leaves a spare alone for a while.
func (f *Finder) rest(name string, s *spare) {
	s.failures++
	s.again = f.loop.After(schedule.Delay(kernel.Other, s.failures), func() {
		stop(&s.again)
		f.sparesDue = true
	})
}

// spareFreed is told of every disconnect. The end of a spare is told by an event, normally at once; if that was
// lost it is found when the spare is looked at again.
func (f *Finder) spareFreed(id tid.TID) {
	f.sparesDue = true
	for name, s := range f.spares {
		if c := f.devices[name]; s.ending && c != nil && idOf(c) == id {
			s.ending = false
			f.rest(name, s)
		}
	}
}
