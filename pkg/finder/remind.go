package finder

import (
	"maps"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// remindFor is how often is looked whether there is still something of which the pages of forgotten controllers remind.
const remindFor = time.Hour

// remind has the forgotten controllers looked at after a while.
func (f *Finder) remind() {
	if f.reminder == nil && f.opts.Connections != nil {
		f.reminder = f.loop.After(remindFor, f.lookForNeeded)
	}
}

// lookForNeeded looks which of the forgotten controllers list a connection that is there. All others have nothing to remind of:
// they are let go.
func (f *Finder) lookForNeeded() {
	stop(&f.reminder)
	var known []*page // of those that are not forgotten
	reminders := map[*dc]*page{}
	for _, d := range f.dcs {
		switch {
		case d.page == nil:
		case d.disposition == forgotten:
			reminders[d] = d.page
		default:
			known = append(known, d.page)
		}
	}
	if len(reminders) == 0 {
		return
	}
	go func() {
		if connected, clear := f.unlisted(known); clear {
			maps.DeleteFunc(reminders, func(_ *dc, p *page) bool { return remindsOf(p, connected) })
		} else {
			reminders = nil
		}
		f.loop.Post(func() {
			for d, p := range reminders {
				if f.dcs[d.key] == d && d.disposition == forgotten && d.page == p {
					f.drop(d)
				}
			}
			for _, d := range f.dcs {
				if d.disposition == forgotten {
					f.remind()
				}
			}
		})
	}()
}

// served is what an entry of a page and the connection to it share.
type served struct {
	transport   nvme.Transport
	traddr, nqn string
}

func servedBy(e nvme.DiscoveryEntry) served {
	t := e.Transport.Transport()
	return served{t, tid.Where(t, e.Traddr), e.SubNQN}
}

// unlisted are the I/O connections that no page of known lists. It says false where that cannot be told.
func (f *Finder) unlisted(known []*page) (connected map[served]bool, clear bool) {
	all, err := f.opts.Connections()
	if err != nil {
		return nil, false
	}
	connected = map[served]bool{}
	for _, c := range all {
		switch {
		case c.KindKnown && c.Kind == tid.Discovery, c.CntrlType == kernel.TypeAdmin:
		case !c.KindKnown || c.NQN == "":
			return nil, false // it is only just being made
		default:
			connected[served{c.Transport, tid.Where(c.Transport, c.Traddr), c.NQN}] = true
		}
	}
	for _, p := range known {
		for _, e := range p.entries {
			delete(connected, servedBy(e))
		}
	}
	return connected, true
}

func remindsOf(p *page, connected map[served]bool) bool {
	for _, e := range p.entries {
		if connected[servedBy(e)] {
			return true
		}
	}
	return false
}
