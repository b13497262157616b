package finder

import (
	"context"
	"strconv"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/schedule"
)

// retryInterval is what the legacy interface shows for a retry timer that is off.
const retryInterval = 60 * time.Second

// legacy describes d as nvme-stas 2.x does.
func (f *Finder) legacy(d *dc) bus.Controller {
	c := bus.Controller{ID: busID(d.id())}
	for name, value := range config.Tunables(d.want.Given) {
		c.Tunables = append(c.Tunables, bus.Field{Name: name, Value: value})
	}
	if d.device != nil {
		c.Device = d.device.Name
	}
	s := f.sched.Status(d.id())
	add := func(name, value string) { c.Info = append(c.Info, bus.Field{Name: name, Value: value}) }
	add("connect attempts", strconv.Itoa(s.Attempts))
	add("retry connect timer", retryTimer(s))
	add("origin", legacyOrigin(d.want.Origin))
	if d.want.Origin == Announced {
		left := time.Duration(-1)
		if d.timers.retention != nil {
			left = max(time.Until(d.givenUpAt), 0)
		}
		add("unresponsive timer", bus.Timer(max(f.cfg.DCGiveUp, 0), left))
		if f.cfg.DCGiveUp == config.Forever {
			add("unresponsive timeout", "forever")
		} else {
			add("unresponsive timeout", strconv.Itoa(int(f.cfg.DCGiveUp.Seconds()))+" sec")
		}
		since := "---"
		if !d.lostAt.IsZero() {
			since = d.lostAt.Format(time.ANSIC)
		}
		add("unresponsive time", since)
	}
	if s.State == schedule.Connecting {
		add("connect operation", operation(s.Attempts, s.LastErr, false))
	}
	if d.registrable() {
		add("register operation", operation(d.failures[register], d.errs[register], d.registered))
	}
	if d.identified != nil || d.page != nil {
		add("get log page operation", operation(d.failures[read], d.errs[read], d.busy != read && d.failures[read] == 0))
		if f.cfg.PLEO {
			add("get supported log page operation", operation(d.failures[supported], d.errs[supported], d.busy != supported))
		}
	}
	detail := func(name, value string) { c.Details = append(c.Details, bus.Field{Name: name, Value: value}) }
	detail("hostid", d.want.Host.ID)
	detail("hostnqn", d.want.Host.NQN)
	if d.device != nil {
		detail("model", d.device.Model)
		detail("serial", d.device.Serial)
		detail("dctype", d.device.DCType)
		detail("cntrltype", d.device.CntrlType)
	}
	detail("connected", bus.True(d.live()))
	return c
}

// detail replaces what the kernel may have changed without telling: it signals neither the loss of
// a connection nor the begin of a reconnect. It is called off the loop.
func (f *Finder) detail(c *bus.Controller) {
	if c.Device == "" || f.opts.Read == nil {
		return
	}
	now, err := f.opts.Read(c.Device)
	for i := range c.Details {
		if c.Details[i].Name == "connected" {
			c.Details[i].Value = bus.True(err == nil && now.State == kernel.StateLive)
		}
	}
}

func retryTimer(s schedule.Status) string {
	if s.Next.IsZero() {
		return bus.Timer(retryInterval, -1)
	}
	return bus.Timer(s.Delay.Round(100*time.Millisecond), max(time.Until(s.Next), 0))
}

func operation(failures int, err error, completed bool) string {
	o := bus.Object{{Name: "fail count", Value: failures}, {Name: "completed", Value: completed}, {Name: "alive", Value: true}}
	if err != nil {
		o = append(o, bus.Member{Name: "error", Value: err.Error()})
	}
	return bus.Dict(o)
}

func legacyOrigin(o Origin) string {
	switch o {
	case Referred:
		return "referral"
	case Announced, FibreChannel:
		return "discovered"
	}
	return "configured"
}

// ControllerInfo describes one controller for the debug interface.
func (v View) ControllerInfo(ctx context.Context, id bus.ID) (bus.Controller, bool, error) {
	type reply struct {
		c     bus.Controller
		found bool
	}
	r, err := loop.Ask(ctx, v.f.loop, func() reply {
		if d := v.f.byID(id); d != nil {
			return reply{v.f.legacy(d), true}
		}
		return reply{}
	})
	return r.c, r.found, err
}
