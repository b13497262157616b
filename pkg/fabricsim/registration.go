package fabricsim

import (
	"fmt"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// Registration is what a host has told a discovery controller of itself.
type Registration struct {
	DC           string    `json:"dc"`
	HostNQN      string    `json:"host_nqn"`
	HostID       string    `json:"host_id"`
	Type         string    `json:"type"` // host, ddc, cdc
	Name         string    `json:"name,omitempty"`
	Version      string    `json:"version,omitempty"`
	SymbolicName string    `json:"symbolic_name,omitempty"`
	Address      string    `json:"address"`
	Cntlid       uint16    `json:"cntlid"`
	Since        time.Time `json:"since"`
	Updates      int       `json:"updates"`
}

// DIM takes a registration, its update and its end.
func (d *dc) DIM(c *nvmetcp.Controller, task nvme.DIMTask, data *nvme.DIM) error {
	f := d.fabric
	f.mu.Lock()
	defer f.mu.Unlock()
	if !d.Register {
		return nvme.StatusInvalidOpcode | nvme.StatusDNR
	}
	if data.NQN != c.HostNQN() {
		return fmt.Errorf("registration of %s by %s: %w", data.NQN, c.HostNQN(), nvme.StatusInvalidDiscovery|nvme.StatusDNR)
	}
	note := Event{Kind: "register", Port: c.Port(), Host: c.HostNQN(), Address: c.Remote().String(),
		Subsystem: c.SubNQN(), Cntlid: c.ID()}
	before := d.registrations[data.NQN]
	switch task {
	case nvme.DIMRegister:
		d.registrations[data.NQN] = newRegistration(d, c, data, data.Entries[0])
		note.Detail = fmt.Sprintf("registered, symbolic name %q", data.Entries[0].SymbolicName)
	case nvme.DIMDeregister:
		delete(d.registrations, data.NQN)
		note.Detail = "deregistered"
	case nvme.DIMUpdate:
		if len(data.Entries) != 2 || before == nil {
			return fmt.Errorf("update with %d entries: %w", len(data.Entries), nvme.StatusInvalidDiscovery|nvme.StatusDNR)
		}
		r := newRegistration(d, c, data, data.Entries[1])
		r.Since, r.Updates = before.Since, before.Updates+1
		d.registrations[data.NQN] = r
		note.Detail = fmt.Sprintf("updated, symbolic name %q", r.SymbolicName)
	default:
		return nvme.StatusInvalidField | nvme.StatusDNR
	}
	f.events.add(note)
	return nil
}

func newRegistration(d *dc, c *nvmetcp.Controller, data *nvme.DIM, e nvme.DIMEntry) *Registration {
	r := &Registration{DC: d.Name, HostNQN: data.NQN, HostID: e.HostID.String(), Name: data.Name, Version: data.Version,
		SymbolicName: e.SymbolicName, Address: e.Traddr, Cntlid: c.ID(), Since: time.Now()}
	if e.Traddr == "" {
		r.Address = c.Remote().Addr().String()
	}
	switch data.EntityType {
	case nvme.DIMHost:
		r.Type = "host"
	case nvme.DIMDDC:
		r.Type = "ddc"
	case nvme.DIMCDC:
		r.Type = "cdc"
	}
	return r
}
