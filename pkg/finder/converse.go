package finder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
)

// stepDeadline bounds the wait for one step. The kernel gives up an admin command after
// 60 s (drivers/nvme/host/core.c, admin_timeout), a page takes many.
const stepDeadline = 3 * time.Minute

// answer is what a step brought.
type answer struct {
	identify  *nvme.Identify
	supported *nvme.SupportedLogPages
	log       *nvme.DiscoveryLog
	symname   string // that was registered
	err       error
}

// converse takes the next step of d's session, if there is one.
func (f *Finder) converse(d *dc) {
	if d.disposition == frozen || d.parked {
		return
	}
	facts := facts{busy: d.busy != rest, live: d.live(),
		identified: d.identified != nil, registrable: d.registrable(), registered: d.registered && d.symname == f.symName(d.want.Host.NQN),
		wantsPLEO: f.cfg.PLEO, knowsPages: d.knowsPages, dirty: d.dirty, held: d.timers.holdDown != nil || f.holds(d)}
	if d.identified != nil {
		facts.listsPages = d.identified.LPA&nvme.LPASupportedLogPages != 0
	}
	for s := range d.retry {
		facts.backedOff[s] = d.retry[s] != nil
	}
	switch s := next(facts); s {
	case rest:
	case closing:
		f.park(d)
	default:
		f.perform(d, s)
	}
}

// perform starts step s in a goroutine. What it needs is gathered here, on the loop.
func (f *Finder) perform(d *dc, s step) {
	d.busy = s
	if s == read {
		d.dirty = false // an event from here on means that this read may be too old
	}
	name, inode, association := d.device.Name, d.device.Inode, d.association
	opt := nvme.ReadOptions{ChunkSize: readChunk(d.identified)}
	if d.identified != nil {
		opt.NoOffset = d.identified.LPA&nvme.LPAExtendedData == 0
	}
	if d.pages != nil && f.cfg.PLEO && d.identified.DCTYPE != nvme.DCTypeCDC {
		opt.LSP = d.pages.DiscoveryLSP(nvme.LSPPortLocal)
	}
	host, symname := d.want.Host, f.symName(d.want.Host.NQN)
	source := d.device.SrcAddr
	ctx, cancel := context.WithTimeout(f.ctx, stepDeadline)
	d.cancel = cancel
	go func() {
		defer cancel()
		a := answer{symname: symname}
		switch s {
		case identify:
			a.identify, a.err = f.opts.Commands.Identify(ctx, name)
		case register:
			var dim []byte
			if dim, a.err = registration(host, symname, source); a.err == nil {
				a.err = f.opts.Commands.Register(ctx, name, dim, nvme.DIMRegister)
			}
		case supported:
			a.supported, a.err = f.opts.Commands.SupportedLogPages(ctx, name)
		case read:
			if a.log, a.err = f.opts.Commands.DiscoveryLog(ctx, name, opt); a.err == nil {
				a.err = f.stillThere(name, inode) // else it may be the page of another, that has the name now
			}
		}
		f.loop.Post(func() { f.answered(d, s, association, a) })
	}()
}

// stillThere says whether name is what it was when it had inode: names are given anew, and events are late or lost.
func (f *Finder) stillThere(name string, inode uint64) error {
	now, err := f.opts.Read(name)
	if err == nil && now.Inode != inode {
		err = fmt.Errorf("%s is another controller by now: %w", name, kernel.ErrGone)
	}
	return err
}

// readChunk is how many bytes of a page one command asks for: as many as the controller
// takes, within what makes sense.
func readChunk(id *nvme.Identify) int {
	const least, most = 4 << 10, 128 << 10
	if id == nil || id.MDTS > 5 {
		return most
	}
	if id.MDTS == 0 {
		return most
	}
	return max(least, least<<id.MDTS)
}

func (f *Finder) answered(d *dc, s step, association int, a answer) {
	d.busy, d.cancel = rest, nil
	if f.dcs[d.key] != d {
		return
	}
	f.touch(d)
	if d.association != association || d.device == nil {
		return // it was said over a connection that is gone
	}
	if a.err != nil {
		f.stepFailed(d, s, a.err)
		return
	}
	d.settled(s)
	switch s {
	case identify:
		d.identified = a.identify
		if !d.registrable() {
			d.registered = false
		}
	case register:
		d.registered, d.registeredAt, d.symname = true, time.Now(), a.symname
		f.log.Info("registered this host", "dc", d.id(), "device", d.device.Name)
	case supported:
		d.pages, d.knowsPages = a.supported, true
		d.dirty = d.dirty || d.readOnce // it was read without asking for port-local entries
	case read:
		f.takePage(d, a.log)
		f.sparesDue = true
	}
}

// stepFailed plans another try of s, and of nothing else: what the session can do
// without s it does.
func (f *Finder) stepFailed(d *dc, s step, err error) {
	if f.ctx.Err() != nil {
		return
	}
	d.failures[s]++
	d.errs[s], d.lastErr, d.lastErrAt = err, err, time.Now()
	if errors.Is(err, kernel.ErrGone) {
		f.look(d) // its end has not been told
	}
	if s == read {
		d.dirty = true
	}
	if s == supported {
		d.knowsPages = true // without the list nothing special is asked for
		if _, answered := errors.AsType[nvme.Status](err); answered {
			d.settled(s)
			return
		}
	}
	wait := schedule.Delay(kernel.Other, d.failures[s])
	d.retryAt[s] = time.Now().Add(wait)
	var timer *time.Timer
	timer = f.loop.After(wait, func() {
		if d.retry[s] == timer {
			d.retry[s], d.retryAt[s] = nil, time.Time{}
			if s == supported {
				d.knowsPages = false
			}
			f.touch(d)
		}
	})
	d.retry[s] = timer
	if n := d.failures[s]; n&(n-1) == 0 {
		f.log.Warn("discovery controller does not answer as it should", "dc", d.id(), "device", d.device.Name, "step", s, "failures", n, "error", err)
	}
}

// takePage judges a page that was read and puts it in force.
func (f *Finder) takePage(d *dc, log *nvme.DiscoveryLog) {
	entries := usable(log.Entries)
	if !log.Complete() && d.page != nil {
		entries = joined(entries, d.page.entries)
	}
	if !log.Complete() {
		f.log.Warn("discovery log page has records that make no sense; what was known stays", "dc", d.id(), "dropped", log.Dropped, "first", log.DropReasons[0].Reason)
	}
	first := !d.readOnce
	d.readOnce = true
	d.epcsd = saysEPCSD(log.Entries, d)
	if d.timers.holdDown != nil && !lists(entries) {
		return // still in doubt, see below
	}
	stop(&d.timers.holdDown)
	switch judge(d.page, entries, first) {
	case suspicious:
		f.log.Warn("discovery log page is empty right after the connection came up; waiting before it is believed", "dc", d.id(), "wait", f.cfg.EmptyPageHoldDown)
		d.timers.holdDown = f.loop.After(f.cfg.EmptyPageHoldDown, func() {
			d.timers.holdDown = nil
			d.dirty = true
			f.touch(d)
		})
	case unchanged:
		p := *d.page
		p.genctr, p.readAt, p.stale, p.dropped = log.GenCtr, time.Now(), false, uint32(log.Dropped)
		told := p.dropped == d.page.dropped && p.stale == d.page.stale
		d.page = &p
		if !told {
			f.publish(d)
		}
	case changed:
		now := time.Now()
		last := d.page
		d.page = &page{revision: nextRevision(last, now), genctr: log.GenCtr, readAt: now, entries: entries, dropped: uint32(log.Dropped),
			referrals: referralsOf(entries)}
		// stacd says what comes of a change, and one line for each is enough.
		level := slog.LevelDebug
		if last == nil {
			level = slog.LevelInfo
		}
		f.log.Log(f.ctx, level, "new discovery log page", "dc", d.id(), "device", d.device.Name, "records", len(entries), "generation", log.GenCtr)
		f.resolveSources = f.resolveSources || last == nil || !slices.Equal(last.referrals, d.page.referrals)
		f.announce(d)
	}
}

// saysEPCSD looks for the flag in the entry of the controller for the port that was asked.
func saysEPCSD(entries []nvme.DiscoveryEntry, d *dc) bool {
	var says bool
	for _, e := range entries {
		if e.Subtype != nvme.SubtypeDiscovery {
			continue
		}
		own := e.Transport.Transport() == d.id().Transport && placeOf(tid.TID{Transport: d.id().Transport, Traddr: e.Traddr, Trsvcid: e.Trsvcid}) == placeOf(d.id())
		if own {
			return e.EFlags.Has(nvme.EPCSD)
		}
		says = says || e.EFlags.Has(nvme.EPCSD)
	}
	return says
}

// publish tells of a changed disposition: readers see it as a new revision.
func (f *Finder) publish(d *dc) {
	if d.page != nil {
		p := *d.page
		p.revision = nextRevision(d.page, time.Now())
		d.page = &p
	}
	f.announce(d)
}

func (f *Finder) announce(d *dc) {
	var revision uint64
	if d.page != nil {
		revision = d.page.revision
	}
	device := ""
	if d.device != nil {
		device = d.device.Name
	}
	f.save(d)
	f.tell(d)
	f.out.PageChanged(d.key, revision)
	f.out.LogPagesChanged(busID(d.id()), device)
}
