package daemon

import (
	"context"
	rtdebug "runtime/debug"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/finder"
)

// Stafd runs stafd and gives its exit status.
func Stafd() int {
	return program{name: "stafd", about: "find the NVMe-oF discovery controllers of the fabric and publish their log pages",
		conf: "/etc/stas/stafd.conf", build: buildStafd, beginnings: true}.execute()
}

func buildStafd(d *daemon) service {
	store, err := finder.OpenStore("/run/stafd/pages", d.log)
	if err != nil {
		d.log.Warn("what is known will not survive a restart", "error", err)
	}
	old := newOutdated(d, "stafctl")
	var mdns *announced
	f := finder.New(finder.Options{
		Connector: d.worker, Commands: d.worker, Kickstart: d.worker.Kickstart, Prober: prober{}, Changes: d.watcher.Changes(),
		Ownership: ownership{d.registry, d.sysfs}, Read: d.sysfs.Controller, Connections: d.sysfs.Controllers, Interfaces: d.interfaces, Firmwares: d.boot.names,
		Excluded: d.hostWide.Excluded, Resolve: resolve, Store: store, Calm: rtdebug.FreeOSMemory, Outdated: old.changed, Unanswered: func() { mdns.recheck() }, Log: d.log,
	})
	d.watcher.Only = f.Concerns
	old.names = f.View().Outdated
	mdns = newAnnounced(d, f)
	source := config.StafSource{Files: config.Files{Own: d.opts.conf, Fabrics: fabricsConf}}
	var id current
	info := debug{d, &id, f.View().ControllerInfo, func(context.Context) (bus.Object, error) {
		return bus.Object{{Name: "avahi", Value: mdns.services()}}, nil
	}}
	server := bus.NewFinderServer(bus.Options{Log: d.log}, f.View(), f.View(), info)
	f.Announce(server)
	server.ServeControllers(f.View())
	f.Observe(server)
	reportBoot := func(list []finder.Candidate, complete bool) { f.Report(finder.Firmware, list, complete) }
	return service{
		bus: d.serveBus(server.Run), alone: server.Settled(),
		run: func(ctx context.Context) { f.Run(ctx); store.Close() },
		reload: func() string {
			cfg, problems := source.Load()
			d.report(problems)
			d.trace.configure(cfg.Tron)
			server.DebugChanged()
			who := d.loadIdentity()
			id.set(who)
			f.Configure(cfg, who)
			old.reloaded()
			d.wantBoot(reportBoot, cfg.NBFT)
			mdns.enable(cfg.Zeroconf)
			return statusLine(count(len(cfg.Controllers), "configured discovery controller", "configured discovery controllers"), len(problems), unusable(problems), who.Missing)
		},
		alive:   f.View().Alive,
		recheck: f.Recheck,
		kick:    func() { d.renewBoot(reportBoot); f.Kick() },
		closing: f.View().Close,
		more:    []func(context.Context){mdns.run, old.run},
	}
}
