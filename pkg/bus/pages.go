package bus

import (
	"context"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

const pagesInterface = FinderName + ".pages1"

// pageChunk is how many entries one GetPage gives: some 500 KiB.
const pageChunk = 2048

// wirePage is a [Page] on the bus: (ssssssssssbtttuu).
type wirePage struct {
	Key, Transport, Traddr, Trsvcid, SubsysNQN, HostTraddr, HostIface, HostNQN, HostID string

	Disposition               string
	Complete                  bool
	Revision, GenCtr, AgeUsec uint64
	Records, Dropped          uint32
}

// wireEntry is an [nvme.DiscoveryEntry] on the bus: (yyyyqqqqyyyyqsss).
type wireEntry struct {
	TrType, AdrFam, Subtype, TReq   uint8
	PortID, CntlID, ASQSize, EFlags uint16
	SecType, QPType, PRType, CMS    uint8
	PKey                            uint16
	Traddr, Trsvcid, SubNQN         string
}

func newWirePage(p *Page, now time.Time) wirePage {
	age := uint64(0)
	if !p.ReadAt.IsZero() {
		age = uint64(max(0, now.Sub(p.ReadAt).Microseconds()))
	}
	return wirePage{
		Key: clean(p.Key), Transport: clean(p.ID.Transport), Traddr: clean(p.ID.Traddr), Trsvcid: clean(p.ID.Trsvcid),
		SubsysNQN: clean(p.ID.SubsysNQN), HostTraddr: clean(p.ID.HostTraddr), HostIface: clean(p.ID.HostIface),
		HostNQN: clean(p.ID.HostNQN), HostID: clean(p.HostID),
		Disposition: string(p.Disposition), Complete: p.Complete,
		Revision: p.Revision, GenCtr: p.GenCtr, AgeUsec: age,
		Records: p.Records, Dropped: p.Dropped,
	}
}

// size is about how many bytes w takes in a message.
func (w *wirePage) size() int {
	n := 48 + 10*stringOverhead
	for _, s := range []string{w.Key, w.Transport, w.Traddr, w.Trsvcid, w.SubsysNQN, w.HostTraddr, w.HostIface, w.HostNQN, w.HostID, w.Disposition} {
		n += len(s)
	}
	return n
}

func newWireEntry(e *nvme.DiscoveryEntry) wireEntry {
	return wireEntry{
		TrType: uint8(e.Transport), AdrFam: uint8(e.AddrFamily), Subtype: uint8(e.Subtype), TReq: uint8(e.TReq),
		PortID: e.PortID, CntlID: e.CntlID, ASQSize: e.ASQSize, EFlags: uint16(e.EFlags),
		SecType: uint8(e.TSAS.SecType), QPType: e.TSAS.QPType, PRType: e.TSAS.PRType, CMS: e.TSAS.CMS, PKey: e.TSAS.PKey,
		Traddr: clean(e.Traddr), Trsvcid: clean(e.Trsvcid), SubNQN: clean(e.SubNQN),
	}
}

// pagesMembers serves org.nvmexpress.staf.pages1.
func pagesMembers(p Pages) members {
	return members{
		"ListPages": {run: func(ctx context.Context, _ *call) ([]any, error) {
			pages, err := p.Pages(ctx)
			if err != nil {
				return nil, err
			}
			now, wire, total := time.Now(), make([]wirePage, len(pages)), 0
			for i := range pages {
				wire[i] = newWirePage(&pages[i], now)
				if total += wire[i].size(); total > MaxReply {
					return nil, busError(errLimitsExceeded, "the list of pages is larger than %d MiB", MaxReply>>20)
				}
			}
			return []any{wire}, nil
		}},
		"GetPage": {in: "su", run: func(ctx context.Context, c *call) ([]any, error) {
			page, entries, ok, err := p.PageEntries(ctx, c.str(0))
			if err != nil {
				return nil, err
			}
			if !ok {
				return nil, busError(errUnknownObject, "there is no page %q", c.str(0))
			}
			page.Records = uint32(len(entries))
			first := min(c.body[1].(uint32), page.Records)
			last := min(first+pageChunk, page.Records)
			wire := make([]wireEntry, last-first)
			for i := range wire {
				wire[i] = newWireEntry(&entries[int(first)+i])
			}
			return []any{newWirePage(&page, time.Now()), wire}, nil
		}},
	}
}
