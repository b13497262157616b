package finder

import (
	"context"
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
	"github.com/stas-go/stas/pkg/veto"
)

// sources hold what each source says at the moment. Each keeps its last answer until it
// gives another one.
type sources struct {
	configured bool                   // a configuration has been read, ever
	firmwares  map[tid.TID]bool       // boot connections that were reported as left alone
	spoken     map[Origin]bool        // sources that have reported in full since the start
	unresolved map[string]bool        // host names whose last lookup has failed
	names      map[string][]string    // addresses of host names, by the last lookup that succeeded
	others     map[Origin][]Candidate // of the sources that report from outside
	remembered map[Origin][]Candidate // what a restarted daemon still believes, until the source has spoken
}

func newSources() sources {
	return sources{firmwares: map[tid.TID]bool{}, spoken: map[Origin]bool{}, unresolved: map[string]bool{}, names: map[string][]string{}, others: map[Origin][]Candidate{}, remembered: map[Origin][]Candidate{}}
}

// Report replaces what a source outside of the Finder says: what is missing counts as no longer
// named by it. As long as a report is not complete, what an earlier run of the daemon learned from the source counts as
// well. Candidates without a host identity get the system's.
func (f *Finder) Report(o Origin, candidates []Candidate, complete bool) {
	f.loop.Post(func() { f.take(o, candidates, complete) })
}

func (f *Finder) take(o Origin, candidates []Candidate, complete bool) {
	if complete {
		delete(f.sources.remembered, o)
		f.spoke(o)
	}
	known := make(map[Candidate]bool, len(f.sources.others[o]))
	for _, c := range f.sources.others[o] {
		known[c] = true
	}
	alive := map[place]bool{}
	for _, c := range candidates {
		if !known[c] {
			alive[placeOf(c.TID)] = true
		}
	}
	if len(alive) > 0 { // an announcement is a sign of life, for a controller that was given up for a while too
		f.sched.Kick(func(t schedule.Target) bool { return alive[placeOf(t.TID)] })
	}
	f.sources.others[o] = candidates
	f.resolveSources = true
}

// sourcesKey stands on D-Bus for what a source may still lead to: a page that was never read.
const sourcesKey = "sources"

// hearing is how long after the start the pages count as not all known for a source outside that has not reported. What
// an earlier run knew is remembered anyway; this is for when that was lost.
const hearing = 2 * time.Minute

// unheard says whether a source may still name controllers that nobody knows of: one outside that has not reported, a line that
// could not be read, or a host name that has not led anywhere yet.
func (f *Finder) unheard() bool {
	return f.cfg.Incomplete || slices.ContainsFunc(f.cfg.Controllers, func(c config.Controller) bool { return c.HostName && len(f.sources.names[c.Traddr]) == 0 }) ||
		time.Since(f.started) < hearing && !f.heardOutside()
}

// heardOutside says whether all sources outside that are asked have reported.
func (f *Finder) heardOutside() bool {
	spoken := f.sources.spoken
	return (!f.cfg.Zeroconf || spoken[Announced]) && (f.opts.Kickstart == nil || spoken[FibreChannel]) &&
		(f.cfg.NBFT != config.NBFTConnect || spoken[Firmware])
}

// tellHeard tells when the page that stands for unheard sources is gone.
func (f *Finder) tellHeard() {
	before := f.waiting
	if f.waiting = f.sources.configured && f.unheard(); before && !f.waiting {
		f.out.PageRemoved(sourcesKey, "no source is waited for any more")
	}
}

func (f *Finder) spoke(o Origin) {
	f.sources.spoken[o] = true
	f.sparesDue = true
}

// Silent tells that a source will not report: what it led to no longer counts as named.
func (f *Finder) Silent(o Origin) { f.Report(o, nil, true) }

// candidates gathers what all sources say now.
func (f *Finder) candidates() []Candidate {
	var all []Candidate
	for _, c := range f.cfg.Controllers {
		all = append(all, f.fromConfig(c)...)
	}
	for _, set := range []map[Origin][]Candidate{f.sources.others, f.sources.remembered} {
		for _, cs := range set {
			for _, c := range cs {
				if c.Host.NQN == "" {
					c.Host = f.identity.Host
					c.TID.HostNQN = c.Host.NQN
				}
				if c.Params == nil {
					c.Params = f.defaults
				}
				if f.cfg.IgnoreIface {
					c.TID.HostIface = ""
				}
				t, err := tid.New(tid.Discovery, c.TID)
				if err != nil {
					f.log.Debug("discovered controller cannot be used", "origin", c.Origin, "source", c.Detail, "error", err)
					continue
				}
				c.TID = t
				all = append(all, c)
			}
		}
	}
	return slices.DeleteFunc(all, func(c Candidate) bool { return !f.allowed(c) })
}

func (f *Finder) allowed(c Candidate) bool {
	return f.cfg.Families.Allows(c.TID.Family()) && !f.isFirmwares(c)
}

// isFirmwares says whether a candidate is a boot connection of the firmware, which is not
// for us to make: losing a race with those who keep the root disk would be worse than one path less.
func (f *Finder) isFirmwares(c Candidate) bool {
	if f.cfg.NBFT != config.NBFTProtect || f.opts.Firmwares == nil || !f.opts.Firmwares(tid.Discovery, c.TID) {
		return false
	}
	if !f.sources.firmwares[c.TID] {
		f.sources.firmwares[c.TID] = true
		f.log.Error("this discovery controller is a boot connection of the firmware (NBFT); leaving it alone", "dc", c.TID, "origin", c.Origin, "source", c.Detail)
	}
	return true
}

// fromConfig turns a controller= line into candidates; a host name has as many as it has
// addresses of allowed families, of which the first in the preferred family counts.
func (f *Finder) fromConfig(c config.Controller) []Candidate {
	addresses := []string{c.Traddr}
	if c.HostName {
		addresses = f.cfg.Families.Choose(f.sources.names[c.Traddr])
	}
	if f.cfg.IgnoreIface {
		c.HostIface = ""
	}
	params := c.Params.Over(f.identity.Params())
	var out []Candidate
	for _, a := range addresses {
		t, err := c.TID(a, f.identity.Host)
		if err != nil {
			f.log.Warn("controller cannot be used", "where", c.Where, "error", err)
			continue
		}
		out = append(out, Candidate{TID: t, Host: f.hostOf(c, t), Params: &params, Given: c.Given, Persistent: c.Persistent,
			Source: Source{Configured, c.Where}})
	}
	return out
}

// hostOf gives the identity pair for the host NQN of t. A host ID that is not
// configured is made of the NQN: the kernel demands a pair.
func (f *Finder) hostOf(c config.Controller, t tid.TID) tid.Host {
	for _, h := range []tid.Host{c.Scope.Host, f.identity.Host} {
		if h.NQN == t.HostNQN {
			return h
		}
	}
	h := tid.Host{NQN: t.HostNQN}
	if id := nvme.HostIDFor(t.HostNQN); !id.IsZero() {
		h.ID = id.String()
	}
	return h
}

func (f *Finder) excludedByConfig(t tid.TID) bool {
	return veto.Matches(f.excludes, t, tid.Host{NQN: t.HostNQN})
}

// Host names are looked up again this often, sooner after a failure.
const (
	lookUpAgain  = 10 * time.Minute
	lookUpRetry  = 5 * time.Second
	lookUpBudget = 10 * time.Second
)

// lookUpNames starts a lookup of every host name of the configuration. A failed one changes nothing.
func (f *Finder) lookUpNames() {
	for _, c := range f.cfg.Controllers {
		if !c.HostName {
			continue
		}
		if _, known := f.sources.names[c.Traddr]; !known {
			f.sources.names[c.Traddr] = nil
			f.lookUp(c.Traddr)
		}
	}
}

func (f *Finder) lookUp(name string) {
	go func() {
		ctx, cancel := context.WithTimeout(f.ctx, lookUpBudget)
		defer cancel()
		found, err := f.opts.Resolve(ctx, name)
		f.loop.Post(func() { f.lookedUp(name, found, err) })
	}()
}

func (f *Finder) lookedUp(name string, found []string, err error) {
	if !slices.ContainsFunc(f.cfg.Controllers, func(c config.Controller) bool { return c.Traddr == name }) {
		delete(f.sources.names, name)
		return
	}
	last := f.sources.names[name]
	if err != nil || len(found) == 0 {
		if !f.sources.unresolved[name] {
			f.sources.unresolved[name] = true
			f.log.Warn("cannot look up host name; what was known stays", "name", name, "error", err, "known", last)
		}
		f.loop.After(lookUpRetry, func() { f.lookUp(name) })
		return
	}
	delete(f.sources.unresolved, name)
	switch chosen := f.cfg.Families.Choose(last); {
	case len(chosen) > 0 && slices.Contains(found, chosen[0]):
		// A name server that rotates its answers does not move a connection.
	default:
		f.sources.names[name] = found
		f.resolveSources = true
	}
	f.loop.After(lookUpAgain, func() { f.lookUp(name) })
}
