package mdns

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// set is the bookkeeping of announcements over epochs. It does no I/O and knows no time.
type set struct {
	limit   int
	epoch   uint64
	entries map[instance]*entry
	refused uint64 // epoch in which an announcement found no room; 0 for none
}

// entry is one announcement and what it resolved to.
type entry struct {
	seen     uint64  // epoch of the last announcement
	resolved uint64  // epoch in which svc was learned; 0 while there is none
	svc      Service // with Stale false
	unusable bool    // Avahi has answered, with nothing of use
}

func newSet(limit int) *set {
	return &set{limit: limit, entries: make(map[instance]*entry)}
}

// begin opens an epoch: from here on everything known is stale until it is confirmed.
func (s *set) begin() { s.epoch++ }

// add notes an announcement and says whether there was room for it.
func (s *set) add(in instance) bool {
	e := s.entries[in]
	if e == nil {
		if len(s.entries) >= s.limit {
			s.refused = s.epoch
			return false
		}
		e = &entry{}
		s.entries[in] = e
	}
	e.seen = s.epoch
	return true
}

// remove notes a withdrawal. Only the live source may call for it.
func (s *set) remove(in instance) { delete(s.entries, in) }

// resolve notes the outcome of a lookup; it says whether the announcement still stands.
func (s *set) resolve(in instance, svc Service) bool {
	e := s.entries[in]
	if e == nil || e.seen != s.epoch {
		return false
	}
	svc.Stale = false
	e.svc, e.resolved = svc, s.epoch
	return true
}

// settle removes what the source of this epoch has not announced in its whole first look around.
func (s *set) settle() []instance {
	var gone []instance
	for in, e := range s.entries {
		if e.seen != s.epoch {
			gone = append(gone, in)
			delete(s.entries, in)
		}
	}
	return gone
}

// unknown says that there is an announcement of this epoch of which nobody knows what it leads to.
func (s *set) unknown() bool {
	for _, e := range s.entries {
		if e.seen == s.epoch && e.resolved == 0 && !e.unusable {
			return true
		}
	}
	return false
}

// full says that announcements of this epoch were refused.
func (s *set) full() bool { return s.refused == s.epoch && s.epoch != 0 }

// each lists the announcements of this epoch.
func (s *set) each(f func(instance)) {
	for in, e := range s.entries {
		if e.seen == s.epoch {
			f(in)
		}
	}
}

// services lists what resolved, sorted, one per transport, address, port, NQN and interface.
// live is false where no source answers: then everything is stale.
func (s *set) services(live bool) []Service {
	list := make([]Service, 0, len(s.entries))
	for _, e := range s.entries {
		if e.resolved == 0 {
			continue
		}
		svc := e.svc
		svc.Stale = !live || e.seen != s.epoch || e.resolved != s.epoch
		list = append(list, svc)
	}
	slices.SortFunc(list, compareServices)
	return slices.CompactFunc(list, func(a, b Service) bool { return compareIdentity(a, b) == 0 })
}

// compareIdentity orders by what makes two services the same to a connection.
func compareIdentity(a, b Service) int {
	return cmp.Or(
		strings.Compare(string(a.Transport), string(b.Transport)),
		strings.Compare(a.Traddr, b.Traddr),
		strings.Compare(a.Trsvcid, b.Trsvcid),
		strings.Compare(a.NQN, b.NQN),
		cmp.Compare(a.IfIndex, b.IfIndex),
	)
}

// compareServices puts, among equal identities, the confirmed one first.
func compareServices(a, b Service) int {
	fresh := 0
	if a.Stale != b.Stale {
		fresh = 1
		if b.Stale {
			fresh = -1
		}
	}
	return cmp.Or(
		compareIdentity(a, b),
		fresh,
		strings.Compare(a.Name, b.Name),
		strings.Compare(a.Type, b.Type),
		strings.Compare(string(a.Protocol), string(b.Protocol)),
		strings.Compare(a.Domain, b.Domain),
		strings.Compare(a.Interface, b.Interface),
	)
}

// sharedAddresses has one sentence for every address that was found on more than one
// interface; link-local addresses are exempt, as they mean something else on each.
// list is sorted by address within a transport.
func sharedAddresses(list []Service) []string {
	on := make(map[string][]string)
	for _, svc := range list {
		if addr, err := netip.ParseAddr(svc.Traddr); err != nil || addr.IsLinkLocalUnicast() {
			continue
		}
		where := fmt.Sprintf("%s (%d)", svc.Interface, svc.IfIndex)
		if !slices.Contains(on[svc.Traddr], where) {
			on[svc.Traddr] = append(on[svc.Traddr], where)
		}
	}
	var lines []string
	for addr, where := range on {
		if len(where) > 1 {
			slices.Sort(where)
			lines = append(lines, fmt.Sprintf("address %s is announced on several interfaces: %s", addr, strings.Join(where, ", ")))
		}
	}
	slices.Sort(lines)
	return lines
}
