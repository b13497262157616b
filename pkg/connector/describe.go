package connector

import (
	"strings"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
	"github.com/stas-go/stas/pkg/veto"
)

// States of a controller, as the bus and the tools show them.
const (
	stateIdle          = "idle"
	stateWaiting       = "waiting"
	stateNoKey         = "no-key" // waiting, and a key that is demanded is missing
	stateProbing       = "probing"
	stateQueued        = "queued"
	stateConnecting    = "connecting"
	stateReconnecting  = "reconnecting" // the kernel is at it
	stateConnected     = "connected"
	stateDisconnecting = "disconnecting"
	stateDisconnected  = "disconnected" // on request
	stateGivenUp       = "given-up"
	stateExcluded      = "excluded"
	stateUnlisted      = "unlisted"  // nothing wants it; a connection of it is kept for a reason, or about to go
	stateDuplicate     = "duplicate" // another description of the same connection is in use
	stateForeign       = "foreign"
	stateBoot          = "boot"
	stateNoIdentity    = "no-identity"
)

// describe gives what the loop knows of i.
func (c *Connector) describe(i *ioc) bus.IOController {
	s := c.sched.Status(i.id)
	o := bus.IOController{Key: i.object.key, ID: busID(i.id), HostID: i.host.ID,
		State: c.state(i, s), Attempts: uint32(s.Attempts), NextRetry: s.Next}
	if s.LastErr != nil {
		o.LastError, o.LastErrorTime = s.LastErr.Error(), s.FailedAt
	}
	if f := i.object.failed; f != nil && f.at.After(o.LastErrorTime) {
		o.LastError, o.LastErrorTime = f.err.Error(), f.at
	}
	if i.line != nil {
		o.Reasons = append(o.Reasons, "configured "+i.line.Where)
	}
	for _, l := range i.listed {
		reason := "listed by " + l.by.dc.String()
		if !l.by.adds() {
			reason += " (" + string(l.by.meta.Disposition) + ")"
		}
		o.Reasons = append(o.Reasons, reason)
	}
	if i.device != nil {
		o.Device, o.KernelState, o.SrcAddr = i.device.Name, i.device.State, i.device.SrcAddr
		o.PendingChanges = i.pending()
	}
	return o
}

func (c *Connector) state(i *ioc, s schedule.Status) string {
	_, off := c.objects.off[i.id]
	switch {
	case s.State == schedule.Connecting:
		return stateConnecting
	case c.sched.Busy(i.id), i.object.parts:
		return stateDisconnecting
	case off && i.device == nil:
		return stateDisconnected
	case veto.Matches(c.excludes, i.id, i.host):
		return stateExcluded
	case i.device != nil:
		return c.stateConnected(i)
	case c.identity.Host.NQN == "":
		return stateNoIdentity
	case !i.wanted():
		return stateUnlisted
	case i.gaveUp:
		return stateGivenUp
	}
	switch s.State {
	case schedule.Probing:
		return stateProbing
	case schedule.Ready:
		return stateQueued
	case schedule.Waiting:
		if kernel.KeyMissing(s.LastErr) {
			return stateNoKey
		}
		return stateWaiting
	case schedule.Up:
		return stateConnecting // made, and about to be seen
	}
	switch {
	case c.covered(i):
		return stateDuplicate
	case c.opts.Firmwares(tid.IO, i.id):
		return stateBoot
	case c.opts.Excluded(i.id, i.host):
		return stateExcluded
	}
	return stateIdle
}

func (c *Connector) stateConnected(i *ioc) string {
	switch {
	case c.opts.Protected(i.device) || c.opts.Firmwares(tid.IO, i.id):
		return stateBoot
	case i.foreign != "":
		return stateForeign
	case i.device.State != kernel.StateLive:
		return stateReconnecting
	case !i.wanted():
		return stateUnlisted
	}
	return stateConnected
}

// pending names the parameters that the next connect would set to another value.
func (i *ioc) pending() []string {
	if i.params == nil || i.device == nil || !i.wanted() {
		return nil
	}
	var names []string
	if i.device.HostID != "" && i.host.ID != "" && !strings.EqualFold(i.device.HostID, i.host.ID) {
		names = append(names, "host-id")
	}
	switch o := &i.object; {
	case o.made == nil || o.inode != i.device.Inode:
		names = append(names, i.device.Differing(i.params)...)
	case o.made != i.params && *o.made != *i.params:
		names = append(names, config.Differing(*o.made, *i.params)...)
	}
	return names
}

// lookUpDevice completes o with what the kernel and other tools change without telling. It is called off
// the loop.
func (c *Connector) lookUpDevice(o *bus.IOController) {
	if o.Device == "" {
		return
	}
	o.Owner = c.opts.Ownership.Owner(o.Device).Name()
	if c.opts.Attached == nil {
		return
	}
	now, err := c.opts.Attached(o.Device)
	if err != nil {
		return // an event will tell
	}
	o.KernelState, o.Subsystem, o.BlockDevices = now.State, now.Subsystem, now.BlockDevices
	switch live := now.State == kernel.StateLive; {
	case o.State == stateConnected && !live:
		o.State = stateReconnecting
	case o.State == stateReconnecting && live:
		o.State = stateConnected
	}
}

// silent is the Observer of a Connector that has none.
type silent struct{}

func (silent) ControllerChanged(string)         {}
func (silent) ControllerConnected(string)       {}
func (silent) ControllerLost(string)            {}
func (silent) ControllerGivenUp(string, string) {}
