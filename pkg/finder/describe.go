package finder

import (
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/schedule"
)

// States of a session, as the bus and the tools show them.
const (
	stateIdle          = "idle"
	stateWaiting       = "waiting"
	stateNoKey         = "no-key" // waiting, and a key that is demanded is missing
	stateProbing       = "probing"
	stateQueued        = "queued"
	stateConnecting    = "connecting"
	stateReconnecting  = "reconnecting" // the kernel is at it
	stateDisconnecting = "disconnecting"
	stateIdentifying   = "identifying"
	stateRegistering   = "registering"
	stateReading       = "reading"
	stateHeld          = "held"
	stateParked        = "parked"
	stateFrozen        = "frozen"
	stateExcluded      = "excluded"
	stateForgotten     = "forgotten"
	stateForeign       = "foreign"
	stateNoIdentity    = "no-identity"
)

// Registrations of this host, as shown.
const (
	registrationNone    = "none" // the controller takes none
	registrationPending = "pending"
	registrationDone    = "registered"
	registrationFailed  = "failed"
)

// describeObject gives what the loop knows of d.
func (f *Finder) describeObject(d *dc) bus.DiscoveryController {
	s := f.sched.Status(d.id())
	o := bus.DiscoveryController{Key: d.key, ID: busID(d.id()), HostID: d.want.Host.ID, SessionState: f.sessionState(d, s),
		NextRetry: s.Next, Registration: d.registration(), Parked: d.parked, Disposition: bus.Disposition(d.disposition.String())}
	for _, source := range d.want.Sources {
		o.Origins = append(o.Origins, f.originText(source))
	}
	if d.device != nil {
		o.Device, o.KernelState, o.PendingChanges = d.device.Name, d.device.State, d.pending()
	}
	for _, at := range d.retryAt {
		if !at.IsZero() && (o.NextRetry.IsZero() || at.Before(o.NextRetry)) {
			o.NextRetry = at
		}
	}
	for _, failed := range []struct {
		err error
		at  time.Time
	}{{s.LastErr, s.FailedAt}, {d.lastErr, d.lastErrAt}, {d.object.failed, d.object.failedAt}} {
		if failed.err != nil && failed.at.After(o.LastErrorTime) {
			o.LastError, o.LastErrorTime = failed.err.Error(), failed.at
		}
	}
	if d.page != nil {
		o.PageGeneration, o.Records, o.PageReadTime = d.page.genctr, uint32(len(d.page.entries)), d.page.readAt
	}
	return o
}

// originText spells a source: its kind and where exactly it says so.
func (f *Finder) originText(s Source) string {
	detail := s.Detail
	if parent := f.dcs[detail]; s.Origin == Referred && parent != nil {
		detail = parent.id().String()
	}
	if detail == "" {
		return s.Origin.String()
	}
	return s.Origin.String() + " " + detail
}

func (d *dc) registration() string {
	switch {
	case !d.registrable():
		return registrationNone
	case d.registered:
		return registrationDone
	case d.errs[register] != nil:
		return registrationFailed
	}
	return registrationPending
}

func (f *Finder) sessionState(d *dc, s schedule.Status) string {
	switch {
	case s.State == schedule.Connecting && !d.live():
		return stateConnecting
	case d.device != nil && s.State != schedule.Connecting && f.sched.Busy(d.id()):
		return stateDisconnecting
	case d.disposition == forgotten:
		return stateForgotten
	case d.out:
		return stateExcluded
	case d.disposition == frozen:
		return stateFrozen
	case d.parked:
		return stateParked
	case d.device != nil:
		return d.connectedState()
	case f.identity.Host.NQN == "":
		return stateNoIdentity
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
	return stateIdle
}

func (d *dc) connectedState() string {
	switch {
	case d.foreign != "":
		return stateForeign
	case !d.live() && d.identified == nil:
		return stateConnecting // its first connect is not through
	case !d.live():
		return stateReconnecting
	case d.busy == identify:
		return stateIdentifying
	case d.busy == register:
		return stateRegistering
	case d.busy == supported || d.busy == read:
		return stateReading
	case d.identified == nil && d.retry[identify] != nil:
		return stateWaiting
	case d.page == nil && d.retry[read] != nil:
		return stateWaiting
	}
	return stateHeld
}
