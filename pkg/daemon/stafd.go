package daemon

import (
	"context"
	"fmt"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/finder"
)

// Stafd runs stafd and gives its exit status.
func Stafd() int {
	return program{name: "stafd", about: "find the NVMe-oF discovery controllers of the fabric and publish their log pages",
		conf: "/etc/stas/stafd.conf", build: buildStafd}.execute()
}

func buildStafd(d *daemon) service {
	store, err := finder.OpenStore("/run/stafd/pages", d.log)
	if err != nil {
		d.log.Warn("what is known will not survive a restart", "error", err)
	}
	f := finder.New(finder.Options{
		Connector: d.worker, Commands: d.worker, Prober: prober{}, Changes: d.watcher.Changes(), Ownership: d.registry,
		Read: d.sysfs.Controller, Interfaces: d.interfaces, Excluded: d.hostWide.Excluded, Resolve: resolve, Store: store, Log: d.log,
	})
	files := config.Files{Own: d.opts.conf, Fabrics: fabricsConf}
	c := &stafdConfig{d: d, f: f, files: files}
	server := bus.NewFinderServer(bus.Options{Log: d.log}, f.View(), f.View(), debug{d, &c.current, f.View().ControllerInfo, f.View().Extra})
	f.Announce(server)
	return service{
		run:     func(ctx context.Context) { f.Run(ctx); store.Close() },
		reload:  c.reload,
		alive:   f.View().Alive,
		recheck: f.Recheck,
		kick:    f.Kick,
		closing: f.View().Close,
		more:    []func(context.Context){d.serveBus(server.Run), d.watchIdentity(c.identity)},
	}
}

// stafdConfig is what stafd has read last.
type stafdConfig struct {
	d       *daemon
	f       *finder.Finder
	files   config.Files
	staf    *config.Staf
	current current
}

// reload reads the configuration. Files that cannot be used leave in force what was.
func (c *stafdConfig) reload() string {
	cfg, problems, err := config.LoadStaf(c.files)
	c.d.report(problems)
	trouble := ""
	switch {
	case err != nil && c.staf == nil:
		c.d.log.Error("no usable configuration; running without, and removing nothing", "error", err)
		c.staf = config.DefaultStaf()
		c.staf.Incomplete = true
		trouble = err.Error()
	case err != nil:
		c.d.log.Error("configuration not usable; the last good one stays in force", "error", err)
		trouble = "last good configuration in force: " + err.Error()
	default:
		c.staf = cfg
	}
	c.d.trace.configure(c.staf.Tron)
	id := c.d.loadIdentity()
	c.current.set(id)
	c.f.Configure(c.staf, id)
	return statusLine(fmt.Sprintf("%d configured discovery controllers", len(c.staf.Controllers)), len(problems), trouble, id.Missing)
}

// identity reads the host identity anew and nothing else.
func (c *stafdConfig) identity() {
	c.d.notify.ready(c.reload())
}
