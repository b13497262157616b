package finder

import (
	"cmp"
	"slices"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// Origin is a kind of source that leads to discovery controllers.
type Origin uint8

// The origins, the most deliberate first: where several sources know one
// controller, the first of them decides how it is reached.
const (
	Configured Origin = iota
	Firmware          // NBFT
	Announced         // mDNS
	FibreChannel
	Referred
)

var originNames = [...]string{"configured", "nbft", "mdns", "fc", "referral"}

func (o Origin) String() string { return originNames[o] }

// Source is one place that names a discovery controller.
type Source struct {
	Origin Origin
	Detail string // file:line, service name, table, or the key of the referring controller
}

// Candidate is a discovery controller as one source describes it.
type Candidate struct {
	TID        tid.TID
	Host       tid.Host    // zero: the system's
	Params     *tid.Params // shared, never changed
	Given      tid.Params  // what a controller= line itself says
	Persistent config.Persistence
	Source
}

// Want is a discovery controller that at least one source names.
type Want struct {
	Candidate          // of the most deliberate source
	Sources   []Source // all of them, in order
}

// Referral is what the page of a discovery controller refers to.
type Referral struct {
	From  string // key of the controller whose page it is
	Entry nvme.DiscoveryEntry
}

// merge joins the candidates that describe one controller. Every later candidate
// that overlaps an earlier one is the same controller known in other detail.
// The result is in the order of origins, then of Transport IDs, so that equal
// inputs give equal outputs.
func merge(candidates []Candidate) []Want {
	slices.SortStableFunc(candidates, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(vague(a.TID), vague(b.TID)), a.TID.Compare(b.TID))
	})
	var wants []Want
	at := map[place][]int{}
next:
	for _, c := range candidates {
		p := placeOf(c.TID)
		for _, i := range at[p] {
			w := &wants[i]
			if w.TID.Overlaps(tid.Discovery, c.TID) {
				if !slices.Contains(w.Sources, c.Source) {
					w.Sources = append(w.Sources, c.Source)
				}
				if c.Origin == Firmware && c.Host.NQN == w.TID.HostNQN {
					w.Host = c.Host // whoever makes a boot connection makes it as the host of the boot table
				}
				continue next
			}
		}
		at[p] = append(at[p], len(wants))
		wants = append(wants, Want{c, []Source{c.Source}})
	}
	return wants
}

// vague counts what a Transport ID leaves open. Precise ones are merged first, so that
// a vague one joins the first precise one instead of standing between two.
func vague(t tid.TID) int {
	n := 0
	if t.HostIface == "" && tid.Zone(t.Traddr) == "" {
		n++
	}
	if t.HostTraddr == "" {
		n++
	}
	if t.NQN == nvme.DiscoveryNQN {
		n++
	}
	return n
}

// place is where Transport IDs that may overlap share a spelling.
type place struct {
	transport       nvme.Transport
	traddr, trsvcid string
}

func placeOf(t tid.TID) place {
	return place{t.Transport, tid.Where(t.Transport, t.Traddr), t.Trsvcid}
}

// referred turns a referral entry into a candidate that inherits from the controller that
// refers to it: host identity, source address, interface and tunables. A link-local address
// in a page carries no scope and means one on the parent's link.
func referred(parent Candidate, parentKey string, e nvme.DiscoveryEntry) (Candidate, error) {
	t := tid.TID{Transport: e.Transport.Transport(), Traddr: e.Traddr, Trsvcid: e.Trsvcid, NQN: e.SubNQN,
		HostTraddr: parent.TID.HostTraddr, HostIface: parent.TID.HostIface, HostNQN: parent.TID.HostNQN}
	t, err := tid.New(tid.Discovery, t.ScopedLike(parent.TID))
	if err != nil {
		return Candidate{}, err
	}
	params := parent.Params
	if params != nil && !params.WantsTLS() && e.Transport == nvme.TransportTypeTCP && e.TSAS.SecType == nvme.SecTLS13 && e.TReq.Secure() == nvme.TReqRequired {
		secure := *params
		secure.TLS, secure.Concat = tid.On, tid.Off
		params = &secure
	}
	return Candidate{TID: t, Host: parent.Host, Params: params, Persistent: parent.Persistent, Source: Source{Referred, parentKey}}, nil
}
