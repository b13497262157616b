package connector

import (
	"slices"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
	"github.com/stas-go/stas/pkg/veto"
)

// ioc is an I/O controller that some page or the configuration names. It belongs to the loop.
type ioc struct {
	id     tid.TID
	host   tid.Host
	params *tid.Params
	line   *config.Controller // of stacd.conf, nil when only discovered
	listed []listing

	device  *kernel.Controller // the connection that serves it
	foreign string             // who owns the connection, if not we
	landing string             // the device that the kernel has just made for it, until it is seen
	object  objectState

	// Side by side, as there are thousands of these.
	ours      bool // registered as ours, as last read
	noted     bool // beside its owner stands one who calls for it
	live      bool // the connection is live
	counted   bool // in Connector.paths
	boot      bool // a boot connection that the configuration has us make again when it is lost
	told      bool // reported as a boot connection
	unclaimed bool // it, or who calls for it, could not be registered, and that was reported
	gaveUp    bool // after the attempts that NCC allows
}

// listing is the mention of an I/O controller in the page of a discovery controller.
type listing struct {
	by    *dlp
	entry nvme.DiscoveryEntry
}

// wanted says whether i is to be connected: its own line, or a page in force, says so.
func (i *ioc) wanted() bool {
	return i.line != nil || i.boot || slices.ContainsFunc(i.listed, func(l listing) bool { return l.by.adds() })
}

// keeps says whether d, which fits, is a connection for i: one that is no longer wanted, as its discovery
// controller was given up, has its connection for as long as that lives.
func (i *ioc) keeps(d *kernel.Controller) bool {
	return i.wanted() || i.frozen() || d.State == kernel.StateLive
}

// frozen says whether a page mentions i that the administrator's exclusion has frozen.
func (i *ioc) frozen() bool {
	return slices.ContainsFunc(i.listed, func(l listing) bool { return l.by.meta.Disposition == bus.Frozen })
}

// named says whether anything mentions i, if only a page that neither adds nor removes.
func (i *ioc) named() bool { return i.line != nil || i.boot || len(i.listed) > 0 }

// ncc says whether every discovery controller that lists i says that it has lost
// contact to the central one, and so cannot vouch for i being reachable.
func (i *ioc) ncc() bool {
	if i.line != nil || len(i.listed) == 0 {
		return false
	}
	return !slices.ContainsFunc(i.listed, func(l listing) bool { return !l.entry.EFlags.Has(nvme.NCC) })
}

// listedBy says whether the page of that key mentions i.
func (i *ioc) listedBy(key string) bool {
	return slices.ContainsFunc(i.listed, func(l listing) bool { return l.by.meta.Key == key })
}

// source is what is noted in the registry: who called for the connection.
func (i *ioc) source() string {
	if i.line != nil || len(i.listed) == 0 {
		return configSource
	}
	return i.listed[0].by.meta.Key
}

func (i *ioc) target() schedule.Target {
	attributes := configAttributes
	if i.line == nil && len(i.listed) > 0 {
		attributes = i.listed[0].by.attributes
	}
	t := schedule.Target{TID: i.id, Kind: tid.IO, Host: i.host, Params: i.params, Configured: i.line != nil, Attributes: attributes}
	if i.boot {
		t.Owner = registry.NBFT
	}
	return t
}

var configAttributes = map[string]string{sourceAttr: configSource}

// place is where Transport IDs that may overlap share a spelling.
type place struct {
	traddr, nqn string
}

func placeOf(t tid.TID) place { return place{tid.Where(t.Transport, t.Traddr), t.NQN} }

func placeOfDevice(d *kernel.Controller) place {
	return place{tid.Where(d.Transport, d.Traddr), d.NQN}
}

// get gives the ioc for t, made if need be.
func (c *Connector) get(t tid.TID, host tid.Host) *ioc {
	i := c.iocs[t]
	if i == nil {
		i = &ioc{id: t, host: host}
		c.iocs[t] = i
		c.enter(i)
		p := placeOf(t)
		c.places[p] = append(c.places[p], i)
		c.touchPlace(p)
	}
	c.touch(i)
	return i
}

// drop forgets i. Its connection, if it has one, becomes a stray, which another description of the same
// may take up.
func (c *Connector) drop(i *ioc, source string, unlisted bool) {
	c.sched.Drop(i.id)
	if d := i.device; d != nil {
		c.unbind(i)
		c.setAdrift(d, source, unlisted)
	}
	if name := i.landing; name != "" {
		c.landed(i)
		c.expect(i.id, name)
	}
	p := placeOf(i.id)
	c.places[p] = slices.DeleteFunc(c.places[p], func(o *ioc) bool { return o == i })
	if len(c.places[p]) == 0 {
		delete(c.places, p)
	}
	c.touchAllAt(p) // i may have covered the only one left
	delete(c.iocs, i.id)
	c.leave(i)
	delete(c.touched, i)
}

// touchPlace has all looked at that may mean the same connection: who is covered by whom has changed.
func (c *Connector) touchPlace(p place) {
	if len(c.places[p]) > 1 || len(c.adriftAt[p]) > 0 {
		c.touchAllAt(p)
	}
}

func (c *Connector) touchAllAt(p place) {
	for _, o := range c.places[p] {
		c.touch(o)
	}
}

// barred says whether exclude= names i.
func (c *Connector) barred(i *ioc) bool { return veto.Matches(c.excludes, i.id, i.host) }

// covered says whether another, more deliberate description of the same connection is
// wanted too: configured goes before discovered, exact before vague. One that the host-wide list names covers
// nothing but by the connection that it has: each description is checked on its own.
func (c *Connector) covered(i *ioc) bool {
	for _, o := range c.places[placeOf(i.id)] {
		if o != i && o.wanted() && o.id.Overlaps(tid.IO, i.id) && ahead(o, i) && !c.barred(o) && (o.device != nil || !c.opts.Excluded(o.id, o.host)) {
			return true
		}
	}
	return false
}

// ahead says whether a is the more deliberate description. What the boot table names is made by no other, and as the host of that.
func ahead(a, b *ioc) bool {
	if a.boot != b.boot {
		return a.boot
	}
	if (a.line != nil) != (b.line != nil) {
		return a.line != nil
	}
	if va, vb := vague(a.id), vague(b.id); va != vb {
		return va < vb
	}
	return a.id.Compare(b.id) < 0
}

func vague(t tid.TID) int {
	n := 0
	if t.HostIface == "" {
		n++
	}
	if t.HostTraddr == "" {
		n++
	}
	return n
}
