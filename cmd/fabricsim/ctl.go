package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/fabricsim"
)

// ctl is what the sub-commands of "ctl" share.
type ctl struct {
	socket string
	format string
}

func ctlCommand() *cobra.Command {
	o := new(ctl)
	c := group("ctl", "Look at and change a fabric that runs")
	c.PersistentFlags().StringVarP(&o.socket, "socket", "s", defaultControl, "control `socket` of the fabric")
	c.PersistentFlags().StringVarP(&o.format, "output", "o", "table", "print a `format`: table or json")
	c.PersistentPreRunE = func(*cobra.Command, []string) error {
		if o.format != "table" && o.format != "json" { // said before anything is changed
			return fmt.Errorf("--output is table or json, not %q", o.format)
		}
		return nil
	}
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	zone := group("zone", "Zones")
	zone.AddCommand(
		o.simple("ls", "zone ls", "List zones", 0, 0),
		o.simple("add ZONE [MEMBER]...", "zone add", "Put hosts and subsystems into a zone, new if need be", 1, -1),
		o.simple("remove ZONE [MEMBER]...", "zone remove", "Take members out of a zone; without any, remove the zone", 1, -1))
	dc := group("dc", "Discovery controllers")
	dc.AddCommand(
		o.simple("ls", "dc ls", "List discovery controllers", 0, 0),
		o.setting("set NAME KEY=VALUE...", "dc set", "Change settings"),
		o.simple("disconnect NAME", "dc disconnect", "Close all its connections", 1, 1))
	subsys := group("subsys", "NVM subsystems")
	subsys.AddCommand(
		o.simple("ls", "subsys ls", "List subsystems", 0, 0),
		o.setting("add NAME KEY=VALUE...", "subsys add", "Add a subsystem"),
		o.simple("remove NAME", "subsys remove", "Remove a subsystem and its data", 1, 1),
		o.simple("ana NAME PORT STATE", "subsys ana", "Change how a port reaches its namespaces", 3, 3),
		o.simple("disconnect NAME", "subsys disconnect", "Close all its connections", 1, 1))
	port := group("port", "Ports")
	port.AddCommand(
		o.simple("ls", "port ls", "List ports", 0, 0),
		o.simple("up NAME", "port up", "Listen again", 1, 1),
		o.simple("down NAME", "port down", "Close all connections and refuse new ones", 1, 1),
		o.simple("blackhole NAME", "port blackhole", "Close all connections and swallow SYNs", 1, 1),
		o.simple("move NAME ADDRESS:PORT", "port move", "Go on at another address", 2, 2))
	fault := group("fault", "Misbehaviour")
	fault.AddCommand(
		o.simple("ls", "fault ls", "List faults", 0, 0),
		o.setting("add NAME KEY=VALUE...", "fault add", "Misbehave"),
		o.simple("remove NAME", "fault remove", "Behave again", 1, 1))
	c.AddCommand(zone, dc, subsys, port, fault,
		o.simple("aen DC [HOST]", "aen", "Raise the discovery log event", 1, 2),
		o.simple("hosts", "hosts", "List connected and registered hosts", 0, 0),
		o.events())
	return c
}

// simple is a command whose arguments are those of the operation.
func (o *ctl) simple(use, op, short string, least, most int) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: arguments(least, most), DisableFlagsInUseLine: true, ValidArgsFunction: o.complete(op),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.call(cmd, fabricsim.Request{Op: op, Args: args})
		}}
}

// setting is a command with a name and KEY=VALUE arguments.
func (o *ctl) setting(use, op, short string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short + "; see fabricsim.conf(5)", Args: arguments(2, -1), DisableFlagsInUseLine: true,
		ValidArgsFunction: o.complete(op),
		RunE: func(cmd *cobra.Command, args []string) error {
			set := make(map[string]string)
			for _, a := range args[1:] {
				key, value, ok := strings.Cut(a, "=")
				if !ok {
					return fmt.Errorf("%q is not of the form KEY=VALUE", a)
				}
				if before, twice := set[key]; twice {
					return fmt.Errorf("%s is given twice, %q and %q", key, before, value)
				}
				set[key] = value
			}
			return o.call(cmd, fabricsim.Request{Op: op, Args: args[:1], Set: set})
		}}
}

func (o *ctl) call(cmd *cobra.Command, req fabricsim.Request) error {
	var result json.RawMessage
	if err := fabricsim.Call(cmd.Context(), o.socket, req, &result); err != nil {
		return err
	}
	return o.print(cmd.OutOrStdout(), req.Op, result)
}

func (o *ctl) print(w io.Writer, op string, result json.RawMessage) error {
	switch {
	case len(result) == 0 || string(result) == "null":
		return nil
	case o.format == "json":
		_, err := fmt.Fprintf(w, "%s\n", result)
		return err
	}
	return printTable(w, op, result)
}

func (o *ctl) events() *cobra.Command {
	var follow bool
	var after uint64
	c := &cobra.Command{Use: "events", Short: "Tell what has happened", Args: arguments(0, 0), ValidArgsFunction: cobra.NoFileCompletions}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens from now")
	c.Flags().Uint64Var(&after, "after", 0, "leave out events up to this `number`")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		w := cmd.OutOrStdout()
		each := func(e fabricsim.Event) error {
			if o.format == "json" {
				return json.NewEncoder(w).Encode(e)
			}
			return printEvent(w, e)
		}
		if follow {
			return fabricsim.CallFollow(cmd.Context(), o.socket, after, each)
		}
		var list []fabricsim.Event
		if err := fabricsim.Call(cmd.Context(), o.socket, fabricsim.Request{Op: "events", After: after}, &list); err != nil {
			return err
		}
		for _, e := range list {
			if err := each(e); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}
