package finder

import (
	"errors"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// fcGrace is how long after a kickstart ports may still answer: each answers by an event of its own.
const fcGrace = 10 * time.Second

// kickstartAgain is how long after one that failed, as the kernel worker could not be started for example, the next kickstart
// comes. Until then nobody is told of a port that is just there.
const kickstartAgain = time.Minute

// fc is the FC source: the discovery ports that have answered the last kickstart, or that have
// announced themselves since.
type fc struct {
	ports  map[kernel.FCDiscovery]time.Time // when it was last heard of
	asked  time.Time                        // the last kickstart
	lost   bool                             // events were lost since
	none   bool                             // there was no FC then
	timer  *time.Timer                      // ends the grace
	period *time.Timer
}

// heardFC takes in the event of a discovery port.
func (f *Finder) heardFC(p kernel.FCDiscovery) {
	if f.fc.ports == nil {
		f.fc.ports = map[kernel.FCDiscovery]time.Time{}
	}
	_, known := f.fc.ports[p]
	f.fc.ports[p] = time.Now()
	if !known {
		f.reportFC(false)
	} else if time.Since(f.fc.asked) < fcGrace {
		return // it answers, which says nothing new: a connection that comes and goes has it asked each time
	}
	for _, d := range f.dcs {
		if d.id().Transport == nvme.FC && d.id().Traddr == p.Traddr {
			f.kickAll()
			break
		}
	}
}

// kickstart asks all FC ports to announce themselves, and drops those that stay silent.
func (f *Finder) kickstart() {
	if f.opts.Kickstart == nil {
		return
	}
	asked := time.Now()
	f.fc.asked, f.fc.lost = asked, false
	go func() {
		err := f.opts.Kickstart(f.ctx)
		if err != nil && f.ctx.Err() == nil {
			f.log.Debug("no FC kickstart", "error", err)
		}
		if err == nil || errors.Is(err, kernel.ErrNoFC) { // without FC there are no ports; else silence means nothing
			f.loop.Post(func() { f.kickstarted(asked, err != nil) })
			return
		}
		f.loop.Post(func() {
			if f.fc.asked.Equal(asked) {
				stop(&f.fc.timer)
				f.fc.timer = f.loop.After(kickstartAgain, f.kickstart)
			}
		})
	}()
}

// missedFC is told that events were lost, perhaps those of ports among them: they are asked once more, now or when the time for
// the answers to the last question is over.
func (f *Finder) missedFC() {
	f.fc.lost = true
	if f.fc.none || time.Since(f.fc.asked) >= fcGrace {
		f.kickstart()
	}
}

// kickstarted gives the ports time to answer the kickstart of asked, which has been said. Where there is no FC nobody will.
func (f *Finder) kickstarted(asked time.Time, none bool) {
	if !f.fc.asked.Equal(asked) {
		return // a later one is under way
	}
	stop(&f.fc.timer)
	wait := fcGrace
	if f.fc.none = none; none {
		wait = 0
	}
	f.fc.timer = f.loop.After(wait, func() {
		if f.fc.lost {
			f.kickstart() // answers may be among what was lost
			return
		}
		for p, heard := range f.fc.ports {
			if heard.Before(asked) {
				delete(f.fc.ports, p)
			}
		}
		f.reportFC(true)
	})
}

// schedulePeriodicKickstart is for fabrics whose new ports do not announce themselves.
func (f *Finder) schedulePeriodicKickstart() {
	stop(&f.fc.period)
	if f.cfg.FCKickstartInterval > 0 {
		f.fc.period = f.loop.After(f.cfg.FCKickstartInterval, func() {
			f.kickstart()
			f.schedulePeriodicKickstart()
		})
	}
}

func (f *Finder) reportFC(complete bool) {
	var list []Candidate
	for p := range f.fc.ports {
		t, err := tid.New(tid.Discovery, tid.TID{Transport: nvme.FC, Traddr: p.Traddr, HostTraddr: p.HostTraddr})
		if err != nil {
			f.log.Warn("FC discovery port with an unusable name", "error", err)
			continue
		}
		list = append(list, Candidate{TID: t, Source: Source{FibreChannel, p.HostTraddr}})
	}
	f.take(FibreChannel, list, complete)
}
