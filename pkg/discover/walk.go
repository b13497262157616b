// Package discover reads the log pages of discovery controllers over NVMe/TCP in user
// space, and those of the discovery controllers that they refer to: a read-only picture
// of what a fabric shows to a host. It needs no privilege, no kernel module, no daemon.
package discover

import (
	"context"
	"errors"
	"fmt"
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
}

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
// that it refers to, each once. Its error is that of the first controller; what goes
// wrong with others is in their pages.
func Walk(ctx context.Context, o Options) (*Page, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.NQN == "" {
		o.NQN = nvme.DiscoveryNQN
	}
	w := walker{Options: o, seen: make(map[target]bool), read: make(map[string][]*Page)}
	first := target{netip.AddrPortFrom(o.Addr.Addr().Unmap(), o.Addr.Port()), o.NQN}
	w.seen[first] = true
	root := w.visit(ctx, first)
	if !o.Recursive || root.Err != nil {
		return root, root.Err
	}
	w.note(first, root)
	level := []*Page{root}
	for depth := 1; len(level) > 0; depth++ {
		level = w.next(ctx, level, depth)
	}
	return root, nil
}

// target is what makes two referrals the same: address and NQN asked for.
type target struct {
	addr netip.AddrPort
	nqn  string
}

type walker struct {
	Options
	seen map[target]bool
	read map[string][]*Page // by the NQN that the controller gives itself
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
			case w.seen[to]:
				r.Reason = "was read already"
			case depth > maxDepth:
				r.Reason = fmt.Sprintf("more than %d referrals deep", maxDepth)
			case len(w.seen) >= maxPages:
				r.Reason = fmt.Sprintf("more than %d discovery controllers", maxPages)
			default:
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
			found[i] = w.visit(ctx, v.to)
			v.referral.Page = found[i]
		})
	}
	wg.Wait()
	for i, p := range found {
		w.note(visits[i].to, p)
	}
	return slices.DeleteFunc(found, func(p *Page) bool { return p.Same != nil })
}

// note remembers who answered, so that nobody is read twice because it goes by two
// names or has two addresses.
func (w *walker) note(t target, p *Page) {
	if p.Controller == nil || p.Controller.SUBNQN == "" || p.Controller.SUBNQN == nvme.DiscoveryNQN {
		return // nothing tells it from others
	}
	nqn := p.Controller.SUBNQN
	w.seen[target{t.addr, nqn}] = true
	if p.Log == nil {
		return
	}
	for _, other := range w.read[nqn] {
		if p.Log.GenCtr == other.Log.GenCtr && slices.EqualFunc(p.Log.Entries, other.Log.Entries, sameEntry) {
			p.Same = other
			return
		}
	}
	w.read[nqn] = append(w.read[nqn], p)
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

// visit reads the page of one controller.
func (w *walker) visit(ctx context.Context, t target) *Page {
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
	if p.Log, err = h.ReadDiscoveryLog(ctx, 0); err != nil {
		p.Err = fmt.Errorf("%s at %s: %w", t.nqn, t.addr, err)
	}
	return p
}
