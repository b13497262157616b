package finder

import (
	"cmp"
	"slices"
	"time"
)

// restore takes up what an earlier run knew. The controllers count as named until their
// sources have spoken: the configuration does so at once, others when they first report.
func (f *Finder) restore() {
	states := f.opts.Store.load()
	// Of those that are one controller, known in other detail, the one that was read last is taken up.
	slices.SortStableFunc(states, func(a, b *remembered) int { return cmp.Compare(b.ReadAt, a.ReadAt) })
	for _, r := range states {
		origin := r.Sources[0].Origin
		c := Candidate{TID: r.TID, Host: r.Host, Source: r.Sources[0]}
		d := &dc{key: r.Key, want: Want{Candidate: c, Sources: r.Sources}, named: true, saved: true, disposition: r.Disposition, lostAt: time.Now()}
		if r.Complete {
			d.page = &page{revision: r.Revision, genctr: r.GenCtr, readAt: time.UnixMilli(r.ReadAt), entries: r.Entries, dropped: r.Dropped, stale: r.Stale, referrals: referralsOf(r.Entries)}
		}
		for _, s := range r.Sources {
			if s.Origin != Configured && s.Origin != Referred && d.disposition != forgotten {
				f.sources.remembered[s.Origin] = append(f.sources.remembered[s.Origin], Candidate{TID: r.TID, Host: r.Host, Source: s})
			}
		}
		if f.find(d.id(), nil) != nil {
			f.opts.Store.Delete(r.Key)
			continue
		}
		f.insert(d)
		if d.disposition == forgotten {
			d.named = false
			f.remind()
			continue
		}
		f.log.Debug("took up what an earlier run knew", "dc", d.id(), "origin", origin, "complete", r.Complete)
	}
}
