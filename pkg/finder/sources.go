package finder

import (
	"context"
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
	"github.com/stas-go/stas/pkg/veto"
)

// sources hold what each source says at the moment. Each keeps its last answer until it
// gives another one.
type sources struct {
	configured bool                   // a configuration has been read, ever
	names      map[string][]string    // addresses of host names, by the last lookup that succeeded
	others     map[Origin][]Candidate // of the sources that report from outside
	remembered map[Origin][]Candidate // what a restarted daemon still believes, until the source has spoken
}

func newSources() sources {
	return sources{names: map[string][]string{}, others: map[Origin][]Candidate{}, remembered: map[Origin][]Candidate{}}
}

// Report replaces what a source outside of the Finder says. Only complete answers may be
// reported: what is missing from them counts as gone. Candidates without a host identity get the system's.
func (f *Finder) Report(o Origin, candidates []Candidate) {
	f.loop.Post(func() {
		delete(f.sources.remembered, o)
		f.sources.others[o] = candidates
		f.resolveSources = true
	})
}

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
					c.Params = &f.cfg.Defaults
				}
				if f.cfg.IgnoreIface {
					c.TID.HostIface = ""
				}
				all = append(all, c)
			}
		}
	}
	for _, d := range f.dcs {
		if d.page == nil || d.disposition != active || d.out {
			continue
		}
		for _, e := range d.page.entries {
			if e.Subtype != nvme.SubtypeReferral || e.Transport.Transport() != d.id().Transport {
				continue
			}
			c, err := referred(d.want.Candidate, d.key, e)
			if err != nil {
				f.log.Debug("referral cannot be followed", "dc", d.id(), "error", err)
				continue
			}
			all = append(all, c)
		}
	}
	return slices.DeleteFunc(all, func(c Candidate) bool { return !f.cfg.Families.Allows(c.TID.Family()) })
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
	var out []Candidate
	for _, a := range addresses {
		t, err := c.TID(a, f.identity.Host)
		if err != nil {
			f.log.Warn("controller cannot be used", "where", c.Where, "error", err)
			continue
		}
		out = append(out, Candidate{TID: t, Host: f.hostOf(c, t), Params: &c.Params, Given: c.Given, Persistent: c.Persistent,
			Source: Source{Configured, c.Where}})
	}
	return out
}

// hostOf gives the identity pair for the host NQN of t. A host ID that is not
// configured is that of the NQN's own UUID: the kernel demands a pair.
func (f *Finder) hostOf(c config.Controller, t tid.TID) tid.Host {
	for _, h := range []tid.Host{c.Scope.Host, f.identity.Host} {
		if h.NQN == t.HostNQN {
			return h
		}
	}
	h := tid.Host{NQN: t.HostNQN}
	if id, ok := nvme.HostIDFromNQN(t.HostNQN); ok {
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
	again := lookUpAgain
	switch last := f.sources.names[name]; {
	case err != nil || len(found) == 0:
		again = lookUpRetry
		f.log.Warn("cannot look up host name; what was known stays", "name", name, "error", err, "known", last)
	case len(last) > 0 && slices.Contains(found, last[0]):
		// A name server that rotates its answers does not move a connection.
	default:
		f.sources.names[name] = found
		f.resolveSources = true
	}
	f.loop.After(again, func() { f.lookUp(name) })
}
