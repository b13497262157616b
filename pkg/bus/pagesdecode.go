package bus

import (
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/stas-go/stas/pkg/nvme"
)

func decodePages(body []any) ([]Page, error) {
	var wire []wirePage
	if err := store(body, &wire); err != nil {
		return nil, err
	}
	return checkPages(wire)
}

func checkPages(wire []wirePage) ([]Page, error) {
	now, pages := time.Now(), make([]Page, len(wire))
	seen := make(map[string]bool, len(wire))
	for i := range wire {
		p, err := wire[i].page(now)
		if err != nil {
			return nil, err
		}
		if seen[p.Key] {
			return nil, fmt.Errorf("page %q is listed twice", p.Key)
		}
		seen[p.Key], pages[i] = true, p
	}
	return pages, nil
}

func decodePage(body []any) (Page, []nvme.DiscoveryEntry, error) {
	var wire wirePage
	var wireEntries []wireEntry
	if err := store(body, &wire, &wireEntries); err != nil {
		return Page{}, nil, err
	}
	page, err := wire.page(time.Now())
	if err != nil {
		return Page{}, nil, err
	}
	entries := make([]nvme.DiscoveryEntry, len(wireEntries))
	for i := range wireEntries {
		entries[i] = wireEntries[i].entry()
	}
	return page, entries, nil
}

// store is [dbus.Store] that never panics, whatever the body is.
func store(body []any, dest ...any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the message does not have the right types: %v", p)
		}
	}()
	return dbus.Store(body, dest...)
}

// maxAge keeps the arithmetic of times sane.
const maxAge = 100 * 365 * 24 * time.Hour

func (w *wirePage) page(now time.Time) (Page, error) {
	switch d := Disposition(w.Disposition); {
	case w.Key == "":
		return Page{}, fmt.Errorf("a page has no key")
	case d != Active && d != Frozen && d != Forgotten:
		return Page{}, fmt.Errorf("page %q has the unknown disposition %q", w.Key, w.Disposition)
	case w.Records > nvme.MaxRecords:
		return Page{}, fmt.Errorf("page %q claims %d entries, more than %d", w.Key, w.Records, nvme.MaxRecords)
	}
	p := Page{
		Key: w.Key, HostID: w.HostID, Disposition: Disposition(w.Disposition), Complete: w.Complete,
		ID:       ID{w.Transport, w.Traddr, w.Trsvcid, w.SubsysNQN, w.HostTraddr, w.HostIface, w.HostNQN},
		Revision: w.Revision, GenCtr: w.GenCtr, Records: w.Records, Dropped: w.Dropped,
	}
	if w.Complete {
		p.ReadAt = now.Add(-time.Duration(min(w.AgeUsec, uint64(maxAge/time.Microsecond))) * time.Microsecond)
	}
	return p, nil
}

func (w *wireEntry) entry() nvme.DiscoveryEntry {
	return nvme.DiscoveryEntry{
		Transport: nvme.TransportType(w.TrType), AddrFamily: nvme.AddrFamily(w.AdrFam),
		Subtype: nvme.Subtype(w.Subtype), TReq: nvme.TReq(w.TReq),
		PortID: w.PortID, CntlID: w.CntlID, ASQSize: w.ASQSize, EFlags: nvme.EFlags(w.EFlags),
		TSAS:    nvme.TSAS{SecType: nvme.SecType(w.SecType), QPType: w.QPType, PRType: w.PRType, CMS: w.CMS, PKey: w.PKey},
		Trsvcid: w.Trsvcid, SubNQN: w.SubNQN, Traddr: w.Traddr,
	}
}
