package connector

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// dlp is the discovery log page of one discovery controller, as stafd publishes it.
type dlp struct {
	meta       bus.Page
	dc         tid.TID
	entries    []nvme.DiscoveryEntry
	whole      []nvme.DiscoveryEntry // of the last content without gaps
	read       bool                  // there has been a content
	revision   uint64                // of the content
	iocs       []*ioc                // what the entries mean, one by one; nil for nothing that is connected
	attributes map[string]string
	params     *scopeParams // of what it lists; nil until they are asked for
}

// adds says whether what the page lists is wanted.
func (p *dlp) adds() bool { return p.meta.Disposition == bus.Active }

// removes says whether what the page does not list is known not to be listed.
func (p *dlp) removes() bool {
	return p.meta.Disposition == bus.Active && p.meta.Complete && p.meta.Dropped == 0
}

// news is one answer of stafd: all pages it knows, and the content of those that are new.
type news struct {
	list    []bus.Page
	content map[string]content
}

type content struct {
	page    bus.Page
	entries []nvme.DiscoveryEntry
}

// Asking stafd again after a failed call.
const (
	askFirst = 250 * time.Millisecond
	askMost  = 10 * time.Second
)

// follow asks stafd for its pages whenever it says that they changed, one page for each that did.
// A call that fails is repeated; what is known stays.
func (c *Connector) follow() {
	have := map[string]uint64{}
	wait := askFirst
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.opts.Pages.Updates():
			c.opts.Warm()
		case <-retry.C:
		}
		n, err := ask(c.ctx, c.opts.Pages, have)
		if n != nil {
			c.loop.Post(func() { c.heard(n) })
		} else {
			c.loop.Post(func() { c.answered = false })
		}
		if err == nil {
			wait = askFirst
			continue
		}
		if c.ctx.Err() == nil {
			c.log.Debug("no answer from stafd; what is known stays", "error", err)
		}
		retry.Reset(wait + rand.N(wait/4))
		wait = min(2*wait, askMost)
	}
}

// ask lists the pages and gets those whose revision is not the one in have, which it
// keeps up to date. Where a page cannot be had the answer is told without it, beside the error.
func ask(ctx context.Context, pages Pages, have map[string]uint64) (*news, error) {
	list, err := pages.List(ctx)
	if err != nil {
		return nil, err
	}
	n := &news{list: list, content: map[string]content{}}
	var failed error
	seen := map[string]bool{}
	for _, p := range list {
		seen[p.Key] = true
		if !p.Complete || have[p.Key] == p.Revision {
			continue
		}
		page, entries, err := pages.Get(ctx, p.Key)
		if err != nil {
			failed = err
			continue
		}
		if !page.Complete {
			continue // it has been begun anew since it was listed: what was known stays until it has been read
		}
		have[p.Key] = page.Revision
		n.content[p.Key] = content{page, entries}
	}
	for key := range have {
		if !seen[key] {
			delete(have, key)
		}
	}
	return n, failed
}

// heard takes in an answer of stafd.
func (c *Connector) heard(n *news) {
	if !c.answered {
		c.answered = true
		known := 0
		for _, meta := range n.list {
			if meta.ID != (bus.ID{}) { // else it stands for sources that have yet to report
				known++
			}
		}
		c.log.Info("stafd answers", "discovery-controllers", known)
	}
	changed := false
	seen := map[string]bool{}
	for _, meta := range n.list {
		seen[meta.Key] = true
		p := c.pages[meta.Key]
		if p == nil {
			p = &dlp{attributes: map[string]string{sourceAttr: meta.Key}}
			c.pages[meta.Key] = p
			changed = true
		}
		fresh, isNew := n.content[meta.Key]
		if isNew {
			meta = fresh.page
			p.read, p.revision = true, meta.Revision
			fresh.entries = c.withKnown(p, fresh)
		} else if meta.Complete && (!p.read || meta.Revision != p.revision) {
			// Its content could not be had: the last one that could stays in force, if there is one.
			meta.Complete, meta.Revision, meta.GenCtr, meta.ReadAt = p.meta.Complete, p.meta.Revision, p.meta.GenCtr, p.meta.ReadAt
			meta.Records, meta.Dropped = p.meta.Records, p.meta.Dropped
		}
		changed = changed || p.meta.Disposition != meta.Disposition || p.meta.Complete != meta.Complete
		moved := p.meta.ID != meta.ID || p.meta.HostID != meta.HostID
		p.meta = meta
		switch {
		case moved:
			c.unlist(p, false)
			p.dc, p.params = dcOf(meta.ID), nil
			c.list(p, p.entries, fresh, isNew)
		case isNew:
			c.replace(p, fresh.entries)
		}
	}
	for key, p := range c.pages {
		if !seen[key] {
			if p.meta.ID != (bus.ID{}) { // else it stood for sources that had yet to report
				c.log.Info("stafd no longer knows a discovery controller", "dc", p.dc)
			}
			c.unlist(p, false)
			delete(c.pages, key)
			changed = true
		}
	}
	if changed {
		for _, p := range c.pages {
			for _, i := range p.iocs {
				if i != nil {
					c.touch(i)
				}
			}
		}
	}
	for _, s := range c.strays {
		if s.why != verdictForeign && s.why != verdictFirmware {
			c.loose[s] = struct{}{}
		}
	}
}

func dcOf(id bus.ID) tid.TID {
	return tid.TID{Transport: nvme.Transport(id.Transport), Traddr: id.Traddr, Trsvcid: id.Trsvcid, NQN: id.SubsysNQN,
		HostTraddr: id.HostTraddr, HostIface: id.HostIface, HostNQN: id.HostNQN}
}

// list makes entries (those of fresh, where there are new ones) the content of a page that has none.
func (c *Connector) list(p *dlp, entries []nvme.DiscoveryEntry, fresh content, isNew bool) {
	if isNew {
		entries = fresh.entries
	}
	p.entries, p.iocs = nil, nil
	c.replace(p, entries)
}

// withKnown adds to the entries of a page with gaps what the last one without listed and it does not: absence from it
// proves nothing, and what was known stays.
func (c *Connector) withKnown(p *dlp, fresh content) []nvme.DiscoveryEntry {
	if fresh.page.Dropped == 0 {
		p.whole = fresh.entries
		return fresh.entries
	}
	listed := map[tid.TID]bool{}
	for _, e := range fresh.entries {
		if t, ok := c.means(p, e); ok {
			listed[t] = true
		}
	}
	entries := slices.Clip(fresh.entries)
	for _, e := range p.whole {
		if t, ok := c.means(p, e); ok && !listed[t] {
			entries = append(entries, e)
		}
	}
	return entries
}

// unlist takes back everything that p lists.
func (c *Connector) unlist(p *dlp, byPage bool) {
	for _, i := range p.iocs {
		c.unmention(p, i, byPage)
	}
	p.iocs = nil
}

// relist interprets all pages anew, after the configuration that says how to do so has changed.
func (c *Connector) relist() {
	for _, p := range c.pages {
		p.params = nil
		old := p.iocs
		p.iocs = make([]*ioc, len(p.entries))
		for n, e := range p.entries {
			p.iocs[n] = c.mention(p, e)
		}
		now := setOf(p.iocs)
		for _, i := range old {
			if !now[i] {
				c.unmention(p, i, false)
			}
		}
	}
}

func setOf(iocs []*ioc) map[*ioc]bool {
	set := make(map[*ioc]bool, len(iocs))
	for _, i := range iocs {
		set[i] = true
	}
	return set
}

// replace puts a new content in place of the old. Most changes touch few entries of many, so
// what both begin and end with is left alone.
func (c *Connector) replace(p *dlp, entries []nvme.DiscoveryEntry) {
	old, oldIOCs := p.entries, p.iocs
	head := 0
	for head < len(old) && head < len(entries) && old[head] == entries[head] {
		head++
	}
	tail := 0
	for tail < len(old)-head && tail < len(entries)-head && old[len(old)-1-tail] == entries[len(entries)-1-tail] {
		tail++
	}
	p.entries = entries
	last := len(entries) - tail
	var changed []*ioc // what the part that differs meant before
	if head+tail < len(oldIOCs) {
		changed = slices.Clone(oldIOCs[head : len(oldIOCs)-tail])
	}
	if len(entries) != len(oldIOCs) {
		p.iocs = make([]*ioc, len(entries))
		copy(p.iocs, oldIOCs[:min(head, len(oldIOCs))])
		copy(p.iocs[last:], oldIOCs[len(oldIOCs)-min(tail, len(oldIOCs)):])
	}
	for n := head; n < last; n++ {
		p.iocs[n] = c.mention(p, entries[n])
	}
	gone := setOf(changed)
	for n := head; n < last; n++ {
		delete(gone, p.iocs[n])
	}
	if len(gone) == 0 {
		return
	}
	for n, i := range p.iocs {
		if (n < head || n >= last) && gone[i] { // listed elsewhere on the page, too: that entry counts from now on
			delete(gone, i)
			p.iocs[n] = c.mention(p, entries[n])
		}
	}
	for i := range gone {
		c.unmention(p, i, true)
	}
}

// mention notes that p lists what e means, and gives it. It gives nil for entries that are not
// for stacd: referrals, other transports, families that are not allowed.
func (c *Connector) mention(p *dlp, e nvme.DiscoveryEntry) *ioc {
	t, ok := c.means(p, e)
	if !ok {
		return nil
	}
	i := c.get(t, tid.Host{NQN: t.HostNQN, ID: p.meta.HostID})
	if n := slices.IndexFunc(i.listed, func(l listing) bool { return l.by == p }); n >= 0 {
		i.listed[n].entry = e
	} else {
		i.listed = append(i.listed, listing{p, e})
	}
	if i.line == nil {
		if !i.boot {
			i.host = tid.Host{NQN: t.HostNQN, ID: i.listed[0].by.meta.HostID}
		}
		i.params = c.discovered(i.listed[0])
	}
	return i
}

// unmention notes that p does not list i any more; byPage says that a newer page of p says so.
func (c *Connector) unmention(p *dlp, i *ioc, byPage bool) {
	if i == nil || c.iocs[i.id] != i {
		return
	}
	source := i.source()
	i.listed = slices.DeleteFunc(i.listed, func(l listing) bool { return l.by == p })
	c.touch(i)
	c.touchPlace(placeOf(i.id))
	if !i.named() {
		c.drop(i, source, byPage && p.removes())
		return
	}
	if d := i.device; d != nil { // whether it is ours may be about to be looked at, see tend
		if noted, err := c.opts.Ownership.Attr(d.Name, sourceAttr); err == nil && noted == p.meta.Key && c.opts.Ownership.Owner(d.Name).Is(Owner) {
			c.renote(i, d.Name)
		}
	}
	switch {
	case i.line != nil:
	case len(i.listed) == 0: // the boot table alone names it now
		i.params = c.defaults.plain
	default:
		if !i.boot {
			i.host.ID = i.listed[0].by.meta.HostID
		}
		i.params = c.discovered(i.listed[0])
	}
}

// renote has the registry name another one that calls for the connection of i, as the one that is noted there does no
// more: after a restart the page of that one alone would have it unlisted. Where that fails it is tried again when i is looked at.
func (c *Connector) renote(i *ioc, name string) {
	err := c.opts.Ownership.Set(name, sourceAttr, i.source())
	if i.noted = err == nil; err != nil && !i.unclaimed {
		i.unclaimed = true
		c.log.Warn("cannot note who calls for the connection now", "ioc", i.id, "device", name, "error", err)
	}
}

// means gives the I/O connection that an entry asks for. It is made the way its discovery
// controller is reached: from the same address and interface, as the same host.
func (c *Connector) means(p *dlp, e nvme.DiscoveryEntry) (tid.TID, bool) {
	if e.Subtype != nvme.SubtypeNVMe || e.Transport.Transport() != p.dc.Transport {
		return tid.TID{}, false
	}
	t := tid.TID{Transport: p.dc.Transport, Traddr: e.Traddr, Trsvcid: e.Trsvcid, NQN: e.SubNQN,
		HostTraddr: p.dc.HostTraddr, HostIface: p.dc.HostIface, HostNQN: p.dc.HostNQN}
	if c.cfg.IgnoreIface {
		t.HostIface = ""
	}
	t = t.ScopedLike(p.dc)
	t, err := tid.New(tid.IO, t)
	if err != nil {
		c.log.Debug("entry cannot be used", "dc", p.dc, "error", err)
		return tid.TID{}, false
	}
	return t, c.cfg.Families.Allows(t.Family())
}
