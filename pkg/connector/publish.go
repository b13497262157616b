package connector

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
)

// View is a Connector as the bus sees it. Its methods may be called from any goroutine; they
// ask the loop and wait no longer than their context.
type View struct{ c *Connector }

// View gives the view of c.
func (c *Connector) View() View { return View{c} }

var _ bus.Connector = View{}

func busID(t tid.TID) bus.ID {
	return bus.ID{Transport: string(t.Transport), Traddr: t.Traddr, Trsvcid: t.Trsvcid, SubsysNQN: t.NQN,
		HostTraddr: t.HostTraddr, HostIface: t.HostIface, HostNQN: t.HostNQN}
}

// Controllers implements [bus.Connector]: what is wanted, in a stable order.
func (v View) Controllers(ctx context.Context, detailed bool) ([]bus.Controller, error) {
	list, err := loop.Ask(ctx, v.c.loop, func() []bus.Controller {
		iocs := slices.SortedFunc(maps.Values(v.c.iocs), func(a, b *ioc) int {
			return cmp.Or(cmp.Compare(a.id.NQN, b.id.NQN), a.id.Compare(b.id))
		})
		list := make([]bus.Controller, 0, len(iocs))
		for _, i := range iocs {
			// What exclude= keeps out is left out, as by 2.x; as an object it is there, with that state.
			if i.wanted() && !v.c.covered(i) && !v.c.barred(i) || i.device != nil {
				list = append(list, v.c.legacy(i, detailed))
			}
		}
		return list
	})
	if err == nil && detailed {
		for n := range list {
			v.c.detail(&list[n])
		}
	}
	return list, err
}

// ControllerInfo describes one controller for the debug interface.
func (v View) ControllerInfo(ctx context.Context, id bus.ID) (bus.Controller, bool, error) {
	type reply struct {
		ctrl  bus.Controller
		found bool
	}
	r, err := loop.Ask(ctx, v.c.loop, func() reply {
		if i := v.c.byID(id); i != nil {
			return reply{v.c.legacy(i, true), true}
		}
		return reply{}
	})
	return r.ctrl, r.found, err
}

func (c *Connector) byID(id bus.ID) *ioc {
	t := tid.TID{Transport: nvme.Transport(id.Transport), Traddr: id.Traddr, Trsvcid: id.Trsvcid,
		NQN: id.SubsysNQN, HostTraddr: id.HostTraddr, HostIface: id.HostIface, HostNQN: id.HostNQN}
	if i := c.iocs[t]; i != nil {
		return i
	}
	if n, err := tid.New(tid.IO, t); err == nil {
		return c.iocs[n]
	}
	return nil
}

// retryInterval is what the legacy interface shows for a retry timer that is off.
const retryInterval = 60 * time.Second

// legacy describes i as nvme-stas 2.x does.
func (c *Connector) legacy(i *ioc, detailed bool) bus.Controller {
	b := bus.Controller{ID: busID(i.id)}
	if i.line != nil {
		for name, value := range config.Tunables(i.line.Given) {
			b.Tunables = append(b.Tunables, bus.Field{Name: name, Value: value})
		}
	}
	if i.device != nil {
		b.Device = i.device.Name
	}
	if !detailed {
		return b
	}
	s := c.sched.Status(i.id)
	b.Info = []bus.Field{{Name: "connect attempts", Value: strconv.Itoa(s.Attempts)}, {Name: "retry connect timer", Value: retryTimer(s)}}
	if s.State == schedule.Connecting {
		o := bus.Object{{Name: "fail count", Value: s.Attempts}, {Name: "completed", Value: false}, {Name: "alive", Value: true}}
		b.Info = append(b.Info, bus.Field{Name: "connect operation", Value: bus.Dict(o)})
	}
	detail := func(name, value string) { b.Details = append(b.Details, bus.Field{Name: name, Value: value}) }
	detail("hostid", i.host.ID)
	detail("hostnqn", i.host.NQN)
	if i.device != nil {
		detail("model", i.device.Model)
		detail("serial", i.device.Serial)
		detail("dctype", i.device.DCType)
		detail("cntrltype", i.device.CntrlType)
	}
	detail("connected", bus.True(i.live))
	if len(i.listed) > 0 {
		detail("dlpe", bus.EntryDict(&i.listed[0].entry))
		detail("dlpe.eflags.ncc", bus.True(i.ncc()))
	}
	return b
}

// detail replaces what the kernel may have changed without telling: it signals neither the loss of
// a connection nor the begin of a reconnect. It is called off the loop.
func (c *Connector) detail(b *bus.Controller) {
	if b.Device == "" || c.opts.Read == nil {
		return
	}
	now, err := c.opts.Read(b.Device)
	for i := range b.Details {
		if b.Details[i].Name == "connected" {
			b.Details[i].Value = bus.True(err == nil && now.State == kernel.StateLive)
		}
	}
}

func retryTimer(s schedule.Status) string {
	if s.Next.IsZero() {
		return bus.Timer(retryInterval, -1)
	}
	return bus.Timer(s.Delay.Round(100*time.Millisecond), max(time.Until(s.Next), 0))
}

// Alive gives nil when the loop answers.
func (v View) Alive(ctx context.Context) error {
	return v.c.loop.Alive(ctx)
}
