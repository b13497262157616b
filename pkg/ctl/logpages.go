package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/bus"
)

var entryColumns = []column{
	{"SUBTYPE", "subtype"}, {"TRTYPE", "trtype"}, {"ADRFAM", "adrfam"}, {"TRADDR", "traddr"}, {"TRSVCID", "trsvcid"},
	{"PORTID", "portid"}, {"CNTLID", "cntlid"}, {"ASQSZ", "asqsz"}, {"TREQ", "treq"}, {"EFLAGS", "eflags"}, {"SUBNQN", "subnqn"},
}

func entryTable(entries []bus.Object) *table {
	t := &table{}
	for _, c := range entryColumns {
		t.header = append(t.header, c.header)
	}
	for _, e := range entries {
		row := make([]string, len(entryColumns))
		for i, c := range entryColumns {
			row[i] = text(e, c.key)
		}
		t.add(row...)
	}
	return t
}

// dlp makes the command that shows one log page. The options only have to tell the
// controller from others.
func (t *tool) dlp() *cobra.Command {
	var want bus.ID
	cmd := t.command("dlp", "Show the log page of one discovery controller", func(ctx context.Context, c *bus.Client) (printer, error) {
		id, err := find(ctx, c, want)
		if err != nil {
			return printer{}, err
		}
		list, err := c.LogPage(ctx, id)
		if err != nil {
			return printer{}, err
		}
		entries := orderedAll(list)
		return printer{json: entries, table: func(w io.Writer) error { return entryTable(entries).write(w, "") }}, nil
	})
	f := cmd.Flags()
	f.StringVarP(&want.Transport, "transport", "t", "", "`transport`: tcp, rdma, fc or loop")
	f.StringVarP(&want.Traddr, "traddr", "a", "", "`address` of the controller")
	f.StringVarP(&want.Trsvcid, "trsvcid", "s", "", "transport service `id`, for tcp and rdma the port")
	f.StringVarP(&want.HostTraddr, "host-traddr", "w", "", "`address` of this host")
	f.StringVarP(&want.HostIface, "host-iface", "f", "", "network `interface` of this host")
	f.StringVarP(&want.SubsysNQN, "nqn", "n", "", "`NQN` of the discovery subsystem")
	f.StringVarP(&want.HostNQN, "host-nqn", "q", "", "`NQN` of this host")
	_ = cmd.RegisterFlagCompletionFunc("transport", cobra.FixedCompletions([]string{"tcp", "rdma", "fc", "loop"}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"traddr", "trsvcid", "host-traddr", "host-iface", "nqn", "host-nqn"} {
		_ = cmd.RegisterFlagCompletionFunc(name, t.complete(name))
	}
	return cmd
}

// complete offers what the controllers that stafd knows have as name.
func (t *tool) complete(name string) cobra.CompletionFunc {
	key := name
	if name == "nqn" {
		key = "subsysnqn"
	}
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := t.connect(cmd.Context(), t.opts)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.Close()
		list, _ := c.Controllers(cmd.Context(), false)
		var values []string
		for _, dict := range list {
			if v := dict[key]; v != "" {
				values = append(values, v)
			}
		}
		return values, cobra.ShellCompDirectiveNoFileComp
	}
}

// find gives the one controller that has what was asked for.
func find(ctx context.Context, c *bus.Client, want bus.ID) (bus.ID, error) {
	list, err := c.Controllers(ctx, false)
	if err != nil {
		return bus.ID{}, err
	}
	var found []map[string]string
	for _, dict := range list {
		if matches(want, idOf(dict)) {
			found = append(found, dict)
		}
	}
	switch len(found) {
	case 0:
		return bus.ID{}, errNoController
	case 1:
		return idOf(found[0]), nil
	}
	var titles strings.Builder
	for _, dict := range found {
		titles.WriteString("\n  " + title(dict))
		if s := dict["host-traddr"] + dict["host-iface"]; s != "" {
			titles.WriteString("  from " + printable(strings.TrimSpace(dict["host-traddr"]+" "+dict["host-iface"])))
		}
	}
	return bus.ID{}, fmt.Errorf("%w:%s", errSeveral, titles.String())
}

var (
	errNoController = errors.New("no discovery controller is like that; 'stafctl ls' lists them")
	errSeveral      = errors.New("several discovery controllers are like that, say more")
)

func matches(want, have bus.ID) bool {
	for _, p := range [][2]string{
		{want.Transport, have.Transport}, {want.Traddr, have.Traddr}, {want.Trsvcid, have.Trsvcid}, {want.SubsysNQN, have.SubsysNQN},
		{want.HostTraddr, have.HostTraddr}, {want.HostIface, have.HostIface}, {want.HostNQN, have.HostNQN},
	} {
		if p[0] != "" && !strings.EqualFold(p[0], p[1]) && !sameAddress(p[0], p[1]) {
			return false
		}
	}
	return true
}

func sameAddress(a, b string) bool {
	x, err := netip.ParseAddr(a)
	if err != nil {
		return false
	}
	y, err := netip.ParseAddr(b)
	return err == nil && x.Unmap() == y.Unmap()
}

// adlp makes the command that shows all log pages.
func (t *tool) adlp() *cobra.Command {
	detailed := false
	cmd := t.command("adlp", "Show the log pages of all discovery controllers", func(ctx context.Context, c *bus.Client) (printer, error) {
		raw, err := c.AllLogPages(ctx, detailed)
		if err != nil {
			return printer{}, err
		}
		v, err := parse(raw)
		if err != nil {
			return printer{}, err
		}
		return printer{json: json.RawMessage(raw), table: func(w io.Writer) error { return writeLogs(w, v, detailed) }}, nil
	})
	cmd.Flags().BoolVarP(&detailed, "detailed", "d", false, "show all that is known about each controller")
	return cmd
}

func writeLogs(w io.Writer, v any, detailed bool) error {
	logs, ok := v.([]any)
	if !ok {
		return errors.New("cannot understand the answer: it is no array")
	}
	var b strings.Builder
	for i, l := range logs {
		log, _ := l.(bus.Object)
		dc, _ := lookup(log, "discovery-controller").(bus.Object)
		list, _ := lookup(log, "log-pages").([]any)
		var entries []bus.Object
		for _, e := range list {
			o, _ := e.(bus.Object)
			entries = append(entries, o)
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(printable(titleOf(text(dc, "device"), text(dc, "transport"), text(dc, "traddr"), text(dc, "trsvcid"), text(dc, "subsysnqn"))) + "\n")
		if detailed {
			tree(&b, dc, "  ")
			b.WriteByte('\n')
		}
		if len(entries) == 0 {
			b.WriteString("  no entries\n")
			continue
		}
		_ = entryTable(entries).write(&b, "  ")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
