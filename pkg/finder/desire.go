package finder

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// desire computes the desired set and fits what is known to it.
func (f *Finder) desire() {
	if f.identity.Host.NQN == "" {
		return // nothing can be connected without; what is known stays
	}
	wants := f.wants()
	kept := map[*dc]bool{}
	for _, w := range wants {
		d := f.find(w.TID, kept)
		if d == nil {
			if f.excludedByConfig(w.TID) {
				continue
			}
			d = f.add(w)
		}
		kept[d] = true
		f.describe(d, w)
	}
	for _, d := range f.dcs {
		if !kept[d] {
			f.unname(d)
		}
	}
	f.thin()
}

// mostUnreached is how many discovered controllers are kept that no source names any more and that never gave a page.
const mostUnreached = 256

// thin drops those of them that have not been named for longest where there are more. Their retention is days, and what
// refers to others, or announces them, can bring new ones all the time.
func (f *Finder) thin() {
	var list []*dc
	for _, d := range f.dcs {
		if !d.named && d.page == nil && d.device == nil && d.landing == "" && d.want.Origin != Configured && !d.out {
			list = append(list, d)
		}
	}
	if len(list) <= mostUnreached {
		return
	}
	slices.SortFunc(list, func(a, b *dc) int { return cmp.Or(a.goneAt.Compare(b.goneAt), a.id().Compare(b.id())) })
	for _, d := range list[:len(list)-mostUnreached] {
		f.drop(d)
	}
}

// wants gathers what is named: by a source, or by the page of a controller that is named itself.
// What only refers to itself, directly or in a ring, is not.
func (f *Finder) wants() []Want {
	all := f.candidates()
	for _, d := range f.dcs {
		c, may := f.mayBeConfigured(d)
		if may && !slices.ContainsFunc(all, func(o Candidate) bool { return o.Origin == Configured && o.TID.Overlaps(tid.Discovery, d.id()) }) {
			all = append(all, c)
		}
	}
	followed := map[*dc]bool{}
	for {
		wants := merge(all)
		taken := map[*dc]bool{}
		grown := false
		for i := range wants {
			d := f.find(wants[i].TID, taken)
			if d == nil {
				continue
			}
			taken[d] = true
			if !followed[d] {
				followed[d] = true
				refs := f.referrals(d, wants[i].Candidate)
				grown = grown || len(refs) > 0
				all = append(all, refs...)
			}
		}
		if !grown {
			return wants
		}
	}
}

// referrals are the controllers that the page of d leads to, as which it is described by c.
func (f *Finder) referrals(d *dc, c Candidate) []Candidate {
	if d.page == nil || f.excludedByConfig(c.TID) {
		return nil
	}
	var list []Candidate
	for _, e := range d.page.referrals {
		if e.Transport.Transport() != c.TID.Transport {
			continue
		}
		r, err := referred(c, d.key, e)
		if err != nil {
			f.log.Debug("referral cannot be followed", "dc", d.id(), "error", err)
			continue
		}
		if d.disposition == frozen {
			// Nothing is added by a frozen page, and nothing removed.
			if known := f.find(r.TID, nil); known == nil || !known.named {
				continue
			}
		}
		if f.allowed(r) {
			list = append(list, r)
		}
	}
	return list
}

// find gives the known controller that a Transport ID means: of several that it may mean one that is connected.
func (f *Finder) find(t tid.TID, taken map[*dc]bool) *dc {
	var found, given *dc
	for _, d := range f.places[placeOf(t)] {
		switch {
		case taken[d]:
		case d.disposition == forgotten:
			if d.id() == t {
				given = d
			}
		case d.id() == t:
			return d
		case (found == nil || found.device == nil && d.device != nil) && d.id().Overlaps(tid.Discovery, t):
			found = d
		}
	}
	if found == nil {
		return given
	}
	return found
}

func (f *Finder) add(w Want) *dc {
	d := &dc{key: keyOf(w.TID), want: w, lostAt: time.Now()}
	for n := 2; f.dcs[d.key] != nil; n++ { // taken by one that is known in other detail by now
		d.key = fmt.Sprintf("%s-%d", keyOf(w.TID), n)
	}
	f.insert(d)
	f.rebind(d)
	f.out.PageChanged(d.key, 0) // so that nobody takes the pages that are there for all there will be
	return d
}

func (f *Finder) insert(d *dc) {
	f.dcs[d.key] = d
	f.renamed[d.key] = struct{}{}
	p := placeOf(d.id())
	f.places[p] = append(f.places[p], d)
}

// describe takes over what the sources now say of d.
func (f *Finder) describe(d *dc, w Want) {
	moved := d.want.TID != w.TID || d.want.Host != w.Host
	learned := moved || !slices.Equal(d.want.Sources, w.Sources)
	if d.want.TID != w.TID {
		f.sched.Drop(d.id())
		for _, o := range f.places[placeOf(w.TID)] {
			if o != d && o.id() == w.TID {
				f.drop(o) // it was given up, and is this one in other detail
				break
			}
		}
		f.unplace(d)
		d.want = w
		p := placeOf(d.id())
		f.places[p] = append(f.places[p], d)
		f.sparesDue = true
		if d.device != nil && d.device.KindKnown && d.device.FitTo(tid.Discovery, w.TID, f.opts.Interfaces()) == tid.NoFit {
			f.unbind(d) // it was for what d was known as before
			f.rebind(d)
		}
	}
	if d.disposition == forgotten {
		d.disposition, f.sparesDue = active, true
		if d.page != nil {
			p := *d.page
			p.stale = true // what it does not list may well be listed by now
			d.page = &p
		}
		f.publish(d)
	}
	d.want, d.named, d.goneAt = w, true, time.Time{}
	stop(&d.timers.retention)
	d.out = f.excludedByConfig(w.TID)
	if d.parked && f.holds(d) {
		f.unpark(d)
		d.dirty = true
	}
	switch {
	case moved:
		f.publish(d)
	case learned && (d.page != nil || d.saved): // what is kept must not tell of sources that are over
		f.save(d)
	}
	f.touch(d)
}

// unname deals with a controller that no source names any more. What was configured ends; what
// was discovered is kept until its retention ends.
func (f *Finder) unname(d *dc) {
	if d.disposition == forgotten {
		return
	}
	if d.want.Params == nil { // it was taken up from an earlier run, which does not tell them
		d.want.Params = f.defaults
	}
	if d.named {
		d.named, d.goneAt = false, time.Now()
		if d.want.Origin == Configured {
			d.out = true
		}
		f.log.Info("no source names this discovery controller any more", "dc", d.id())
	}
	if excluded := f.excludedByConfig(d.id()); excluded || d.want.Origin != Configured {
		d.out = excluded // which may be over before the connection is gone
	}
	f.touch(d)
}

// mayBeConfigured says whether the configuration may name d where it cannot be understood: in a
// line that could not be read, or by a host name that has no address at the moment. Then d counts as named.
func (f *Finder) mayBeConfigured(d *dc) (Candidate, bool) {
	c := d.want.Candidate
	if c.Origin != Configured || d.disposition == forgotten || f.excludedByConfig(d.id()) || !f.cfg.Families.Allows(d.id().Family()) {
		return c, false
	}
	n := slices.IndexFunc(f.cfg.Controllers, func(line config.Controller) bool {
		return line.HostName && len(f.cfg.Families.Choose(f.sources.names[line.Traddr])) == 0 && line.Transport == d.id().Transport &&
			line.Trsvcid == d.id().Trsvcid && (line.NQN == d.id().NQN || line.NQN == nvme.DiscoveryNQN || d.id().NQN == nvme.DiscoveryNQN)
	})
	if n < 0 && !f.cfg.Incomplete {
		return c, false
	}
	if c.Params == nil { // it was taken up from an earlier run, which does not tell them
		c.Params = f.defaults
		if n >= 0 {
			line := f.cfg.Controllers[n]
			params := line.Params.Over(f.identity.Params())
			c.Params, c.Given, c.Persistent = &params, line.Given, line.Persistent
		}
	}
	return c, true
}

func (f *Finder) unplace(d *dc) {
	p := placeOf(d.id())
	f.places[p] = slices.DeleteFunc(f.places[p], func(o *dc) bool { return o == d })
	if len(f.places[p]) == 0 {
		delete(f.places, p)
	}
}

// drop forgets d altogether.
func (f *Finder) drop(d *dc) {
	f.log.Info("discovery controller removed", "dc", d.id())
	f.sched.Drop(d.id())
	f.unbind(d)
	d.stopTimers()
	f.unplace(d)
	delete(f.dcs, d.key)
	delete(f.touched, d)
	f.tell(d)
	f.renamed[d.key] = struct{}{}
	f.opts.Store.Delete(d.key)
	f.out.PageRemoved(d.key, "no longer wanted")
	f.removed = true
	f.resolveSources, f.sparesDue = true, true // its referrals end with it
}
