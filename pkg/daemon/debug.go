package daemon

import (
	"context"
	"sync/atomic"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
)

// current is the identity in force, for any goroutine to read.
type current struct {
	atomic.Pointer[config.Identity]
}

func (c *current) set(id config.Identity) { c.Store(&id) }

// debug is the .debug interface of a daemon.
type debug struct {
	*daemon
	current *current
	info    func(context.Context, bus.ID) (bus.Controller, bool, error)
	extra   func(context.Context) (bus.Object, error)
}

var _ bus.Debug = debug{}

func (d debug) Tron() bool       { return d.trace.Tron() }
func (d debug) SetTron(on bool)  { d.trace.SetTron(on) }
func (d debug) LogLevel() string { return d.trace.LogLevel() }

func (d debug) ControllerInfo(ctx context.Context, id bus.ID) (bus.Controller, bool, error) {
	return d.info(ctx, id)
}

// ProcessInfo has the members of nvme-stas 2.x. The timers that stas has no use for are shown as off.
func (d debug) ProcessInfo(ctx context.Context) (bus.Object, error) {
	id := d.current.Load()
	if id == nil {
		id = &config.Identity{}
	}
	o := bus.Object{
		{Name: "tron", Value: d.Tron()}, {Name: "log-level", Value: d.LogLevel()},
		{Name: "hostnqn", Value: orNull(id.Host.NQN)}, {Name: "hostid", Value: orNull(id.Host.ID)},
		{Name: "hostkey", Value: orNull(id.HostKey.String())}, {Name: "symname", Value: orNull(id.SymName)},
		{Name: "last known config file", Value: "/run/" + d.name + "/last-known-config.pickle"},
		{Name: "config soak timer", Value: "1.5s [off]"},
		{Name: "kernel support.TP8013", Value: "True"}, {Name: "kernel support.host_iface", Value: "True"},
		{Name: "terminator.audit timer", Value: "30.0s [off]"},
	}
	if d.extra == nil {
		return o, nil
	}
	more, err := d.extra(ctx)
	return append(o, more...), err
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
