package fabricsim

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// view is what one host sees at one discovery controller. The entries are shared by
// the hosts that see the same, and not changed once they are made.
type view struct {
	gen     uint64
	entries []nvme.DiscoveryEntry
	live    int // controllers of the host
}

// maxViews bounds the hosts that a discovery controller remembers.
const maxViews = 65536

// scope says which hosts a change may concern.
type scope struct {
	all   bool
	hosts []string // NQNs
}

// change performs fn with the lock held, finds out whose view it has changed, and
// tells exactly those.
func (f *Fabric) change(fn func() (scope, error)) error {
	f.mu.Lock()
	s, err := fn()
	var notify []*nvmetcp.Controller
	if err == nil {
		notify = f.refresh(s)
	}
	f.mu.Unlock()
	// The lock is free again: what is told asks for faults. Each in its own goroutine:
	// a host that does not read must not delay the others.
	for _, c := range notify {
		if f.struck(c, "no-aen") == nil {
			f.spawn(func() { c.Notify(nvme.AENDiscoveryLogChange) })
		}
	}
	return err
}

// refresh makes the views anew that a change may concern, and gives the controllers
// of the hosts whose view differs from before. f.mu is held.
func (f *Fabric) refresh(s scope) []*nvmetcp.Controller {
	type changed struct {
		d    *dc
		host string
	}
	dirty := make(map[changed]bool)
	for _, d := range f.dcs {
		m := maker{fabric: f, dc: d, shared: make(map[string][]nvme.DiscoveryEntry)}
		same := make(map[[2]*nvme.DiscoveryEntry]bool)
		update := func(host string, v *view) {
			entries := m.entries(host)
			if equalEntries(v.entries, entries, same) {
				return
			}
			d.gen++
			v.gen, v.entries = d.gen, entries
			dirty[changed{d, host}] = true
		}
		if s.all {
			for host, v := range d.views {
				update(host, v)
			}
			continue
		}
		for _, host := range s.hosts {
			if v := d.views[host]; v != nil {
				update(host, v)
			}
		}
	}
	if len(dirty) == 0 {
		return nil
	}
	var list []*nvmetcp.Controller
	for _, c := range f.target.Controllers() {
		if d, ok := c.Backend().(*dc); ok && d.AEN && dirty[changed{d, c.HostNQN()}] {
			list = append(list, c)
		}
	}
	return list
}

// equalEntries compares; results for slices that many hosts share are kept in same.
func equalEntries(a, b []nvme.DiscoveryEntry, same map[[2]*nvme.DiscoveryEntry]bool) bool {
	if len(a) != len(b) || len(a) == 0 {
		return len(a) == len(b)
	}
	key := [2]*nvme.DiscoveryEntry{&a[0], &b[0]}
	equal, known := same[key]
	if !known {
		equal = slices.Equal(a, b)
		same[key] = equal
	}
	return equal
}

// maker makes the entries of one discovery controller; those of hosts that see the
// same are made once.
type maker struct {
	fabric *Fabric
	dc     *dc
	shared map[string][]nvme.DiscoveryEntry
}

func (m *maker) entries(host string) []nvme.DiscoveryEntry {
	visible, key := m.visible(host)
	if list, ok := m.shared[key]; ok {
		return list
	}
	var list []nvme.DiscoveryEntry
	if m.dc.Self {
		list = append(list, m.addresses(m.dc.nqn(), nvme.SubtypeDiscovery, m.dc.Ports, nvme.DiscoveryEntry{EFlags: m.dc.EFlags})...)
	}
	for _, s := range visible {
		list = append(list, m.addresses(s.nqn, nvme.SubtypeNVMe, s.cfg.Ports,
			nvme.DiscoveryEntry{TReq: s.cfg.TReq, TSAS: nvme.TSAS{SecType: s.cfg.SecType}, EFlags: s.cfg.EFlags})...)
	}
	for _, r := range m.dc.Referrals {
		list = append(list, m.referral(r)...)
	}
	list = append(list, m.dc.extra...)
	list = list[:min(len(list), nvme.MaxRecords)]
	m.shared[key] = list
	return list
}

// visible gives the subsystems that a host sees, and a key that is equal for hosts
// that see the same.
func (m *maker) visible(host string) ([]*subsystem, string) {
	var key strings.Builder
	var list []*subsystem
	f := m.fabric
	if m.dc.Zoning {
		for _, z := range f.zonesOf(host) {
			fmt.Fprintf(&key, "%q ", z.name)
			for _, s := range z.subsystems {
				if m.dc.lists(s) && !slices.Contains(list, s) {
					list = append(list, s)
				}
			}
		}
		return list, key.String()
	}
	for i, s := range f.subsystems {
		if !m.dc.lists(s) {
			continue
		}
		if s.cfg.Access == AccessAny {
			list = append(list, s)
		} else if f.allowed(s, host) {
			list = append(list, s)
			key.WriteString(strconv.Itoa(i))
			key.WriteByte(' ')
		}
	}
	return list, key.String()
}

// lists says whether the controller may list a subsystem at all.
func (d *dc) lists(s *subsystem) bool {
	return len(d.Subsystems) == 0 || slices.Contains(d.Subsystems, s.cfg.Name) || slices.Contains(d.Subsystems, s.name)
}

// addresses makes the entries of a subsystem, one for each of its ports.
func (m *maker) addresses(nqn string, subtype nvme.Subtype, ports []string, e nvme.DiscoveryEntry) []nvme.DiscoveryEntry {
	list := make([]nvme.DiscoveryEntry, 0, len(ports))
	for _, name := range ports {
		p := m.fabric.port(name)
		e.Transport, e.Subtype, e.SubNQN = nvme.TransportTypeTCP, subtype, nqn
		e.PortID, e.CntlID, e.ASQSize = p.id, nvme.CntlIDDynamic, 32
		e.Traddr, e.Trsvcid, e.AddrFamily = p.traddr, p.trsvcid, family(p.traddr)
		list = append(list, e)
	}
	return list
}

func family(traddr string) nvme.AddrFamily {
	if a, err := netip.ParseAddr(traddr); err == nil && a.Is6() {
		return nvme.AddrFamilyIPv6
	}
	return nvme.AddrFamilyIPv4
}

// referral makes the entries of a referral: to another discovery controller of this
// fabric by its name, to any by URL.
func (m *maker) referral(r string) []nvme.DiscoveryEntry {
	if d := m.fabric.dc(r); d != nil {
		return m.addresses(d.nqn(), nvme.SubtypeReferral, d.Ports, nvme.DiscoveryEntry{EFlags: d.EFlags})
	}
	addr, nqn, err := parseReferral(r)
	if err != nil {
		return nil // was checked when it was set
	}
	return []nvme.DiscoveryEntry{{Transport: nvme.TransportTypeTCP, Subtype: nvme.SubtypeReferral, SubNQN: nqn,
		CntlID: nvme.CntlIDDynamic, ASQSize: 32, Traddr: addr.Addr().String(), AddrFamily: family(addr.Addr().String()),
		Trsvcid: strconv.Itoa(int(addr.Port()))}}
}

// parseReferral reads nvme+tcp://ADDRESS:PORT[/NQN].
func parseReferral(s string) (netip.AddrPort, string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "nvme+tcp" {
		return netip.AddrPort{}, "", fmt.Errorf("%q is neither a discovery controller nor of the form nvme+tcp://ADDRESS:PORT/NQN", s)
	}
	addr, err := netip.ParseAddrPort(u.Host)
	if err != nil {
		return netip.AddrPort{}, "", fmt.Errorf("%q: %w", s, err)
	}
	nqn := strings.TrimPrefix(u.Path, "/")
	if nqn == "" {
		nqn = nvme.DiscoveryNQN
	}
	return addr, nqn, nvme.CheckName(nqn)
}
