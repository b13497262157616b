package daemon

import (
	"context"
	"fmt"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/connector"
)

// Stacd runs stacd and gives its exit status.
func Stacd() int {
	return program{name: "stacd", about: "connect the NVMe-oF I/O controllers that this host may use",
		conf: "/etc/stas/stacd.conf", build: buildStacd}.execute()
}

func buildStacd(d *daemon) service {
	pages := bus.NewPagesClient(bus.Options{Log: d.log})
	con := connector.New(connector.Options{
		Connector: d.worker, Prober: prober{}, Pages: pages, Changes: d.watcher.Changes(), Ownership: d.registry,
		Read: d.sysfs.Controller, Interfaces: d.interfaces, Excluded: d.hostWide.Excluded, Resolve: resolve, Log: d.log,
	})
	c := &stacdConfig{d: d, c: con, files: config.Files{Own: d.opts.conf, Fabrics: fabricsConf}}
	server := bus.NewConnectorServer(bus.Options{Log: d.log}, con.View(), debug{d, &c.current, con.View().ControllerInfo, nil})
	return service{
		run:     con.Run,
		reload:  c.reload,
		alive:   con.View().Alive,
		recheck: con.Recheck,
		kick:    con.Kick,
		more:    []func(context.Context){d.serveBus(server.Run), d.serveBus(pages.Run), d.watchIdentity(c.identity)},
	}
}

// stacdConfig is what stacd has read last.
type stacdConfig struct {
	d       *daemon
	c       *connector.Connector
	files   config.Files
	stac    *config.Stac
	current current
}

// reload reads the configuration. Files that cannot be used leave in force what was.
func (c *stacdConfig) reload() string {
	cfg, problems, err := config.LoadStac(c.files)
	c.d.report(problems)
	trouble := ""
	switch {
	case err != nil && c.stac == nil:
		c.d.log.Error("no usable configuration; running without, and removing nothing", "error", err)
		c.stac = config.DefaultStac()
		c.stac.Incomplete = true
		trouble = err.Error()
	case err != nil:
		c.d.log.Error("configuration not usable; the last good one stays in force", "error", err)
		trouble = "last good configuration in force: " + err.Error()
	default:
		c.stac = cfg
	}
	c.d.trace.configure(c.stac.Tron)
	id := c.d.loadIdentity()
	c.current.set(id)
	c.c.Configure(c.stac, id)
	return statusLine(fmt.Sprintf("%d configured I/O controllers", len(c.stac.Controllers)), len(problems), trouble, id.Missing)
}

// identity reads the host identity anew and nothing else.
func (c *stacdConfig) identity() {
	c.d.notify.ready(c.reload())
}
