package ctl

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/stas-go/stas/pkg/bus"
)

// row is one controller of either daemon, as the tables show it.
type row struct {
	key, device, state, kernel, owner, origin, srcAddr string
	id                                                 bus.ID
	attempts                                           uint32
	lastError                                          string
	lastErrorAt, nextRetry                             time.Time
	registration                                       string
	pending, blockDevices, reasons                     []string
	properties                                         bus.Object
}

// duplicate is the state of another description of a connection that is there already.
const duplicate = "duplicate"

func discoveryRow(c *bus.DiscoveryController) row {
	var origins []string
	for _, o := range c.Origins {
		word, _, _ := strings.Cut(o, " ")
		if len(origins) == 0 || origins[len(origins)-1] != word {
			origins = append(origins, word)
		}
	}
	return row{key: c.Key, device: c.Device, state: c.SessionState, kernel: c.KernelState, owner: c.Owner, origin: strings.Join(origins, ","),
		id: c.ID, lastError: c.LastError, lastErrorAt: c.LastErrorTime, nextRetry: c.NextRetry, registration: c.Registration,
		pending: c.PendingChanges, reasons: c.Origins, properties: c.Properties()}
}

func ioRow(c *bus.IOController) row {
	return row{key: c.Key, device: c.Device, state: c.State, kernel: c.KernelState, owner: c.Owner, srcAddr: c.SrcAddr,
		id: c.ID, attempts: c.Attempts, lastError: c.LastError, lastErrorAt: c.LastErrorTime, nextRetry: c.NextRetry,
		pending: c.PendingChanges, blockDevices: c.BlockDevices, reasons: c.Reasons, properties: c.Properties()}
}

// rows asks for all controllers. False when the daemon that answers shows none as objects, as nvme-stas 2.x.
func (t *tool) rows(ctx context.Context, c *bus.Client) ([]row, bool, error) {
	var rows []row
	if t.daemon == "stafd" {
		list, ok, err := c.DiscoveryControllers(ctx)
		for i := range list {
			rows = append(rows, discoveryRow(&list[i]))
		}
		return rows, ok, err
	}
	list, ok, err := c.IOControllers(ctx)
	for i := range list {
		rows = append(rows, ioRow(&list[i]))
	}
	return rows, ok, err
}

// title names a controller in one line. What has no device is told from others with its address by where it begins.
func (r *row) title() string {
	title := titleOf(r.device, r.id.Transport, r.id.Traddr, r.id.Trsvcid, r.id.SubsysNQN)
	if from := strings.TrimSpace(r.id.HostTraddr + " " + r.id.HostIface); from != "" && r.device == "" {
		title += "  from " + from
	}
	return printable(title)
}

// cell gives a column by the key that the dictionaries of nvme-stas 2.x have for it.
func (r *row) cell(key string, now time.Time) string {
	switch key {
	case "device":
		return r.device
	case "state":
		return r.state
	case "transport":
		return r.id.Transport
	case "traddr":
		return r.id.Traddr
	case "trsvcid":
		return r.id.Trsvcid
	case "host-traddr":
		return r.id.HostTraddr
	case "host-iface":
		return r.id.HostIface
	case "subsysnqn":
		return r.id.SubsysNQN
	case "origin":
		return r.origin
	case "owner":
		return r.owner
	case "src-addr":
		return r.srcAddr
	case "connect attempts":
		return strconv.Itoa(int(r.attempts))
	case "retry connect timer":
		if r.nextRetry.IsZero() {
			return ""
		}
		return age(r.nextRetry.Sub(now))
	}
	return ""
}

// rowTable shows controllers as a table. Other descriptions of connections that are there already are left out.
func rowTable(columns []column, rows []row) *table {
	t, now := &table{}, time.Now()
	for _, c := range columns {
		t.header = append(t.header, c.header)
	}
	for i := range rows {
		if rows[i].state == duplicate {
			continue
		}
		cells := make([]string, len(columns))
		for n, c := range columns {
			cells[n] = rows[i].cell(c.key, now)
		}
		t.add(cells...)
	}
	return t
}

// remarks tells what does not fit into a table: what went wrong and what waits for a reconnect.
func (t *tool) remarks(w io.Writer, rows []row, now time.Time) {
	var trouble, pending []string
	for i := range rows {
		r := &rows[i]
		if r.lastError != "" {
			trouble = append(trouble, fmt.Sprintf("  %s\n    %s ago: %s", r.title(), age(now.Sub(r.lastErrorAt)), printable(r.lastError)))
		}
		if len(r.pending) > 0 {
			pending = append(pending, fmt.Sprintf("  %s\n    %s", r.title(), printable(strings.Join(r.pending, ", "))))
		}
	}
	for _, part := range []struct {
		head  string
		lines []string
	}{{"last errors", trouble}, {"changed parameters, used from the next connect on ('" + t.name() + " reconnect' applies them now)", pending}} {
		if len(part.lines) > 0 {
			fmt.Fprintf(w, "\n%s: %d\n%s\n", part.head, len(part.lines), strings.Join(part.lines, "\n"))
		}
	}
}

// objectsJSON is what the typed interface says, each with its key.
func objectsJSON(rows []row) []bus.Object {
	list := make([]bus.Object, len(rows))
	for i := range rows {
		list[i] = append(bus.Object{{Name: "Key", Value: rows[i].key}}, rows[i].properties...)
	}
	return list
}
