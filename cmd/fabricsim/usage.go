package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/fabricsim"
)

// arguments bounds their number; most < 0 is no bound. The error shows how it is done.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return fmt.Errorf("the arguments are not as in: %s", cmd.UseLine())
		}
		return nil
	}
}

// group is a command that has commands and does nothing by itself.
func group(name, short string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%s has no command %q", cmd.CommandPath(), args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
}

// lists says where the names come from that an operation takes: those of its first
// argument, and those of the others.
var lists = map[string][2][]string{
	"zone add":          {{"zone ls"}, {"subsys ls", "hosts"}},
	"zone remove":       {{"zone ls"}, {"subsys ls", "hosts"}},
	"dc set":            {{"dc ls"}, nil},
	"dc disconnect":     {{"dc ls"}, nil},
	"subsys ana":        {{"subsys ls"}, {"port ls"}},
	"subsys remove":     {{"subsys ls"}, nil},
	"subsys disconnect": {{"subsys ls"}, nil},
	"port up":           {{"port ls"}, nil},
	"port down":         {{"port ls"}, nil},
	"port blackhole":    {{"port ls"}, nil},
	"port move":         {{"port ls"}, nil},
	"fault remove":      {{"fault ls"}, nil},
	"aen":               {{"dc ls"}, {"hosts"}},
}

// complete asks the fabric, if one runs, for the names that can stand where the user is.
func (o *ctl) complete(op string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var names []string
		for _, list := range lists[op][min(len(args), 1)] {
			var result json.RawMessage
			if err := fabricsim.Call(cmd.Context(), o.socket, fabricsim.Request{Op: list}, &result); err == nil {
				names = append(names, namesIn(result)...)
			}
		}
		names = slices.DeleteFunc(names, func(s string) bool { return s == "" || slices.Contains(args, s) })
		slices.Sort(names)
		return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
	}
}

// namesIn finds the names of what a list shows; a host without one has its NQN.
func namesIn(result json.RawMessage) (names []string) {
	type row struct {
		Name    string `json:"name"`
		HostNQN string `json:"host_nqn"`
	}
	var rows []row
	if strings.HasPrefix(string(result), "{") {
		var hosts struct{ Controllers, Registrations []row }
		if json.Unmarshal(result, &hosts) == nil {
			rows = append(hosts.Controllers, hosts.Registrations...)
		}
	} else if json.Unmarshal(result, &rows) != nil {
		return nil
	}
	for _, r := range rows {
		if r.HostNQN != "" {
			names = append(names, r.HostNQN)
		} else {
			names = append(names, r.Name)
		}
	}
	return names
}
