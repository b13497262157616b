package fabricsim

import (
	"cmp"
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/nvmetcp"
)

// HostStatus is one controller that a host is connected to.
type HostStatus struct {
	HostNQN   string    `json:"host_nqn"`
	HostID    string    `json:"host_id"`
	Name      string    `json:"name,omitempty"` // where the configuration has one
	SubNQN    string    `json:"subnqn"`
	Type      string    `json:"type"` // io or discovery
	Port      string    `json:"port"`
	Address   string    `json:"address"`
	Cntlid    uint16    `json:"cntlid"`
	Queues    int       `json:"queues"`
	KeepAlive float64   `json:"keep_alive"` // seconds, 0 for none
	Since     time.Time `json:"since"`
}

// HostsStatus is who is there.
type HostsStatus struct {
	Controllers   []HostStatus   `json:"controllers"`
	Registrations []Registration `json:"registrations"`
}

// DCStatus is a discovery controller.
type DCStatus struct {
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	NQN       string   `json:"nqn"`
	Ports     []string `json:"ports"`
	Zoning    bool     `json:"zoning"`
	AEN       bool     `json:"aen"`
	Register  bool     `json:"register"`
	EFlags    uint16   `json:"eflags"`
	Referrals []string `json:"referrals"`
	Hosts     int      `json:"hosts"` // connected
}

// SubsystemStatus is an NVM subsystem.
type SubsystemStatus struct {
	Name       string   `json:"name"`
	NQN        string   `json:"nqn"`
	Ports      []string `json:"ports"`
	Serial     string   `json:"serial"`
	Namespaces []uint64 `json:"namespaces"` // sizes in bytes
	Zones      []string `json:"zones"`
	ANA        []string `json:"ana,omitempty"` // PORT=STATE for each port
}

// ZoneStatus is a zone.
type ZoneStatus struct {
	Name       string   `json:"name"`
	Hosts      []string `json:"hosts"`      // NQNs
	Subsystems []string `json:"subsystems"` // names
}

// PortStatus is a port.
type PortStatus struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Traddr  string `json:"traddr"` // as log pages show it
	Trsvcid string `json:"trsvcid"`
	State   string `json:"state"`
}

// Hosts tells who is connected and registered.
func (f *Fabric) Hosts() HostsStatus {
	s := HostsStatus{Controllers: []HostStatus{}, Registrations: []Registration{}}
	ctrls := f.target.Controllers()
	slices.SortFunc(ctrls, func(a, b *nvmetcp.Controller) int { return cmp.Compare(a.ID(), b.ID()) })
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, c := range ctrls {
		s.Controllers = append(s.Controllers, HostStatus{HostNQN: c.HostNQN(), HostID: c.HostID().String(),
			Name: f.hosts[c.HostNQN()].Name, SubNQN: c.SubNQN(), Type: c.ControllerType().String(), Port: c.Port(),
			Address: c.Remote().String(), Cntlid: c.ID(), Queues: c.Queues(), KeepAlive: c.KeepAlive().Seconds(), Since: c.Since()})
	}
	for _, d := range f.dcs {
		for _, r := range d.registrations {
			s.Registrations = append(s.Registrations, *r)
		}
	}
	slices.SortFunc(s.Registrations, func(a, b Registration) int {
		return cmp.Or(cmp.Compare(a.DC, b.DC), cmp.Compare(a.HostNQN, b.HostNQN))
	})
	return s
}

// DCs lists the discovery controllers.
func (f *Fabric) DCs() []DCStatus {
	connected := make(map[nvmetcp.Backend]int)
	for _, c := range f.target.Controllers() {
		connected[c.Backend()]++
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	list := []DCStatus{}
	for _, d := range f.dcs {
		list = append(list, DCStatus{Name: d.Name, Type: d.Type.String(), NQN: d.nqn(), Ports: d.Ports, Zoning: d.Zoning, AEN: d.AEN,
			Register: d.Register, EFlags: uint16(d.EFlags), Referrals: append([]string{}, d.Referrals...), Hosts: connected[d]})
	}
	return list
}

// Subsystems lists the NVM subsystems.
func (f *Fabric) Subsystems() []SubsystemStatus {
	f.mu.RLock()
	defer f.mu.RUnlock()
	list := []SubsystemStatus{}
	for _, s := range f.subsystems {
		st := SubsystemStatus{Name: s.name, NQN: s.nqn, Ports: s.cfg.Ports, Serial: s.serial,
			Namespaces: append([]uint64{}, s.cfg.Namespaces...), Zones: []string{}}
		for _, z := range s.zones {
			st.Zones = append(st.Zones, z.name)
		}
		for _, p := range s.cfg.Ports {
			if s.ana.states != nil {
				st.ANA = append(st.ANA, p+"="+s.ana.at(p).String())
			}
		}
		list = append(list, st)
	}
	return list
}

// Zones lists the zones.
func (f *Fabric) Zones() []ZoneStatus {
	f.mu.RLock()
	defer f.mu.RUnlock()
	list := []ZoneStatus{}
	for _, z := range f.zones {
		st := ZoneStatus{Name: z.name, Hosts: append([]string{}, z.hosts...), Subsystems: []string{}}
		for _, s := range z.subsystems {
			st.Subsystems = append(st.Subsystems, s.name)
		}
		list = append(list, st)
	}
	return list
}

// Ports lists the ports.
func (f *Fabric) Ports() []PortStatus {
	f.portMu.Lock()
	defer f.portMu.Unlock()
	f.mu.RLock()
	defer f.mu.RUnlock()
	list := []PortStatus{}
	for _, p := range f.ports {
		list = append(list, PortStatus{p.Name, p.addr.String(), p.traddr, p.trsvcid, string(p.state)})
	}
	return list
}
