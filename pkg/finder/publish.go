package finder

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// View is a Finder as the bus sees it. Its methods may be called from any goroutine; they
// ask the loop and wait no longer than their context.
type View struct{ f *Finder }

// View gives the view of f.
func (f *Finder) View() View { return View{f} }

var (
	_ bus.Finder = View{}
	_ bus.Pages  = View{}
)

func busID(t tid.TID) bus.ID {
	return bus.ID{Transport: string(t.Transport), Traddr: t.Traddr, Trsvcid: t.Trsvcid, SubsysNQN: t.NQN,
		HostTraddr: t.HostTraddr, HostIface: t.HostIface, HostNQN: t.HostNQN}
}

// shown are the controllers that the legacy interface lists, in a stable order: those that are in use.
func (f *Finder) shown() []*dc {
	list := slices.SortedFunc(maps.Values(f.dcs), func(a, b *dc) int {
		return cmp.Or(cmp.Compare(a.want.Origin, b.want.Origin), a.id().Compare(b.id()))
	})
	return slices.DeleteFunc(list, func(d *dc) bool { return d.disposition == forgotten })
}

// Controllers implements [bus.Finder].
func (v View) Controllers(ctx context.Context, detailed bool) ([]bus.Controller, error) {
	logs, err := v.logs(ctx, detailed, false)
	if err != nil {
		return nil, err
	}
	list := make([]bus.Controller, len(logs))
	for i := range logs {
		list[i] = logs[i].Controller
	}
	return list, nil
}

// AllLogPages implements [bus.Finder].
func (v View) AllLogPages(ctx context.Context, detailed bool) ([]bus.ControllerLog, error) {
	return v.logs(ctx, detailed, true)
}

func (v View) logs(ctx context.Context, detailed, entries bool) ([]bus.ControllerLog, error) {
	logs, err := loop.Ask(ctx, v.f.loop, func() []bus.ControllerLog {
		shown := v.f.shown()
		logs := make([]bus.ControllerLog, len(shown))
		for i, d := range shown {
			logs[i].Controller = v.f.legacy(d)
			if entries && d.page != nil {
				logs[i].Entries = d.page.entries
			}
		}
		return logs
	})
	if err == nil && detailed {
		for i := range logs {
			v.f.detail(&logs[i].Controller)
		}
	}
	return logs, err
}

// LogPage implements [bus.Finder].
func (v View) LogPage(ctx context.Context, id bus.ID) ([]nvme.DiscoveryEntry, error) {
	return loop.Ask(ctx, v.f.loop, func() []nvme.DiscoveryEntry {
		if d := v.f.byID(id); d != nil && d.page != nil {
			return d.page.entries
		}
		return nil
	})
}

func (f *Finder) byID(id bus.ID) *dc {
	for _, d := range f.dcs {
		if busID(d.id()) == id {
			return d
		}
	}
	t, err := tid.New(tid.Discovery, tid.TID{Transport: nvme.Transport(id.Transport), Traddr: id.Traddr, Trsvcid: id.Trsvcid,
		NQN: id.SubsysNQN, HostTraddr: id.HostTraddr, HostIface: id.HostIface, HostNQN: id.HostNQN})
	if err != nil {
		return nil
	}
	for _, d := range f.places[placeOf(t)] {
		if d.id() == t {
			return d
		}
	}
	return nil
}

// Pages implements [bus.Pages].
func (v View) Pages(ctx context.Context) ([]bus.Page, error) {
	type reply struct {
		pages []bus.Page
		err   error
	}
	r, err := loop.Ask(ctx, v.f.loop, func() reply {
		if !v.f.sources.configured {
			return reply{err: errUnconfigured} // what is known now is not all that will be
		}
		v.f.settle() // a source may just have been heard of which nothing has followed yet
		pages := make([]bus.Page, 0, len(v.f.dcs))
		for _, d := range v.f.dcs {
			pages = append(pages, d.busPage())
		}
		slices.SortFunc(pages, func(a, b bus.Page) int { return cmp.Compare(a.Key, b.Key) })
		if v.f.unheard() {
			pages = append(pages, bus.Page{Key: sourcesKey, Disposition: bus.Active})
		}
		return reply{pages: pages}
	})
	return r.pages, cmp.Or(err, r.err)
}

var errUnconfigured = errors.New("stafd has not read its configuration yet")

// PageEntries implements [bus.Pages].
func (v View) PageEntries(ctx context.Context, key string) (bus.Page, []nvme.DiscoveryEntry, bool, error) {
	type reply struct {
		page    bus.Page
		entries []nvme.DiscoveryEntry
		found   bool
	}
	r, err := loop.Ask(ctx, v.f.loop, func() reply {
		d := v.f.dcs[key]
		if d == nil {
			return reply{}
		}
		r := reply{page: d.busPage(), found: true}
		if d.page != nil {
			r.entries = d.page.entries
		}
		return r
	})
	return r.page, r.entries, r.found, err
}

func (d *dc) busPage() bus.Page {
	p := bus.Page{Key: d.key, ID: busID(d.id()), HostID: d.want.Host.ID, Disposition: bus.Disposition(d.disposition.String())}
	if d.page != nil {
		p.Complete, p.Revision, p.GenCtr, p.ReadAt = !d.page.stale, d.page.revision, d.page.genctr, d.page.readAt
		p.Records, p.Dropped = uint32(len(d.page.entries)), d.page.dropped
	}
	return p
}

// Alive gives nil when the loop answers.
func (v View) Alive(ctx context.Context) error {
	return v.f.loop.Alive(ctx)
}

// Close ends the connections that the configuration does not let outlive the daemon.
func (v View) Close(ctx context.Context) {
	requests, err := loop.Ask(ctx, v.f.loop, func() []kernel.DisconnectRequest {
		if v.f.cfg.PersistentConnections {
			return nil
		}
		var list []kernel.DisconnectRequest
		for _, d := range v.f.dcs {
			if d.device != nil && d.foreign == "" {
				list = append(list, disconnectRequest(d.device))
			}
		}
		return list
	})
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	for _, r := range requests {
		wg.Go(func() { _ = v.f.opts.Connector.Disconnect(ctx, r) })
	}
	wg.Wait()
}
