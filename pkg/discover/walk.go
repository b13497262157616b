// Package discover reads the log pages of discovery controllers over NVMe/TCP in user
// space, and those of the discovery controllers that they refer to: a read-only picture
// of what a fabric shows to a host. It needs no privilege, no kernel module, no daemon.
package discover

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
	"github.com/stas-go/stas/pkg/tid"
)

// Bounds of a walk.
const (
	// maxDepth is how deep referrals are followed: hosts need not go deeper than
	// 8 (Base 2.1, section 3.1.3.3.1).
	maxDepth = 8
	// maxPages bounds a walk over a fabric that refers without end.
	maxPages = 1024
	// defaultMaxEntries is four of the largest pages, or those of 26 controllers with 10 000 entries
	// each: a quarter of a gigabyte at most.
	defaultMaxEntries = 1 << 18
	// parallel is how many controllers are read at once.
	parallel = 16

	defaultTimeout = 5 * time.Second
)

// Options says where a walk begins, and who asks.
type Options struct {
	nvmetcp.Endpoint        // the first controller; interface and source address count for all
	NQN              string // that is asked for; empty for the well-known one
	HostNQN          string
	HostID           nvme.HostID
	Key              nvme.DHCHAPSecret // for controllers that want authentication
	Recursive        bool              // follow referrals
	Timeout          time.Duration     // for each controller; 0 stands for 5 s
	MaxEntries       int               // of all pages but the first together; 0 stands for 262144
}

// ErrIncomplete says that a walk was ended, as there is too much or by its context: the pages are good, but are not all.
var ErrIncomplete = errors.New("the picture is incomplete")

// Page is what one discovery controller shows.
type Page struct {
	// Traddr, Trsvcid and NQN are what was asked.
	Traddr, Trsvcid, NQN string
	// Controller describes who answered, nil if nobody did.
	Controller *nvme.Identify
	// Log is the log page, nil if it could not be read.
	Log *nvme.DiscoveryLog
	// Err says why Log, or even Controller, is missing.
	Err error
	// Same is another page of this walk that shows the same: of the same controller,
	// reached by another way. Referrals are followed there only.
	Same *Page
	// Referrals has one element for each referral of Log, in its order, where the walk
	// is recursive.
	Referrals []Referral
}

// Referral is a referral of a page. Page is nil where it was not followed, and Reason then says why.
type Referral struct {
	Entry  nvme.DiscoveryEntry
	Page   *Page
	Reason string
}

// Walk reads the log page of a discovery controller and, if asked to, those of all
// that it refers to, each once. Its error is that of the first controller, or an
// [ErrIncomplete] that says what was left out; what goes wrong with others is in their pages.
func Walk(ctx context.Context, o Options) (*Page, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.NQN == "" {
		o.NQN = nvme.DiscoveryNQN
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = defaultMaxEntries
	}
	w := walker{Options: o, seen: make(map[target]bool), read: make(map[content]*Page), pages: 1, left: o.MaxEntries}
	first := target{netip.AddrPortFrom(o.Addr.Addr().Unmap(), o.Addr.Port()), o.NQN}
	w.seen[first] = true
	root := w.visit(ctx, first, nil)
	if !o.Recursive || root.Err != nil {
		return root, root.Err
	}
	w.note(first, root)
	level := []*Page{root}
	for depth := 1; len(level) > 0; depth++ {
		level = w.next(ctx, level, depth)
	}
	if err := ctx.Err(); err != nil {
		return root, fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	if len(w.omitted) > 0 {
		return root, fmt.Errorf("%w: there are %s; %d discovery controllers are left out, the first is at %s",
			ErrIncomplete, w.why, len(w.omitted), w.where.addr)
	}
	return root, nil
}

// target is what makes two referrals the same: address and NQN asked for.
type target struct {
	addr netip.AddrPort
	nqn  string
}

// content is what tells pages apart: the NQN that the controller gives itself, the generation, and a hash of the entries.
// To compare each page with all others of its name would let a fabric keep us busy for minutes.
type content struct {
	nqn     string
	genctr  uint64
	entries uint64
}

var seed = maphash.MakeSeed()

type walker struct {
	Options
	seen map[target]bool
	read map[content]*Page

	pages   int             // how many were read
	omitted map[target]bool // who was not read as there is too much
	where   target          // the first of them
	why     string

	mu   sync.Mutex
	left int  // how many entries may still be kept
	full bool // a page had more: nothing is read any more
}

// omit notes who was not read as there is too much, and gives the reason back.
func (w *walker) omit(t target, why string) string {
	if len(w.omitted) == 0 {
		w.omitted, w.where, w.why = make(map[target]bool), t, why
	}
	w.omitted[t] = true
	return why
}

// tooMany is why a page is not read, or not kept.
func (w *walker) tooMany() string { return fmt.Sprintf("more than %d entries in all", w.MaxEntries) }

func (w *walker) isFull() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.full
}

// share is how many of the entries that a walk may keep belong to one page.
type share struct {
	w *walker
	n int
}

var errFull = errors.New("too many entries")

// set makes the share n entries large.
func (s *share) set(n int) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if n > s.n && (s.w.full || n-s.n > s.w.left) {
		s.w.full = true
		return errFull
	}
	s.w.left -= n - s.n
	s.n = n
	return nil
}

// next reads the pages that those of a level refer to, and gives them.
func (w *walker) next(ctx context.Context, level []*Page, depth int) []*Page {
	type visit struct {
		to       target
		referral *Referral
	}
	var visits []visit
	for _, p := range level {
		for _, e := range p.referrals() {
			p.Referrals = append(p.Referrals, Referral{Entry: e})
		}
		for i := range p.Referrals {
			r := &p.Referrals[i]
			to, err := w.target(r.Entry)
			switch {
			case err != nil:
				r.Reason = err.Error()
			case w.omitted[to]:
				r.Reason = w.why
			case w.seen[to]:
				r.Reason = "was read already"
			case depth > maxDepth:
				r.Reason = fmt.Sprintf("more than %d referrals deep", maxDepth)
			case w.pages >= maxPages:
				r.Reason = w.omit(to, fmt.Sprintf("more than %d discovery controllers", maxPages))
			default:
				w.pages++
				w.seen[to] = true
				visits = append(visits, visit{to, r})
			}
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	found := make([]*Page, len(visits))
	for i, v := range visits {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if !w.isFull() {
				s := &share{w: w}
				found[i] = w.visit(ctx, v.to, s.set)
				v.referral.Page = found[i]
				_ = s.set(found[i].size()) // which is no more
			}
		})
	}
	wg.Wait()
	for i, v := range visits {
		switch p := found[i]; {
		case p == nil:
			v.referral.Reason = w.omit(v.to, w.tooMany())
		case errors.Is(p.Err, errFull):
			p.Err = fmt.Errorf("%s at %s: %s", v.to.nqn, v.to.addr, w.omit(v.to, w.tooMany()))
		}
		w.note(v.to, found[i])
	}
	return slices.DeleteFunc(found, func(p *Page) bool { return p == nil || p.Same != nil })
}

// note remembers who answered, so that nobody is read twice because it goes by two
// names or has two addresses.
func (w *walker) note(t target, p *Page) {
	if p == nil || p.Controller == nil || p.Controller.SUBNQN == "" || p.Controller.SUBNQN == nvme.DiscoveryNQN {
		return // nothing tells it from others
	}
	nqn := p.Controller.SUBNQN
	w.seen[target{t.addr, nqn}] = true
	if p.Log == nil {
		return
	}
	var h maphash.Hash
	h.SetSeed(seed)
	for _, e := range p.Log.Entries {
		maphash.WriteComparable(&h, object(e)) // what a host looks at
	}
	this := content{nqn, p.Log.GenCtr, h.Sum64()}
	other := w.read[this]
	switch {
	case other == nil:
		w.read[this] = p
	case slices.EqualFunc(p.Log.Entries, other.Log.Entries, sameEntry):
		p.Same = other
	}
}

// sameEntry compares what a host looks at; extended attributes are not asked for here.
func sameEntry(a, b nvme.DiscoveryEntry) bool {
	return object(a) == object(b)
}

// referrals gives the entries of a page that refer to other discovery controllers.
func (p *Page) referrals() []nvme.DiscoveryEntry {
	if p.Log == nil {
		return nil
	}
	var list []nvme.DiscoveryEntry
	for _, e := range p.Log.Entries {
		if e.Subtype == nvme.SubtypeReferral {
			list = append(list, e)
		}
	}
	return list
}

// size is how many entries a page has.
func (p *Page) size() int {
	if p.Log == nil {
		return 0
	}
	return len(p.Log.Entries)
}

// target gives the address of a referral.
func (w *walker) target(e nvme.DiscoveryEntry) (target, error) {
	if e.Transport != nvme.TransportTypeTCP {
		return target{}, fmt.Errorf("is reached over %s", e.Transport)
	}
	if e.TSAS.SecType != nvme.SecNone && e.TReq.Secure() == nvme.TReqRequired {
		return target{}, errors.New("demands TLS")
	}
	if !e.HasAddress() {
		return target{}, errors.New("has no address")
	}
	addr, err := tid.ParseIP(e.Traddr)
	if err != nil {
		return target{}, err
	}
	if addr.IsLinkLocalUnicast() && addr.Is6() && addr.Zone() == "" {
		addr = addr.WithZone(w.Addr.Addr().Zone()) // entries have no scope: it is the link we came over
	}
	port := uint64(8009)
	if e.Trsvcid != "" {
		if port, err = strconv.ParseUint(e.Trsvcid, 10, 16); err != nil || port == 0 {
			return target{}, fmt.Errorf("has service %q, which is no port", e.Trsvcid)
		}
	}
	nqn := e.SubNQN
	if nqn == "" {
		nqn = nvme.DiscoveryNQN
	}
	return target{netip.AddrPortFrom(addr, uint16(port)), nqn}, nil
}

// errNotDiscovery says that somebody else answered.
var errNotDiscovery = errors.New("is no discovery controller")

// visit reads the page of one controller, unless admit refuses the number of its entries.
func (w *walker) visit(ctx context.Context, t target, admit func(int) error) *Page {
	p := &Page{Traddr: t.addr.Addr().String(), Trsvcid: strconv.Itoa(int(t.addr.Port())), NQN: t.nqn}
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	end := w.Endpoint
	end.Addr = t.addr
	h, err := nvmetcp.Dial(ctx, nvmetcp.HostConfig{Endpoint: end, SubNQN: t.nqn, HostNQN: w.HostNQN, HostID: w.HostID,
		Key: w.Key, CommandTimeout: w.Timeout})
	var failed *nvmetcp.DialError
	if errors.As(err, &failed) && errors.Is(err, nvme.StatusConnectInvalid) {
		failed.Err = fmt.Errorf("nobody of that name answers there: %w", failed.Err)
	}
	if err != nil {
		p.Err = err
		return p
	}
	defer h.Close()
	p.Controller = h.Controller()
	// Before NVMe 1.4 controllers do not tell their type.
	if kind := p.Controller.CNTRLTYPE; kind == nvme.ControllerIO || kind == nvme.ControllerAdmin {
		p.Err = fmt.Errorf("%s at %s: %w, but of type %s", t.nqn, t.addr, errNotDiscovery, kind)
		return p
	}
	if p.Log, err = h.ReadAdmittedDiscoveryLog(ctx, 0, admit); err != nil {
		p.Err = fmt.Errorf("%s at %s: %w", t.nqn, t.addr, err)
	}
	return p
}
