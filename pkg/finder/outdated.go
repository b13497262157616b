package finder

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/loop"
)

// pending names the parameters that the next connect would set to another value.
func (d *dc) pending() []string {
	if d.device == nil || d.want.Params == nil || d.out || d.disposition != active {
		return nil
	}
	var names []string
	if id := d.want.Host.ID; d.device.HostID != "" && id != "" && !strings.EqualFold(d.device.HostID, id) {
		names = append(names, "host-id")
	}
	switch o := &d.object; {
	case o.made == nil || o.inode != d.device.Inode:
		names = append(names, d.device.Differing(d.want.Params)...)
	case o.made != d.want.Params && *o.made != *d.want.Params:
		names = append(names, config.Differing(*o.made, *d.want.Params)...)
	}
	return names
}

// setOutdated keeps the number of connections whose parameters are not those that the configuration now asks for.
func (f *Finder) setOutdated(d *dc, is bool) {
	if is == d.object.dated {
		return
	}
	d.object.dated = is
	if is {
		f.outdated++
	} else {
		f.outdated--
	}
}

func (f *Finder) tellOutdated() {
	if f.outdated != f.counted {
		f.counted = f.outdated
		if f.opts.Outdated != nil {
			f.opts.Outdated(f.outdated)
		}
	}
}

// Outdated names the connections of ours that use other parameters than the configuration now says, by
// device in the order of their numbers, and those parameters. What was posted before has been acted upon.
func (v View) Outdated(ctx context.Context) (devices, parameters []string, err error) {
	type result struct{ devices, parameters []string }
	r, err := loop.Ask(ctx, v.f.loop, func() (r result) {
		v.f.settle()
		var list []*dc
		for _, d := range v.f.bound {
			if d.object.dated {
				list = append(list, d)
			}
		}
		slices.SortFunc(list, func(a, b *dc) int { return cmp.Compare(a.device.Instance, b.device.Instance) })
		for _, d := range list {
			r.devices = append(r.devices, d.device.Name)
			for _, p := range d.pending() {
				if !slices.Contains(r.parameters, p) {
					r.parameters = append(r.parameters, p)
				}
			}
		}
		slices.Sort(r.parameters)
		return r
	})
	return r.devices, r.parameters, err
}
