package finder

import (
	"errors"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
)

// made is told that the kernel has made the connection name for t. No event may have shown it
// yet; and it may be gone already, its event told before this. So it is looked at.
func (f *Finder) made(t schedule.Target, name string, dropped bool) {
	var d *dc
	for _, o := range f.places[placeOf(t.TID)] {
		if o.id() != t.TID {
			continue
		}
		o.object.made, o.object.madeName, o.object.inode = t.Params, name, 0
		if o.device == nil && !dropped {
			d = o
			f.landed(d)
			if last := f.landing[name]; last != nil {
				f.crashed(last) // the name has been given again
			}
			d.landing = name
			f.landing[name] = d
		}
	}
	if d == nil {
		f.unwanted(t.TID, name)
	} else {
		f.confirm(d, name)
	}
}

// confirmAgain is how long after a connection could not be looked at that is tried again.
const confirmAgain = time.Second

// confirm looks at the connection that was made for d.
func (f *Finder) confirm(d *dc, name string) {
	go func() {
		c, err := f.opts.Read(name)
		f.loop.Post(func() {
			switch {
			case f.landing[name] != d: // the events have told of it
			case err != nil && !errors.Is(err, kernel.ErrGone): // no event may be to come
				f.loop.After(confirmAgain, func() {
					if f.landing[name] == d {
						f.confirm(d, name)
					}
				})
			default:
				f.confirmed(d, c, err)
			}
		})
	}()
}

// unwanted notes that the connection name was made for t, for which nobody waits.
func (f *Finder) unwanted(t tid.TID, name string) {
	f.unasked[&t] = struct{}{}
	f.seeOrphan(&t, name)
}

// seeOrphan looks at a connection that was made for t and that nobody waits for.
func (f *Finder) seeOrphan(t *tid.TID, name string) {
	was := f.devices[name]
	go func() {
		c, err := f.opts.Read(name)
		f.loop.Post(func() {
			switch now := f.devices[name]; {
			case err == nil && now != nil && now != was && now.Inode != c.Inode:
				f.seeOrphan(t, name) // the name was given again before or after it was read
			case err != nil && !errors.Is(err, kernel.ErrGone):
				f.loop.After(confirmAgain, func() { f.seeOrphan(t, name) })
			default:
				f.orphaned(t, name, c, err)
			}
		})
	}()
}

// confirmed takes in what was read of the connection that was made for d.
func (f *Finder) confirmed(d *dc, c kernel.Controller, err error) {
	switch {
	case errors.Is(err, kernel.ErrGone):
		f.crashed(d)
	case err == nil && c.KindKnown:
		f.saw(kernel.Change{Name: c.Name, Controller: &c})
		if f.bound[c.Name] == d {
			d.newborn = true
		}
	}
}

// orphaned ends a connection that nobody waits for, as what it was made for is no longer wanted or has one
// already, unless it serves something by now.
func (f *Finder) orphaned(t *tid.TID, name string, c kernel.Controller, err error) {
	for _, d := range f.places[placeOf(*t)] {
		f.touch(d) // it has waited for this
	}
	delete(f.unasked, t)
	if err != nil {
		return
	}
	if b := f.bound[name]; b == nil || b.device.Inode != c.Inode {
		f.saw(kernel.Change{Name: name, Controller: &c})
	}
	if f.bound[name] == nil && f.devices[name] != nil {
		f.abandon(name, c.Inode)
	}
}

func idOf(c *kernel.Controller) tid.TID {
	return tid.TID{Transport: c.Transport, Traddr: c.Traddr, Trsvcid: c.Trsvcid, NQN: c.NQN,
		HostTraddr: c.HostTraddr, HostIface: c.HostIface, HostNQN: c.HostNQN}
}

// landed ends the wait for the event of a connection that was made for d.
func (f *Finder) landed(d *dc) {
	if d.landing != "" {
		delete(f.landing, d.landing)
		d.landing = ""
	}
}

// crashed notes that the connection that was made for d was gone before it was seen.
func (f *Finder) crashed(d *dc) {
	f.landed(d)
	f.sched.Lost(d.id())
	f.touch(d)
}
