package finder

import (
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// page is the last complete discovery log page of a controller. It is never
// changed, only replaced, so readers may keep it.
type page struct {
	revision uint64 // rises with the content; unlike the generation counter it does so across restarts of the controller
	genctr   uint64
	readAt   time.Time
	dropped  uint32 // records that made no sense; with any, absence from the page proves nothing
	entries  []nvme.DiscoveryEntry
	stale    bool // its controller was given up for a while: it proves no absence until it was read again

	referrals []nvme.DiscoveryEntry // those of entries that lead to other discovery controllers
}

func referralsOf(entries []nvme.DiscoveryEntry) []nvme.DiscoveryEntry {
	var list []nvme.DiscoveryEntry
	for _, e := range entries {
		if e.Subtype == nvme.SubtypeReferral {
			list = append(list, e)
		}
	}
	return list
}

// joined are new and those of old that it lacks. What broken records said is unknown, so nothing
// counts as no longer listed by them; a page that cannot grow any more stays as it was.
func joined(new, old []nvme.DiscoveryEntry) []nvme.DiscoveryEntry {
	have := make(map[nvme.DiscoveryEntry]bool, len(new))
	for _, e := range new {
		have[e] = true
	}
	all := slices.Clone(new)
	for _, e := range old {
		if !have[e] {
			all = append(all, e)
		}
	}
	if len(all) > nvme.MaxRecords {
		return old
	}
	return all
}

// verdict is what a page that was just read means.
type verdict uint8

const (
	unchanged verdict = iota
	changed
	suspicious // an empty page where it may be the controller that has not found its memory yet
)

// judge compares what was read with the last complete page. The first page after a (re)connect that
// is empty while the last one was not is suspicious: a central discovery controller that boots answers
// before its zone database is there. An empty page in a running session is an answer.
func judge(last *page, entries []nvme.DiscoveryEntry, firstOfConnection bool) verdict {
	switch {
	case last == nil:
		return changed
	case firstOfConnection && !lists(entries) && lists(last.entries):
		return suspicious
	case slices.Equal(last.entries, entries):
		return unchanged
	}
	return changed
}

// lists says whether a page leads anywhere: an entry of the controller for itself does not.
func lists(entries []nvme.DiscoveryEntry) bool {
	return slices.ContainsFunc(entries, func(e nvme.DiscoveryEntry) bool { return e.Subtype != nvme.SubtypeDiscovery })
}

// usable are the entries that lead somewhere, in the order of the page. Controllers
// are known to list entries without an address, or with the unspecified one.
func usable(entries []nvme.DiscoveryEntry) []nvme.DiscoveryEntry {
	return slices.DeleteFunc(slices.Clone(entries), func(e nvme.DiscoveryEntry) bool { return !e.HasAddress() })
}

// nextRevision gives a revision above last. Time serves as the counter, so that it
// also rises when the memory of the last one was lost.
func nextRevision(last *page, now time.Time) uint64 {
	r := uint64(now.UnixNano())
	if last != nil && r <= last.revision {
		r = last.revision + 1
	}
	return r
}
