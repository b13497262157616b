package daemon

import (
	"context"
	rtdebug "runtime/debug"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/connector"
	"github.com/stas-go/stas/pkg/nbft"
)

// Stacd runs stacd and gives its exit status.
func Stacd() int {
	return program{name: "stacd", about: "connect the NVMe-oF I/O controllers that this host may use",
		conf: "/etc/stas/stacd.conf", build: buildStacd}.execute()
}

func buildStacd(d *daemon) service {
	pages := bus.NewPagesClient(bus.Options{Log: d.log})
	old := newOutdated(d, "stacctl")
	c := connector.New(connector.Options{
		Connector: d.worker, Warm: d.worker.Warm, Prober: prober{}, Pages: pages, Changes: d.watcher.Changes(), Ownership: ownership{d.registry, d.sysfs},
		Read: d.sysfs.Controller, Attached: d.sysfs.Attached, Interfaces: d.interfaces, Excluded: d.hostWide.Excluded, Protected: d.boot.protects,
		Firmwares: d.boot.names, Boot: func() []nbft.Connection { return d.boot.Load().Subsystems }, Resolve: resolve, Calm: rtdebug.FreeOSMemory, Outdated: old.changed, Log: d.log,
	})
	d.watcher.Only = connector.Concerns
	old.names = c.View().Outdated
	source := config.StacSource{Files: config.Files{Own: d.opts.conf, Fabrics: fabricsConf}}
	var id current
	server := bus.NewConnectorServer(bus.Options{Log: d.log}, c.View(), debug{d, &id, c.View().ControllerInfo, nil})
	server.ServeControllers(c.View())
	c.Observe(server)
	return service{
		bus: d.serveBus(server.Run), alone: server.Settled(),
		run: c.Run,
		reload: func() string {
			cfg, problems := source.Load()
			d.report(problems)
			d.trace.configure(cfg.Tron)
			server.DebugChanged()
			who := d.loadIdentity()
			id.set(who)
			c.Configure(cfg, who)
			old.reloaded()
			return statusLine(count(len(cfg.Controllers), "configured I/O controller", "configured I/O controllers"), len(problems), unusable(problems), who.Missing)
		},
		alive:   c.View().Alive,
		recheck: c.Recheck,
		kick:    c.Kick,
		more:    []func(context.Context){d.serveBus(pages.Run), old.run},
	}
}
