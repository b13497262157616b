package ctl

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/bus"
)

// status makes the command of that name. Its JSON is process_info with a member
// "controllers", each with its "log_pages" where the daemon has such, and a member "objects" with what
// the typed interface tells of them.
func (t *tool) status(short string, columns []column) *cobra.Command {
	return t.command("status", short, func(ctx context.Context, c *bus.Client) (printer, error) {
		raw, err := c.ProcessInfo(ctx)
		if err != nil {
			return printer{}, err
		}
		v, err := parse(raw)
		if err != nil {
			return printer{}, err
		}
		info, ok := v.(bus.Object)
		if !ok {
			return printer{}, fmt.Errorf("cannot understand the answer: process_info is no object")
		}
		if t.output == "json" {
			return t.statusJSON(ctx, c, info)
		}
		list, err := c.Controllers(ctx, true)
		if err != nil {
			return printer{}, err
		}
		rows, typed, err := t.rows(ctx, c)
		if err != nil {
			return printer{}, err
		}
		var pages []bus.Page
		if t.daemon == "stafd" {
			if pages, _, err = c.Pages(ctx); err != nil {
				return printer{}, err
			}
		}
		return printer{table: func(w io.Writer) error {
			if typed {
				return t.statusRows(w, info, columns, rows, pages)
			}
			return t.statusTable(w, info, columns, list, pages)
		}}, nil
	})
}

func (t *tool) statusTable(w io.Writer, info bus.Object, columns []column, list []map[string]string, pages []bus.Page) error {
	var b strings.Builder
	b.WriteString(t.daemon + "\n")
	tree(&b, info, "  ")
	fmt.Fprintf(&b, "\ncontrollers: %d\n", len(list))
	if len(list) > 0 {
		last := len(columns) - 1
		all := append(append(append([]column{}, columns[:last]...), statusColumns...), columns[last])
		_ = controllerTable(all, list).write(&b, "  ")
	}
	t.statusPages(&b, pages)
	_, err := io.WriteString(w, b.String())
	return err
}

// statusRows is statusTable for a daemon that shows its controllers as objects.
func (t *tool) statusRows(w io.Writer, info bus.Object, columns []column, rows []row, pages []bus.Page) error {
	var b strings.Builder
	b.WriteString(t.daemon + "\n")
	tree(&b, info, "  ")
	more := statusColumns
	if t.daemon == "stafd" {
		more = statusColumns[1:] // attempts are not counted there
	}
	table := rowTable(t.columns(columns, more...), rows)
	fmt.Fprintf(&b, "\ncontrollers: %d\n", len(table.rows))
	if len(table.rows) > 0 {
		_ = table.write(&b, "  ")
	}
	t.statusPages(&b, pages)
	t.remarks(&b, rows, time.Now())
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *tool) statusPages(b *strings.Builder, pages []bus.Page) {
	if t.daemon != "stafd" {
		return
	}
	// A page of no controller stands for what the sources may still lead to: org.nvmexpress.staf(5), pages1.
	known := slices.DeleteFunc(slices.Clone(pages), func(p bus.Page) bool { return p.ID == bus.ID{} })
	fmt.Fprintf(b, "\nlog pages: %d\n", len(known))
	if len(known) > 0 {
		_ = pageTable(known, time.Now()).write(b, "  ")
	}
	if len(known) < len(pages) {
		b.WriteString("  There may be more: a source has not reported since stafd started, or a line of its configuration leads nowhere; see stasadm check.\n")
	}
}

func pageTable(pages []bus.Page, now time.Time) *table {
	t := &table{header: []string{"TRANSPORT", "TRADDR", "TRSVCID", "PAGE", "ENTRIES", "DROPPED", "GENERATION", "AGE", "SUBSYSNQN"}}
	for i := range pages {
		p := &pages[i]
		kind, entries, generation, since := string(p.Disposition), strconv.Itoa(int(p.Records)), strconv.FormatUint(p.GenCtr, 10), age(now.Sub(p.ReadAt))
		if !p.Complete {
			kind, entries, generation, since = "never read", "-", "-", "-"
		}
		t.add(p.ID.Transport, p.ID.Traddr, p.ID.Trsvcid, kind, entries, strconv.Itoa(int(p.Dropped)), generation, since, p.ID.SubsysNQN)
	}
	return t
}

func (t *tool) statusJSON(ctx context.Context, c *bus.Client, info bus.Object) (printer, error) {
	list, err := c.Controllers(ctx, true)
	if err != nil {
		return printer{}, err
	}
	controllers := orderedAll(list)
	for i, dict := range list {
		if t.daemon != "stafd" {
			break
		}
		entries, err := c.LogPage(ctx, idOf(dict))
		if err != nil {
			return printer{}, err
		}
		controllers[i] = append(controllers[i], bus.Member{Name: "log_pages", Value: orderedAll(entries)})
	}
	info = append(info, bus.Member{Name: "controllers", Value: controllers})
	rows, typed, err := t.rows(ctx, c)
	if err != nil {
		return printer{}, err
	}
	if typed {
		info = append(info, bus.Member{Name: "objects", Value: objectsJSON(rows)})
	}
	return printer{json: info}, nil
}

// idOf reads the identity out of a dictionary of list_controllers.
func idOf(dict map[string]string) bus.ID {
	return bus.ID{
		Transport: dict["transport"], Traddr: dict["traddr"], Trsvcid: dict["trsvcid"], SubsysNQN: dict["subsysnqn"],
		HostTraddr: dict["host-traddr"], HostIface: dict["host-iface"], HostNQN: dict["host-nqn"],
	}
}
