package ctl

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/bus"
)

// columns of the controller tables: header and the key of the dictionary.
var (
	finderColumns = []column{
		{"DEVICE", "device"}, {"STATE", "state"}, {"TRANSPORT", "transport"}, {"TRADDR", "traddr"}, {"TRSVCID", "trsvcid"},
		{"HOST-TRADDR", "host-traddr"}, {"HOST-IFACE", "host-iface"}, {"ORIGIN", "origin"}, {"SUBSYSNQN", "subsysnqn"},
	}
	// What only daemons have that show their controllers as objects.
	finderMore       = []column{{"OWNER", "owner"}}
	connectorMore    = []column{{"SRC-ADDR", "src-addr"}, {"OWNER", "owner"}}
	connectorColumns = []column{
		{"DEVICE", "device"}, {"STATE", "state"}, {"TRANSPORT", "transport"}, {"TRADDR", "traddr"}, {"TRSVCID", "trsvcid"},
		{"HOST-TRADDR", "host-traddr"}, {"HOST-IFACE", "host-iface"}, {"SUBSYSNQN", "subsysnqn"},
	}
	statusColumns = []column{{"ATTEMPTS", "connect attempts"}, {"RETRY", "retry connect timer"}}
)

type column struct{ header, key string }

// controllerTable shows detailed dictionaries as a table.
func controllerTable(columns []column, list []map[string]string) *table {
	t := &table{}
	for _, c := range columns {
		t.header = append(t.header, c.header)
	}
	for _, dict := range list {
		row := make([]string, len(columns))
		for i, c := range columns {
			if c.key == "state" {
				row[i] = state(dict)
			} else {
				row[i] = dict[c.key]
			}
		}
		t.add(row...)
	}
	return t
}

// state is what is known best: the state itself, or whether the controller is connected.
func state(dict map[string]string) string {
	if s := dict["state"]; s != "" {
		return s
	}
	if dict["connected"] == "True" {
		return "connected"
	}
	return "not connected"
}

// ls makes the command of that name.
func (t *tool) ls(short string, columns []column) *cobra.Command {
	detailed := false
	cmd := t.command("ls", short, func(ctx context.Context, c *bus.Client) (printer, error) {
		// The table shows more than the short list has; JSON is the answer as it is.
		if t.output == "table" && !detailed {
			if rows, ok, err := t.rows(ctx, c); ok || err != nil {
				return printer{table: func(w io.Writer) error { return rowTable(t.columns(columns), rows).write(w, "") }}, err
			}
		}
		list, err := c.Controllers(ctx, detailed || t.output == "table")
		if err != nil {
			return printer{}, err
		}
		return printer{
			json: orderedAll(list),
			table: func(w io.Writer) error {
				if detailed {
					return blocks(w, list)
				}
				return controllerTable(columns, list).write(w, "")
			},
		}, nil
	})
	cmd.Flags().BoolVarP(&detailed, "detailed", "d", false, "show all that is known about each controller")
	return cmd
}

// columns adds those that only objects have, before the last one.
func (t *tool) columns(columns []column, more ...column) []column {
	added := connectorMore
	if t.daemon == "stafd" {
		added = finderMore
	}
	last := len(columns) - 1
	return slices.Concat(columns[:last], added, more, columns[last:])
}

// blocks shows each controller below its name.
func blocks(w io.Writer, list []map[string]string) error {
	var b strings.Builder
	for i, dict := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(title(dict) + "\n")
		tree(&b, ordered(dict), "  ")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// title names a controller in one line.
func title(dict map[string]string) string {
	return printable(titleOf(dict["device"], dict["transport"], dict["traddr"], dict["trsvcid"], dict["subsysnqn"]))
}

func titleOf(device, transport, traddr, trsvcid, nqn string) string {
	where := traddr
	if trsvcid != "" {
		where = strings.TrimSuffix(hostPort(traddr, trsvcid), ":")
	}
	if device == "" {
		device = "(no device)"
	}
	return fmt.Sprintf("%s  %s %s  %s", device, transport, where, nqn)
}

func hostPort(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}
