package fabricsim

import (
	"fmt"
	"slices"

	"github.com/stas-go/stas/pkg/nvme"
)

// zone is a set of hosts and subsystems that may see each other. Guarded by fabric.mu.
type zone struct {
	name       string
	hosts      []string // NQNs
	subsystems []*subsystem
}

// maxZones bounds the zones of a fabric.
const maxZones = 65536

// resolveHost gives the NQN that a member of a zone or list means: a name, or an NQN itself.
func (f *Fabric) resolveHost(name string) string {
	if nqn, ok := f.hostNames[name]; ok {
		return nqn
	}
	return name
}

// AddToZone puts members, by name or NQN, into a zone, which is made if there is none
// yet. An NQN of no subsystem is taken for a host's. Either all are added or none.
func (f *Fabric) AddToZone(name string, members ...string) error {
	return f.change(func() (scope, error) {
		z, err := f.zoneFor(name, members)
		if err != nil {
			return scope{}, err
		}
		for _, m := range members {
			if s := f.lookup(m); s != nil {
				if !slices.Contains(z.subsystems, s) {
					z.subsystems = append(z.subsystems, s)
					s.zones = append(s.zones, z)
				}
			} else if nqn := f.resolveHost(m); !slices.Contains(z.hosts, nqn) {
				z.hosts = append(z.hosts, nqn)
			}
		}
		f.record("zone", fmt.Sprintf("%s: added %d members", name, len(members)))
		return scope{hosts: z.hosts}, nil
	})
}

// zoneFor finds or makes the zone that members may be added to.
func (f *Fabric) zoneFor(name string, members []string) (*zone, error) {
	for _, m := range members {
		if f.lookup(m) == nil && f.hostNames[m] == "" && nvme.CheckNQN(m) != nil {
			return nil, fmt.Errorf("cannot add %s to zone %s: it is neither a host, nor a subsystem, nor an NQN", m, name)
		}
	}
	z := f.zone(name)
	if z == nil {
		if len(f.zones) >= maxZones || name == "" {
			return nil, fmt.Errorf("cannot make zone %q: it has no name, or there are too many", name)
		}
		z = &zone{name: name}
		f.zones = append(f.zones, z)
	}
	return z, nil
}

// RemoveFromZone takes members out of a zone, all or none; without members the zone
// itself goes.
func (f *Fabric) RemoveFromZone(name string, members ...string) error {
	return f.change(func() (scope, error) {
		z := f.zone(name)
		if z == nil {
			return scope{}, fmt.Errorf("cannot change zone %s: there is none", name)
		}
		for _, m := range members {
			if !slices.Contains(z.subsystems, f.lookup(m)) && !slices.Contains(z.hosts, f.resolveHost(m)) {
				return scope{}, fmt.Errorf("cannot remove %s from zone %s: it is not in it", m, name)
			}
		}
		concerned := scope{hosts: slices.Clone(z.hosts)}
		if len(members) == 0 {
			for _, s := range z.subsystems {
				s.leave(z)
			}
			f.zones = slices.DeleteFunc(f.zones, func(x *zone) bool { return x == z })
			f.record("zone", name+": removed")
			return concerned, nil
		}
		for _, m := range members {
			if s := f.lookup(m); s != nil && slices.Contains(z.subsystems, s) {
				z.subsystems = slices.DeleteFunc(z.subsystems, func(x *subsystem) bool { return x == s })
				s.leave(z)
				continue
			}
			nqn := f.resolveHost(m)
			z.hosts = slices.DeleteFunc(z.hosts, func(x string) bool { return x == nqn })
		}
		f.record("zone", fmt.Sprintf("%s: removed %d members", name, len(members)))
		return concerned, nil
	})
}

func (s *subsystem) leave(z *zone) {
	s.zones = slices.DeleteFunc(s.zones, func(x *zone) bool { return x == z })
}

func (f *Fabric) zone(name string) *zone {
	for _, z := range f.zones {
		if z.name == name {
			return z
		}
	}
	return nil
}

// zonesOf lists the zones that a host is in; f.mu is held.
func (f *Fabric) zonesOf(hostNQN string) []*zone {
	var list []*zone
	for _, z := range f.zones {
		if slices.Contains(z.hosts, hostNQN) {
			list = append(list, z)
		}
	}
	return list
}

// allowed says whether a host may connect to a subsystem; f.mu is held.
func (f *Fabric) allowed(s *subsystem, hostNQN string) bool {
	switch s.cfg.Access {
	case AccessList:
		return s.hosts[hostNQN]
	case AccessZoned:
		return slices.ContainsFunc(s.zones, func(z *zone) bool { return slices.Contains(z.hosts, hostNQN) })
	}
	return true
}
