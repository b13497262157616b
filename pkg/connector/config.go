package connector

import (
	"context"
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// applyConfig fits the iocs to the lines of stacd.conf.
func (c *Connector) applyConfig() {
	if c.identity.Host.NQN == "" {
		return // nothing can be connected without; what is known stays
	}
	named := map[tid.TID]bool{}
	for n := range c.cfg.Controllers {
		line := &c.cfg.Controllers[n]
		addresses := []string{line.Traddr}
		if line.HostName {
			addresses = c.cfg.Families.Choose(c.names[line.Traddr])
		}
		for _, a := range addresses {
			t, err := line.TID(a, c.identity.Host)
			if err != nil {
				c.log.Warn("controller cannot be used", "where", line.Where, "error", err)
				continue
			}
			if c.cfg.IgnoreIface {
				t.HostIface = ""
			}
			if !c.cfg.Families.Allows(t.Family()) {
				continue
			}
			named[t] = true
			i := c.get(t, c.hostOf(line, t))
			if i.line == nil {
				c.touchPlace(placeOf(t))
			}
			params := line.Params.Over(c.identity.Params())
			i.line, i.params = line, &params
			if !i.boot {
				i.host = c.hostOf(line, t)
			}
		}
	}
	if c.cfg.Incomplete {
		return // what is no longer named may be named in what could not be read
	}
	for t, i := range c.iocs {
		if i.line == nil || named[t] {
			continue
		}
		if i.line.HostName && c.stillUnresolved(i.line.Traddr) {
			continue
		}
		i.line = nil
		if !i.named() {
			c.drop(i, configSource, false)
			continue
		}
		i.params = c.defaults.plain
		if len(i.listed) > 0 {
			i.params = c.discovered(i.listed[0])
		}
		c.touch(i)
		c.touchPlace(placeOf(t))
	}
}

// applyBoot has the firmware's boot connections made again when they are lost, where the configuration
// asks for it. They keep their owner and the host identity of the boot table.
func (c *Connector) applyBoot() {
	want := map[tid.TID]bool{}
	if c.cfg.NBFTReconnect {
		for _, b := range c.opts.Boot() {
			t, err := tid.New(tid.IO, b.TID)
			if err != nil || b.Host.NQN == "" {
				c.log.Warn("boot connection cannot be made again if it is lost", "ioc", b.TID, "error", err)
				continue
			}
			want[t] = true
			i := c.get(t, b.Host)
			i.boot, i.host = true, b.Host
			if i.line == nil && len(i.listed) == 0 {
				i.params = c.defaults.plain
			}
		}
	}
	for t, i := range c.iocs {
		if i.boot && !want[t] {
			i.boot = false
			c.touch(i)
			switch {
			case !i.named():
				c.drop(i, configSource, false)
			case i.line != nil:
				i.host = c.hostOf(i.line, t)
			default:
				i.host.ID = i.listed[0].by.meta.HostID
			}
		}
	}
}

// mayBeConfigured says whether a line whose host name has no address at the moment may mean t.
func (c *Connector) mayBeConfigured(t tid.TID) bool {
	return slices.ContainsFunc(c.cfg.Controllers, func(l config.Controller) bool {
		return l.HostName && l.NQN == t.NQN && l.Transport == t.Transport && l.Trsvcid == t.Trsvcid &&
			len(c.cfg.Families.Choose(c.names[l.Traddr])) == 0
	})
}

// stillUnresolved says whether a host name is named by the configuration and has no
// address at the moment: what it led to stays.
func (c *Connector) stillUnresolved(name string) bool {
	return len(c.names[name]) == 0 && slices.ContainsFunc(c.cfg.Controllers, func(l config.Controller) bool { return l.HostName && l.Traddr == name })
}

// hostOf gives the identity pair for the host NQN of t. A host ID that is not
// configured is made of the NQN: the kernel demands a pair.
func (c *Connector) hostOf(line *config.Controller, t tid.TID) tid.Host {
	for _, h := range []tid.Host{line.Scope.Host, c.identity.Host} {
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

// scopeParams are the parameters of discovered controllers: as they are configured, for entries
// that allow TLS, and for those that demand it. They are shared by all controllers of a scope and never changed.
type scopeParams struct{ plain, allowed, demanded *tid.Params }

func newScopeParams(p tid.Params) scopeParams {
	demanded := p
	demanded.TLS, demanded.Concat = tid.On, tid.Off
	s := scopeParams{&p, &p, &demanded}
	if p.TLS == tid.Unset && p.WantsTLS() { // there is a key
		s.allowed = &demanded
		p.TLS = tid.Off // it is for entries that say that they do TLS
	}
	return s
}

// of decides by what the entry says of its port. SECTYPE counts before TREQ, which targets
// without TLS set carelessly.
func (s scopeParams) of(e nvme.DiscoveryEntry) *tid.Params {
	switch {
	case e.Transport != nvme.TransportTypeTCP || e.TSAS.SecType != nvme.SecTLS13:
		return s.plain
	case e.TReq.Secure() == nvme.TReqRequired:
		return s.demanded
	}
	return s.allowed
}

// discovered gives the parameters of an I/O controller by its entry: those of the file that
// configures the discovery controller that lists it, else the daemon's own.
func (c *Connector) discovered(l listing) *tid.Params {
	if l.by.params == nil {
		s := c.paramsOf(l.by)
		l.by.params = &s
	}
	return l.by.params.of(l.entry)
}

func (c *Connector) paramsOf(p *dlp) scopeParams {
	for n := range c.cfg.DiscoveryControllers {
		dc := &c.cfg.DiscoveryControllers[n]
		t, err := dc.TID(dc.Traddr, c.identity.Host)
		if err != nil || !t.Overlaps(tid.Discovery, p.dc) {
			continue
		}
		s, ok := c.scopes[dc.Scope]
		if !ok {
			s = newScopeParams(dc.Scope.IO.Over(c.identity.Params()))
			c.scopes[dc.Scope] = s
		}
		return s
	}
	return c.defaults
}

// Host names are looked up again this often, sooner after a failure.
const (
	lookUpAgain  = 10 * time.Minute
	lookUpRetry  = 5 * time.Second
	lookUpBudget = 10 * time.Second
)

// lookUpNames starts a lookup of every host name of the configuration. A failed one changes nothing.
func (c *Connector) lookUpNames() {
	for _, l := range c.cfg.Controllers {
		if _, known := c.names[l.Traddr]; l.HostName && !known {
			c.names[l.Traddr] = nil
			c.lookUp(l.Traddr)
		}
	}
}

func (c *Connector) lookUp(name string) {
	go func() {
		ctx, cancel := context.WithTimeout(c.ctx, lookUpBudget)
		defer cancel()
		found, err := c.opts.Resolve(ctx, name)
		c.loop.Post(func() { c.lookedUp(name, found, err) })
	}()
}

func (c *Connector) lookedUp(name string, found []string, err error) {
	if !slices.ContainsFunc(c.cfg.Controllers, func(l config.Controller) bool { return l.HostName && l.Traddr == name }) {
		delete(c.names, name)
		return
	}
	last := c.names[name]
	if err != nil || len(found) == 0 {
		if !c.unresolved[name] {
			c.unresolved[name] = true
			c.log.Warn("cannot look up host name; what was known stays", "name", name, "error", err, "known", last)
		}
		c.loop.After(lookUpRetry, func() { c.lookUp(name) })
		return
	}
	delete(c.unresolved, name)
	switch chosen := c.cfg.Families.Choose(last); {
	case len(chosen) > 0 && slices.Contains(found, chosen[0]):
		// A name server that rotates its answers does not move a connection.
	default:
		c.names[name] = found
		c.applyConfig()
	}
	c.loop.After(lookUpAgain, func() { c.lookUp(name) })
}
