package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/exclusion"
	"github.com/stas-go/stas/pkg/exclusion/edit"
	"github.com/stas-go/stas/pkg/veto"
)

// request makes a command that asks the daemon to do something about the selected controllers.
func (t *tool) request(use, short, long string, act func(context.Context, io.Writer, *bus.Client, []row) error) *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use: use + " SELECTOR...", Short: short, Long: long, Args: selectors, ValidArgsFunction: t.completeSelector,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := t.connect(cmd.Context(), t.opts)
			if err != nil {
				return t.explain(err)
			}
			defer client.Close()
			rows, err := t.selected(cmd.Context(), client, args, all)
			if err == nil {
				err = act(cmd.Context(), cmd.OutOrStdout(), client, rows)
			}
			return t.explain(err)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "do so for all that are meant, one after the other")
	return cmd
}

const selectorHelp = "SELECTOR is a device name (nvme3), an NQN, or an address with or without its port; several are done one after the other."

// say tells what happened to a controller, in the form that was asked for.
func (t *tool) say(w io.Writer, r *row, what string) error {
	var err error
	if t.output == "json" {
		err = writeJSON(w, bus.Object{{Name: "Key", Value: r.key}, {Name: "Device", Value: r.device}, {Name: "Result", Value: what}})
	} else {
		_, err = fmt.Fprintf(w, "%s: %s\n", r.title(), what)
	}
	if err != nil {
		return plainError{err}
	}
	return nil
}

// simple makes a command that only asks, as what follows is watched better elsewhere.
func (t *tool) simple(use, short, done string, ask func(*bus.Client, context.Context, string) error) *cobra.Command {
	return t.request(use, short, short+".\n"+selectorHelp, func(ctx context.Context, w io.Writer, c *bus.Client, rows []row) error {
		for i := range rows {
			if err := ask(c, ctx, rows[i].key); err != nil {
				return err
			}
			if err := t.say(w, &rows[i], done); err != nil {
				return err
			}
		}
		return nil
	})
}

// Waiting for what was asked for.
const (
	lookAgain   = 100 * time.Millisecond
	defaultWait = 90 * time.Second // the kernel gives up an admin command after 60 s
)

var (
	errNotInTime   = errors.New("it is not done yet; stacctl watch and the journal tell more")
	errInterrupted = errors.New("interrupted; stacd goes on, and stacctl watch and the journal tell more")
)

// reconnect is stacctl reconnect: each is live again before the next goes, so that no subsystem loses
// all its paths at once.
func (t *tool) reconnect() *cobra.Command {
	wait := defaultWait
	cmd := t.request("reconnect", "Disconnect an I/O controller and connect it with the present parameters",
		"Disconnect an I/O controller and connect it anew with the parameters that are configured now.\n"+
			"One that is not connected is tried at once; one that was disconnected on request is wanted again.\n"+selectorHelp,
		func(ctx context.Context, w io.Writer, c *bus.Client, rows []row) error {
			for i := range rows {
				begun := time.Now()
				if err := c.Reconnect(ctx, rows[i].key); err != nil {
					return err
				}
				now, err := await(ctx, c, rows[i].key, begun, wait, func(o *bus.IOController) bool { return o.State == "connected" })
				if err != nil {
					return fmt.Errorf("%s: %w", rows[i].title(), err)
				}
				done, what := ioRow(&now), "connected"
				if now.State != what {
					what = "reconnecting" // nobody waits for it
				}
				if err := t.say(w, &done, what); err != nil {
					return err
				}
			}
			return nil
		})
	cmd.Flags().DurationVar(&wait, "wait", wait, "how long to wait for each; 0 for not at all")
	return cmd
}

// disconnect is stacctl disconnect.
func (t *tool) disconnect() *cobra.Command {
	wait, exclude := defaultWait, false
	cmd := t.request("disconnect", "Disconnect an I/O controller and leave it alone",
		"Disconnect an I/O controller that stacd has connected. It is left alone until 'stacctl reconnect', a reload\n"+
			"or a restart of stacd; with --exclude nothing on this host connects it any more (exclusions.conf).\n"+selectorHelp,
		func(ctx context.Context, w io.Writer, c *bus.Client, rows []row) error {
			for i := range rows {
				if exclude {
					if err := t.exclude(w, &rows[i]); err != nil {
						return plainError{err}
					}
				}
				begun := time.Now()
				if err := c.Disconnect(ctx, rows[i].key); err != nil {
					return err
				}
				now, err := await(ctx, c, rows[i].key, begun, wait, func(o *bus.IOController) bool { return o.Device == "" })
				if err != nil && !errors.Is(err, bus.ErrNoController) {
					return fmt.Errorf("%s: %w", rows[i].title(), err)
				}
				what := "disconnected"
				if err == nil && now.Device != "" {
					what = "disconnecting" // nobody waits for it
				}
				if err := t.say(w, &rows[i], what); err != nil {
					return err
				}
			}
			return nil
		})
	cmd.Flags().DurationVar(&wait, "wait", wait, "how long to wait for each; 0 for not at all")
	cmd.Flags().BoolVar(&exclude, "exclude", false, "first put it on this host's exclusion list")
	return cmd
}

// await waits until a controller is as it should be, or a request for it has failed.
func await(ctx context.Context, c *bus.Client, key string, begun time.Time, wait time.Duration, done func(*bus.IOController) bool) (bus.IOController, error) {
	deadline := begun.Add(wait)
	for {
		now, err := c.IOController(ctx, key)
		switch {
		case ctx.Err() != nil:
			return now, errInterrupted
		case err != nil || wait == 0 || done(&now):
			return now, err
		case now.LastErrorTime.After(begun):
			return now, plainError{errors.New(now.LastError)}
		case time.Now().After(deadline):
			return now, errNotInTime
		}
		select {
		case <-ctx.Done():
			return now, errInterrupted
		case <-time.After(lookAgain):
		}
	}
}

// exclude puts a controller on the host-wide list.
func (t *tool) exclude(w io.Writer, r *row) error {
	entry := ""
	for _, f := range [][2]string{
		{"transport", r.id.Transport}, {"traddr", r.id.Traddr}, {"trsvcid", r.id.Trsvcid}, {"nqn", r.id.SubsysNQN},
		{"host-traddr", r.id.HostTraddr}, {"host-iface", r.id.HostIface},
	} {
		if strings.Contains(f[1], ";") { // it comes from the fabric, and would name another controller
			return fmt.Errorf("cannot exclude %s: an entry cannot hold the \";\" of its %s", r.title(), f[0])
		}
		if f[1] != "" {
			entry += f[0] + "=" + f[1] + ";"
		}
	}
	if _, err := exclusion.ParseEntry(entry); err != nil {
		return fmt.Errorf("cannot exclude %s: %w", r.title(), err)
	}
	list := t.exclusions
	if list == "" {
		list = veto.MainFile
	}
	added, err := edit.Add(list, entry)
	if err != nil {
		return err
	}
	if added {
		return t.say(w, r, "excluded in "+list)
	}
	return t.say(w, r, "excluded already in "+list)
}
