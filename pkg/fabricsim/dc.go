package fabricsim

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// dc is a discovery controller. Its fields are guarded by fabric.mu.
type dc struct {
	DCConfig
	fabric        *Fabric
	announced     bool
	gen           uint64 // highest generation that any host has
	views         map[string]*view
	extra         []nvme.DiscoveryEntry
	registrations map[string]*Registration // by host NQN
}

func (f *Fabric) addDC(c DCConfig, announce bool) error {
	d := &dc{DCConfig: c, fabric: f, announced: announce, gen: c.Generation, views: make(map[string]*view),
		registrations: make(map[string]*Registration)}
	if c.Announce != nil {
		d.announced = *c.Announce
	}
	for _, other := range f.dcs {
		if other.Name == c.Name || c.NQN != "" && other.NQN == c.NQN {
			return fmt.Errorf("[dc %s] and [dc %s] have the same name or NQN", other.Name, c.Name)
		}
	}
	f.dcs = append(f.dcs, d)
	return nil
}

// checkReferrals refuses what is neither an address nor the name of a discovery controller, which all are there.
func (d *dc) checkReferrals() error {
	for _, r := range d.Referrals {
		if _, _, err := parseReferral(r); err != nil && d.fabric.dc(r) == nil {
			return err
		}
	}
	return nil
}

func (d *dc) on(port string) bool { return slices.Contains(d.Ports, port) }

// nqn is what the controller calls itself.
func (d *DCConfig) nqn() string { return cmp.Or(d.NQN, nvme.DiscoveryNQN) }

// Identify describes the controller.
func (d *dc) Identify(*nvmetcp.Controller) nvme.Identify {
	d.fabric.mu.RLock()
	defer d.fabric.mu.RUnlock()
	id := nvme.Identify{SN: d.Name, MN: "fabricsim", FR: firmware(), CNTRLTYPE: nvme.ControllerDiscovery,
		DCTYPE: d.Type, LPA: nvme.LPAExtendedData, SUBNQN: d.nqn()}
	if d.AEN {
		id.OAES = nvme.OAESDiscovery
	}
	if d.LogPages {
		id.LPA |= nvme.LPASupportedLogPages
	}
	return id
}

// AuthPolicy makes hosts authenticate that have a key.
func (d *dc) AuthPolicy(hostNQN string) nvmetcp.AuthPolicy {
	return d.fabric.authPolicy(hostNQN)
}

// Opened makes the view of a host.
func (d *dc) Opened(c *nvmetcp.Controller) {
	f := d.fabric
	f.mu.Lock()
	v := d.views[c.HostNQN()]
	if v == nil {
		if len(d.views) >= maxViews {
			d.forget()
		}
		m := maker{fabric: f, dc: d, shared: make(map[string][]nvme.DiscoveryEntry)}
		v = &view{gen: d.gen, entries: d.sharedEntries(m.entries(c.HostNQN()))}
		d.views[c.HostNQN()] = v
	}
	v.live++
	f.mu.Unlock()
	f.dropLater(c)
}

// sharedEntries gives the equal slice that another host has, if one does: hundreds of
// hosts with the same page cost no more than one.
func (d *dc) sharedEntries(list []nvme.DiscoveryEntry) []nvme.DiscoveryEntry {
	looked := make(map[*nvme.DiscoveryEntry]bool)
	for _, v := range d.views {
		if len(v.entries) != len(list) || len(list) == 0 || looked[&v.entries[0]] {
			continue
		}
		if slices.Equal(v.entries, list) {
			return v.entries
		}
		looked[&v.entries[0]] = true
	}
	return list
}

// forget drops the views of hosts that are not connected.
func (d *dc) forget() {
	for host, v := range d.views {
		if v.live == 0 {
			delete(d.views, host)
		}
	}
}

// Closed ends the registration that came over this association.
func (d *dc) Closed(c *nvmetcp.Controller, _ error) {
	d.fabric.mu.Lock()
	defer d.fabric.mu.Unlock()
	if v := d.views[c.HostNQN()]; v != nil {
		v.live--
	}
	if r := d.registrations[c.HostNQN()]; r != nil && r.Cntlid == c.ID() {
		delete(d.registrations, c.HostNQN())
	}
}

// SetDC changes one setting of a discovery controller, as its section would; not its
// NQN, ports or announcement.
func (f *Fabric) SetDC(name, key, value string) error {
	var before, after nvme.DCType
	err := f.change(func() (scope, error) {
		d := f.dc(name)
		if d == nil {
			return scope{}, fmt.Errorf("cannot set %s: there is no discovery controller %s", key, name)
		}
		if slices.Contains([]string{"nqn", "ports", "announce", "generation"}, key) {
			return scope{}, fmt.Errorf("cannot set %s of discovery controller %s while it runs", key, name)
		}
		c := d.DCConfig
		if key == "referral" {
			c.Referrals = nil
		}
		if err := c.set(key, value); err != nil {
			return scope{}, fmt.Errorf("cannot set %s of discovery controller %s: %w", key, name, err)
		}
		old := d.DCConfig
		d.DCConfig = c
		if err := d.checkReferrals(); err != nil {
			d.DCConfig = old
			return scope{}, fmt.Errorf("cannot set %s of discovery controller %s: %w", key, name, err)
		}
		before, after = old.Type, c.Type
		f.record("dc", fmt.Sprintf("%s: %s = %s", name, key, value))
		return scope{all: true}, nil
	})
	if before != after { // of which the announcement tells
		f.announceAgain(name)
	}
	return err
}

// RaiseAEN sends the discovery log event to the hosts of a discovery controller, to
// all with host empty, although nothing has changed. It tells how many were concerned.
func (f *Fabric) RaiseAEN(name, host string) (int, error) {
	f.mu.RLock()
	d := f.dc(name)
	nqn := f.resolveHost(host)
	f.mu.RUnlock()
	if d == nil {
		return 0, fmt.Errorf("cannot raise an event: there is no discovery controller %s", name)
	}
	n := 0
	for _, c := range f.target.Controllers() {
		if c.Backend() == nvmetcp.Backend(d) && (host == "" || c.HostNQN() == nqn) {
			f.spawn(func() { c.Notify(nvme.AENDiscoveryLogChange) }) // a host that does not read delays nobody
			n++
		}
	}
	if n == 0 {
		return 0, errors.New("cannot raise an event: no such host is connected")
	}
	return n, nil
}
