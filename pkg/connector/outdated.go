package connector

import (
	"cmp"
	"context"
	"slices"

	"github.com/stas-go/stas/pkg/loop"
)

// setOutdated keeps the number of connections whose parameters are not those that the configuration now asks for.
func (c *Connector) setOutdated(i *ioc, is bool) {
	if is == i.object.dated {
		return
	}
	i.object.dated = is
	if is {
		c.objects.outdated++
	} else {
		c.objects.outdated--
	}
}

func (c *Connector) tellOutdated() {
	if n := c.objects.outdated; n != c.objects.counted {
		c.objects.counted = n
		if c.opts.Outdated != nil {
			c.opts.Outdated(n)
		}
	}
}

// Outdated names the connections of ours that use other parameters than the configuration now says, by
// device in the order of their numbers, and those parameters. What was posted before has been acted upon.
func (v View) Outdated(ctx context.Context) (devices, parameters []string, err error) {
	type result struct{ devices, parameters []string }
	r, err := loop.Ask(ctx, v.c.loop, func() (r result) {
		v.c.settle()
		var list []*ioc
		for _, i := range v.c.bound {
			if i.object.dated {
				list = append(list, i)
			}
		}
		slices.SortFunc(list, func(a, b *ioc) int { return cmp.Compare(a.device.Instance, b.device.Instance) })
		for _, i := range list {
			r.devices = append(r.devices, i.device.Name)
			for _, p := range i.pending() {
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
