package connector

import (
	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/kernel"
)

// Connections of ours that nothing wants are shown too: they are kept for a reason, or about to go.
// Where what wanted one was forgotten, its object goes on under the same key.

// strayTended tells of s after it was looked at.
func (c *Connector) strayTended(s *stray) {
	switch {
	case c.strays[s.ctrl.Name] != s: // something has taken it up
	case !s.ours:
		c.strayLeft(s)
	case s.key == "":
		s.key = c.freeKey(s.id)
		c.objects.adrift[s.key] = s
		c.objects.out.ControllerChanged(s.key)
	default:
		c.objects.out.ControllerChanged(s.key)
	}
}

// strayLeft is the end of the object of s.
func (c *Connector) strayLeft(s *stray) {
	if s.key != "" {
		delete(c.objects.adrift, s.key)
		c.objects.out.ControllerChanged(s.key)
		s.key = ""
	}
}

// evict takes the key of a stray away for an ioc, which has the older right to it.
func (c *Connector) evict(key string) {
	if s := c.objects.adrift[key]; s != nil {
		delete(c.objects.adrift, key)
		s.key = ""
		c.loose[s] = struct{}{}
	}
}

func (c *Connector) describeStray(s *stray) bus.IOController {
	o := bus.IOController{Key: s.key, ID: busID(s.id), HostID: s.ctrl.HostID, State: stateUnlisted,
		Device: s.ctrl.Name, KernelState: s.ctrl.State, SrcAddr: s.ctrl.SrcAddr}
	switch {
	case c.deleting(s):
		o.State = stateDisconnecting
	case s.why != verdictRemove:
		o.Reasons = []string{"kept: " + s.why}
	}
	return o
}

// disconnectStray ends a connection that nothing wants, on request: whatever keeps it but what protects it.
func (c *Connector) disconnectStray(s *stray) error {
	if err := c.mayEnd(s.ctrl, c.deleting(s)); err != nil {
		return err
	}
	c.log.Info("disconnecting on request", "ioc", s.id, "device", s.ctrl.Name)
	c.sched.Disconnect(s.id, kernel.DisconnectRequest{Name: s.ctrl.Name, Expect: s.ctrl.Identity()})
	c.loose[s] = struct{}{}
	return nil
}
