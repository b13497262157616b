package fabricsim

import (
	"fmt"
	"maps"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// anaTransition is ANATT: how long the state "change" may last, in seconds.
const anaTransition = 10

// ana is how the ports of a subsystem reach its namespaces.
type ana struct {
	states  map[string]nvme.ANAState // by port; optimized where there is none; nil: not reported
	changes uint64
}

func newANA(states map[string]nvme.ANAState) ana { return ana{states: maps.Clone(states)} }

// at is 0 where the subsystem does not report its states: each host would read a log page
// more, twice for each controller.
func (a *ana) at(port string) nvme.ANAState {
	if s, ok := a.states[port]; ok || a.states == nil {
		return s
	}
	return nvme.ANAOptimized
}

// identify says in Identify Controller that states are reported.
func (a *ana) identify(id *nvme.Identify) {
	if a.states == nil {
		return
	}
	id.CMIC |= nvme.CMICANA
	id.OAES |= nvme.OAESANA
	id.MNAN = maxNamespaces
	id.ANATT, id.ANACAP = anaTransition, nvme.ANACapabilities
	id.ANAGRPMAX, id.NANAGRPID = 1, 1
}

// ANAState tells how a controller reaches the namespaces: as its port does.
func (s *subsystem) ANAState(c *nvmetcp.Controller) nvme.ANAState {
	s.fabric.mu.RLock()
	defer s.fabric.mu.RUnlock()
	return s.ana.at(c.Port())
}

// anaLog is log page 0Ch: all namespaces are one group.
func (s *subsystem) anaLog(c *nvmetcp.Controller, groupsOnly bool) []byte {
	s.fabric.mu.RLock()
	defer s.fabric.mu.RUnlock()
	g := nvme.ANAGroup{ID: 1, Changes: s.ana.changes, State: s.ana.at(c.Port())}
	for i := range s.namespaces {
		g.NSIDs = append(g.NSIDs, s.namespaces[i].NSID)
	}
	return nvme.EncodeANALog(s.ana.changes, []nvme.ANAGroup{g}, groupsOnly)
}

// SetANA changes how a port reaches the namespaces of a subsystem, and tells the hosts
// that are connected there.
func (f *Fabric) SetANA(name, port string, state nvme.ANAState) error {
	f.mu.Lock()
	s := f.lookup(name)
	if s == nil || !s.on(port) {
		f.mu.Unlock()
		return fmt.Errorf("cannot set the state of subsystem %s at port %s: it is not there", name, port)
	}
	if s.ana.states == nil {
		f.mu.Unlock()
		return fmt.Errorf("cannot set the state of subsystem %s at port %s: it was made without ana", name, port)
	}
	if s.ana.at(port) == state {
		f.mu.Unlock()
		return nil
	}
	s.ana.states[port] = state
	s.ana.changes++
	f.mu.Unlock()
	f.events.add(Event{Kind: "ana", Port: port, Subsystem: s.nqn, Detail: state.String()})
	for _, c := range f.target.Controllers() {
		if c.Backend() == nvmetcp.Backend(s) && c.Port() == port {
			f.spawn(func() { c.Notify(nvme.AENANAChange) })
		}
	}
	return nil
}
