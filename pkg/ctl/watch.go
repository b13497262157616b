package ctl

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/bus"
)

// watch makes the command of that name.
func (t *tool) watch() *cobra.Command {
	return &cobra.Command{
		Use: "watch", Short: "Print what happens to the controllers, one line each, as it happens",
		Long: "Print what happens to the controllers, one line each, as it happens, until interrupted.\n" +
			"With -o json each line is a JSON object.",
		Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			w := &watcher{tool: t, out: cmd.OutOrStdout(), now: time.Now, stop: stop}
			var err error
			if t.daemon == "stafd" {
				err = bus.WatchDiscoveryControllers(ctx, t.opts, func(c bus.Change[bus.DiscoveryController]) {
					tellChange(w, c, discoveryRow)
				})
			} else {
				err = bus.WatchIOControllers(ctx, t.opts, func(c bus.Change[bus.IOController]) { tellChange(w, c, ioRow) })
			}
			if w.err != nil {
				return w.err
			}
			return t.explain(err)
		},
	}
}

// watcher prints changes. It is told of them by one goroutine.
type watcher struct {
	*tool
	out  io.Writer
	now  func() time.Time
	stop func() // ends the watch
	mu   sync.Mutex
	err  error // of the output, which ends it
}

// times are the properties that change with others, and tell nothing on a line.
var times = map[string]bool{"LastErrorTime": true, "NextRetry": true, "PageReadTime": true}

func tellChange[T any](w *watcher, c bus.Change[T], toRow func(*T) row) {
	before, after := toRow(&c.Before), toRow(&c.After)
	switch c.Kind {
	case bus.Up:
		w.line("up", nil, nil, w.daemon+" is there")
	case bus.Down:
		w.line("down", nil, nil, w.daemon+" is not there")
	case bus.Known:
		w.line("known", &after, after.properties, "State "+after.state)
	case bus.Added:
		w.line("added", &after, after.properties, "State "+after.state)
	case bus.Removed:
		w.line("removed", &before, nil, "")
	case bus.Event:
		w.line(strings.ToLower(c.Name), &after, nil, c.Reason)
	case bus.Changed:
		var words []string
		changed := bus.Object{}
		for _, name := range c.Properties {
			value := lookup(after.properties, name)
			changed = append(changed, bus.Member{Name: name, Value: value})
			if !times[name] {
				words = append(words, fmt.Sprintf("%s %s -> %s", name, shown(lookup(before.properties, name)), shown(value)))
			}
		}
		if len(words) == 0 && w.output != "json" {
			return
		}
		w.line("changed", &after, changed, strings.Join(words, ", "))
	}
}

func shown(v any) string {
	switch v := v.(type) {
	case []string:
		return printable("[" + strings.Join(v, ", ") + "]")
	case string:
		if v == "" {
			return "-"
		}
	}
	return scalar(v)
}

func (w *watcher) line(what string, r *row, properties bus.Object, words string) {
	at := w.now()
	var line []byte
	if w.output == "json" {
		o := bus.Object{{Name: "time", Value: at.UTC().Format("2006-01-02T15:04:05.000000Z")}, {Name: "event", Value: what}}
		if r != nil {
			o = append(o, bus.Member{Name: "key", Value: r.key}, bus.Member{Name: "device", Value: r.device},
				bus.Member{Name: "transport", Value: r.id.Transport}, bus.Member{Name: "traddr", Value: r.id.Traddr},
				bus.Member{Name: "trsvcid", Value: r.id.Trsvcid}, bus.Member{Name: "subsysnqn", Value: r.id.SubsysNQN})
		}
		if properties != nil {
			o = append(o, bus.Member{Name: "properties", Value: properties})
		} else if words != "" {
			o = append(o, bus.Member{Name: "reason", Value: words})
		}
		line, _ = bus.JSON(o)
		line = append(line, '\n')
	} else {
		title := ""
		if r != nil {
			title = r.title()
		}
		line = []byte(strings.TrimRight(fmt.Sprintf("%s  %-12s  %s  %s", at.Format("15:04:05.000"), what, title, printable(words)), " ") + "\n")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	if _, w.err = w.out.Write(line); w.err != nil {
		w.stop()
	}
}

// noArguments is the argument check of commands that take none.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: %q is one argument too many", errUsage, args[0])
	}
	return nil
}
