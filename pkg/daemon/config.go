package daemon

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
)

// report logs what was not taken as written in the files.
func (d *daemon) report(problems []config.Problem) {
	for _, p := range problems {
		if p.Severity == config.Error {
			d.log.Error(p.String())
		} else {
			d.log.Warn(p.String())
		}
	}
}

func (d *daemon) loadIdentity() config.Identity {
	id, problems := d.identity.Load()
	d.report(problems)
	if id.Missing != "" {
		d.log.Error("nothing can be connected", "why", id.Missing)
	}
	return id
}

// statusLine is what `systemctl status` shows.
func statusLine(what string, problems int, more ...string) string {
	line := what
	if problems > 0 {
		line += "; " + count(problems, "problem", "problems") + " in the configuration, see the journal or stasadm check"
	}
	for _, m := range more {
		if m != "" {
			line += "; " + strings.ReplaceAll(m, "\n", " ")
		}
	}
	return line
}

// serveBus runs something that lives on D-Bus. That another process is the daemon already is the one
// reason to end: two would pull at the same connections.
func (d *daemon) serveBus(run func(context.Context) error) func(context.Context) {
	return func(ctx context.Context) {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("ending", "error", err)
			if errors.Is(err, bus.ErrNameTaken) {
				os.Exit(1)
			}
		}
	}
}

// watchIdentity asks for a reload when the host identity becomes another one than it is at the time of the call, which so has to
// come before the first reading: a change between the two is one too many then, and none is missed.
func (d *daemon) watchIdentity(ctx context.Context) func(context.Context) {
	updates, err := config.WatchIdentity(ctx, d.identity.SysConf, d.identity.Dir)
	if err != nil {
		d.log.Warn("a changed host identity will need a reload", "error", err)
	}
	return func(context.Context) {
		if err != nil {
			return
		}
		for range updates {
			d.log.Info("the host identity has changed")
			select {
			case d.again <- struct{}{}:
			default: // one is due already
			}
		}
	}
}

// unusable gives the first of the problems that is about a whole file which is not in force as it is.
func unusable(problems []config.Problem) string {
	for _, p := range problems {
		if p.ID == config.UnusableFile {
			return p.String()
		}
	}
	return ""
}
