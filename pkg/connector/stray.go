package connector

import (
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
	"github.com/stas-go/stas/pkg/veto"
)

// stray is an I/O connection of the kernel that serves nothing wanted. Most belong to others.
type stray struct {
	ctrl     *kernel.Controller
	id       tid.TID // names the connection, and its disconnect
	source   string  // whose page called for it, "" when that has still to be read
	unlisted bool    // a newer complete page of a controller that listed it does not
	since    time.Time
	why      string // verdict that was last reported
	retry    *time.Timer
	failures int
	ours     bool   // registered as ours, as last read
	key      string // of its object, if it has one
}

// setAdrift makes ctrl a stray.
func (c *Connector) setAdrift(ctrl *kernel.Controller, source string, unlisted bool) {
	s := c.strays[ctrl.Name]
	if s == nil {
		s = &stray{since: time.Now()}
		c.strays[ctrl.Name] = s
	} else {
		c.unplace(s)
	}
	s.ctrl, s.id, s.source, s.unlisted = ctrl, idOf(ctrl), source, unlisted
	p := placeOf(s.id)
	c.adriftAt[p] = append(c.adriftAt[p], s)
	c.loose[s] = struct{}{}
}

func (c *Connector) unplace(s *stray) {
	p := placeOf(s.id)
	c.adriftAt[p] = slices.DeleteFunc(c.adriftAt[p], func(o *stray) bool { return o == s })
	if len(c.adriftAt[p]) == 0 {
		delete(c.adriftAt, p)
	}
}

func (c *Connector) forgetStray(s *stray) {
	s.stop()
	c.unplace(s)
	delete(c.strays, s.ctrl.Name)
	c.strayLeft(s)
	delete(c.loose, s)
}

func (s *stray) stop() {
	if s.retry != nil {
		s.retry.Stop()
		s.retry = nil
	}
}

// again looks at s once more after a while, as its disconnect has failed.
func (s *stray) again(c *Connector) {
	if s.retry != nil {
		return
	}
	s.failures++
	wait := min(time.Second<<min(s.failures, 6), time.Minute)
	s.retry = c.loop.After(wait, func() {
		s.retry = nil
		c.loose[s] = struct{}{}
	})
}

// Verdicts on a stray.
const (
	verdictRemove   = ""
	verdictForeign  = "it is not ours"
	verdictFirmware = "it is a boot connection of the firmware"
	verdictScope    = "the configuration lets nothing be disconnected"
	verdictConfig   = "the configuration could not be read in full"
	verdictSilence  = "stafd has not answered yet"
	verdictPages    = "not all discovery controllers have answered yet"
	verdictKept     = "it is mentioned by a page that neither adds nor removes"
	verdictListed   = "it is a further connection to what is listed"
)

// evidence is all that decides whether a stray may be removed.
type evidence struct {
	owner      registry.Owner
	live       bool
	firmware   bool // protected by the boot firmware's table
	excluded   bool // exclude= names it
	scope      config.DisconnectScope
	matching   bool // its transport is among disconnect-trtypes
	zoning     bool // honor-fabric-zoning
	incomplete bool // the configuration is not known in full
	answered   bool // stafd has answered
	unlisted   bool // a newer page of a controller that listed it lacks it
	sourceSaid bool // the page of the controller that called for it is known, complete, and lacks it
	allSaid    bool // every discovery controller has a complete page
	listed     bool // it serves what a page in force or the configuration asks for
	frozen     bool // the page of an excluded controller mentions it: that page removes nothing
	mentioned  bool // the page of a controller that was given up mentions it
}

// judge decides whether a connection that nothing wants may be removed, and if not, why.
// The order is that of certainty: protection first, then the administrator, then the fabric.
func judge(e evidence) string {
	ours := e.owner.Is(Owner)
	unowned := e.owner.Kind() == registry.KindNone && e.scope == config.DisconnectMatching && e.matching
	switch {
	case e.firmware:
		return verdictFirmware
	case !ours && !unowned:
		return verdictForeign
	case ours && e.excluded:
		return verdictRemove
	case e.scope == config.DisconnectNone || !e.zoning:
		return verdictScope
	case e.incomplete:
		return verdictConfig
	case !e.answered:
		return verdictSilence
	case unowned && !e.allSaid:
		return verdictPages
	case e.listed:
		return verdictListed
	case e.frozen, e.mentioned && e.live:
		return verdictKept
	case unowned, e.mentioned, e.unlisted, e.sourceSaid, e.allSaid:
		return verdictRemove
	}
	return verdictPages
}

// ownLate is how long after a connection came about its owner may still be about to register it.
const ownLate = 5 * time.Second

// tendStray removes s if that is allowed. A verdict that concerns our own is told once.
func (c *Connector) tendStray(s *stray) {
	if s.retry != nil || c.deleting(s) {
		return
	}
	if i := c.match(s.ctrl); i != nil && i.wanted() {
		ctrl := s.ctrl
		c.forgetStray(s)
		c.bind(i, ctrl)
		return
	}
	owner := c.opts.Ownership.Owner(s.ctrl.Name)
	s.ours = owner.Is(Owner)
	if owner.Is(Owner) && s.source == "" {
		s.source, _ = c.opts.Ownership.Attr(s.ctrl.Name, sourceAttr)
	}
	why := judge(c.evidence(s, owner))
	if wait := time.Until(s.since.Add(ownLate)); why == verdictRemove && owner.Kind() == registry.KindNone && wait > 0 {
		s.retry = c.loop.After(wait, func() {
			s.retry = nil
			c.loose[s] = struct{}{}
		})
		return
	}
	if why == verdictRemove {
		c.log.Info("disconnecting, as nothing lists it any more", "ioc", s.id, "device", s.ctrl.Name)
		c.sched.Disconnect(s.id, kernel.DisconnectRequest{Name: s.ctrl.Name, Expect: s.ctrl.Identity(), AllowUnowned: owner.Kind() == registry.KindNone})
		return
	}
	if owner.Is(Owner) && why != s.why && why != verdictSilence {
		c.log.Info("keeping a connection that nothing lists", "ioc", s.id, "device", s.ctrl.Name, "why", why)
	}
	s.why = why
}

func (c *Connector) evidence(s *stray, owner registry.Owner) evidence {
	e := evidence{owner: owner, live: s.ctrl.State == kernel.StateLive, firmware: c.opts.Protected(s.ctrl),
		excluded: veto.Matches(c.excludes, s.id, tid.Host{NQN: s.ctrl.HostNQN, ID: s.ctrl.HostID}),
		scope:    c.cfg.DisconnectScope, matching: slices.Contains(c.cfg.DisconnectTransports, s.ctrl.Transport),
		zoning: c.cfg.HonorFabricZoning, incomplete: !c.configured || c.cfg.Incomplete || c.identity.Host.NQN == "" || c.mayBeConfigured(s.id),
		answered: c.answered, unlisted: s.unlisted, allSaid: true}
	for _, p := range c.pages {
		if p.adds() && !p.removes() {
			e.allSaid = false
		}
	}
	if p := c.pages[s.source]; p != nil {
		e.sourceSaid = p.removes()
		e.frozen = p.meta.Disposition == bus.Frozen
	}
	for _, i := range c.places[placeOf(s.id)] {
		switch {
		case s.ctrl.FitTo(tid.IO, i.id, c.opts.Interfaces()) == tid.NoFit:
		case i.wanted():
			e.listed = e.listed || !c.barred(i)
		default:
			e.mentioned = true
			e.frozen = e.frozen || i.frozen()
		}
	}
	return e
}
