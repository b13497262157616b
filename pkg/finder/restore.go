package finder

import (
	"time"
)

// restore takes up what an earlier run knew. The controllers count as named until their
// sources have spoken: the configuration does so at once, others when they first report.
func (f *Finder) restore() {
	for _, r := range f.opts.Store.load() {
		origin := r.Sources[0].Origin
		c := Candidate{TID: r.TID, Host: r.Host, Source: r.Sources[0]}
		d := &dc{key: r.Key, want: Want{Candidate: c, Sources: r.Sources}, named: true, saved: true, disposition: r.Disposition, lostAt: time.Now()}
		if r.Complete {
			d.page = &page{revision: r.Revision, genctr: r.GenCtr, readAt: time.UnixMilli(r.ReadAt), entries: r.Entries, dropped: r.Dropped, stale: r.Stale, referrals: referralsOf(r.Entries)}
		}
		if f.find(d.id(), nil) != nil {
			continue
		}
		f.insert(d)
		if d.disposition == forgotten {
			d.named = false
			f.remind()
			continue
		}
		for _, s := range r.Sources {
			if s.Origin != Configured && s.Origin != Referred {
				f.sources.remembered[s.Origin] = append(f.sources.remembered[s.Origin], Candidate{TID: r.TID, Host: r.Host, Source: s})
			}
		}
		f.log.Debug("took up what an earlier run knew", "dc", d.id(), "origin", origin, "complete", r.Complete)
	}
}
