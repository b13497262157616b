package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/pkg/nvme"
)

// columns names the keys of a result that its table shows, in order.
var columns = map[string][]string{
	"zone ls":       {"name", "hosts", "subsystems"},
	"dc ls":         {"name", "type", "nqn", "ports", "zoning", "aen", "register", "eflags", "hosts"},
	"subsys ls":     {"name", "nqn", "ports", "namespaces", "zones", "ana"},
	"port ls":       {"name", "address", "traddr", "trsvcid", "state"},
	"fault ls":      {"name", "action", "step", "port", "subsystem", "host", "skip", "times"},
	"controllers":   {"cntlid", "type", "host_nqn", "subnqn", "port", "address", "queues", "keep_alive", "since"},
	"registrations": {"dc", "host_nqn", "type", "symbolic_name", "name", "address", "updates", "since"},
}

// printTable prints the result of an operation for people.
func printTable(w io.Writer, op string, result json.RawMessage) error {
	if op == "hosts" {
		var parts map[string]json.RawMessage
		if err := json.Unmarshal(result, &parts); err != nil {
			return err
		}
		for _, part := range []string{"controllers", "registrations"} {
			fmt.Fprintf(w, "%s:\n", part)
			if err := printTable(w, part, parts[part]); err != nil {
				return err
			}
		}
		return nil
	}
	if columns[op] == nil {
		_, err := fmt.Fprintf(w, "%s\n", result)
		return err
	}
	var rows []map[string]any
	if err := json.Unmarshal(result, &rows); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ToUpper(strings.Join(columns[op], "\t")))
	for _, row := range rows {
		cells := make([]string, len(columns[op]))
		for i, key := range columns[op] {
			cells[i] = cell(key, row[key])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// cell prints a value for people; some keys have forms of their own.
func cell(key string, v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v]
	case float64:
		switch key {
		case "eflags":
			return flags(nvme.EFlags(v))
		case "namespaces":
			return size(uint64(v))
		case "keep_alive":
			if v == 0 {
				return "-"
			}
			return fmt.Sprintf("%gs", v)
		}
		return fmt.Sprintf("%.10g", v)
	case []any:
		parts := make([]string, len(v))
		for i, p := range v {
			parts[i] = cell(key, p)
		}
		if len(parts) == 0 {
			return "-"
		}
		return strings.Join(parts, ",")
	}
	s := fmt.Sprint(v)
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil && key == "since" {
		return t.Local().Format(time.DateTime)
	}
	return cmp.Or(s, "-")
}

// flags spells the flags of an entry as the configuration does.
func flags(f nvme.EFlags) string {
	var words []string
	for _, w := range []struct {
		bit  nvme.EFlags
		name string
	}{{nvme.EPCSD, "epcsd"}, {nvme.NCC, "ncc"}, {nvme.DUPRETINFO, "dupretinfo"}} {
		if f.Has(w.bit) {
			words = append(words, w.name)
		}
	}
	return cmp.Or(strings.Join(words, ","), "-")
}

// size prints bytes as the configuration takes them.
func size(n uint64) string {
	unit := ""
	for _, u := range []string{"K", "M", "G", "T"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, u
	}
	return fmt.Sprint(n, unit)
}

func printEvent(w io.Writer, e fabricsim.Event) error {
	parts := []string{e.Time.Format("15:04:05.000000"), e.Kind}
	for _, kv := range [][2]string{{"port", e.Port}, {"host", e.Host}, {"subsystem", e.Subsystem}} {
		if kv[1] != "" {
			parts = append(parts, kv[0]+"="+kv[1])
		}
	}
	if e.Cntlid != 0 {
		parts = append(parts, fmt.Sprintf("cntlid=%d", e.Cntlid))
	}
	_, err := fmt.Fprintln(w, strings.Join(append(parts, e.Detail), " "))
	return err
}
