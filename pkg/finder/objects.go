package finder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
)

// Observer is told which controllers came, went or changed, by their keys. It returns at once.
type Observer interface {
	ControllerChanged(key string)
}

// objectState is the part of a dc that serves its object.
type objectState struct {
	again    bool  // its disconnect was asked for in order to connect it anew
	dated    bool  // counted in Finder.outdated
	failed   error // of the last disconnect that was asked for
	failedAt time.Time

	made     *tid.Params // what its connection was made with
	madeName string      // device of that connection
	inode    uint64      // of that device, once it was seen
}

// Observe sets who is told. Call it before [Finder.Run].
func (f *Finder) Observe(o Observer) { f.observer = o }

func (f *Finder) tell(d *dc) {
	if f.observer != nil {
		f.observer.ControllerChanged(d.key)
	}
}

// tellReferred tells of those whose origin is a controller that came or went, by whose name it is shown. One pass
// is for all that did: a page may bring tens of thousands.
func (f *Finder) tellReferred() {
	if len(f.renamed) == 0 {
		return
	}
	for _, d := range f.dcs {
		for _, s := range d.want.Sources {
			if _, is := f.renamed[s.Detail]; is && s.Origin == Referred {
				f.tell(d)
			}
		}
	}
	clear(f.renamed)
}

// moved is told by the scheduler.
func (f *Finder) moved(id tid.TID) {
	for _, d := range f.places[placeOf(id)] {
		f.tell(d)
	}
}

// tended tells of d after it was looked at.
func (f *Finder) tended(d *dc) {
	if o := &d.object; d.device != nil && o.inode == 0 && d.device.Name == o.madeName {
		o.inode = d.device.Inode
	}
	f.setOutdated(d, d.foreign == "" && len(d.pending()) > 0)
	if d.device == nil && d.object.again && !f.sched.Busy(d.id()) {
		d.object.again = false
		f.kick(d)
	}
	f.tell(d)
}

func (f *Finder) kick(d *dc) {
	f.sched.Kick(func(t schedule.Target) bool { return t.TID == d.id() })
}

// freedOnRequest notes the end of a disconnect.
func (f *Finder) freedOnRequest(id tid.TID, err error) {
	if err == nil {
		return
	}
	for _, d := range f.places[placeOf(id)] {
		if d.id() == id {
			d.object.again, d.object.failed, d.object.failedAt = false, err, time.Now()
		}
	}
}

// Errors of requests.
var (
	errNotWanted = errors.New("no source names it")
	errExcluded  = errors.New("it is excluded")
	errBusy      = errors.New("it is being connected or disconnected")
)

// reconnect makes the connection of a controller anew, or tries at once where there is none.
func (f *Finder) reconnect(key string) error {
	d := f.dcs[key]
	switch {
	case d == nil:
		return bus.ErrNoController
	case d.out || d.disposition == forgotten:
		return errNotWanted
	case d.disposition == frozen:
		return errExcluded
	}
	if d.device != nil {
		name := d.device.Name
		if owner := f.opts.Ownership.Owner(name); !owner.Is(Owner) {
			return fmt.Errorf("%s is not ours, its owner is %s", name, owner)
		}
		if f.sched.Busy(d.id()) {
			return fmt.Errorf("%s: %w", name, errBusy)
		}
		d.object.again = true
		f.sched.Disconnect(d.id(), disconnectRequest(d.device))
	}
	f.unpark(d)
	f.kick(d)
	f.touch(d)
	return nil
}

// reread has the log page of a controller read now, whatever waits.
func (f *Finder) reread(key string) error {
	d := f.dcs[key]
	switch {
	case d == nil:
		return bus.ErrNoController
	case d.out || d.disposition == forgotten:
		return errNotWanted
	case d.disposition == frozen:
		return errExcluded
	}
	for s := range d.retry {
		stop(&d.retry[s])
		d.retryAt[s] = time.Time{}
	}
	d.dirty = true
	f.unpark(d)
	f.kick(d)
	f.touch(d)
	return nil
}

func (f *Finder) unpark(d *dc) {
	d.parked = false
	stop(&d.timers.poll)
}

var _ bus.DiscoveryControllers = View{}

// Reconnect implements [bus.DiscoveryControllers].
func (v View) Reconnect(ctx context.Context, key string) error {
	return v.request(ctx, "reconnect", key, v.f.reconnect)
}

// Refresh implements [bus.DiscoveryControllers].
func (v View) Refresh(ctx context.Context, key string) error {
	return v.request(ctx, "refresh", key, v.f.reread)
}

func (v View) request(ctx context.Context, what, key string, do func(string) error) error {
	refused, err := loop.Ask(ctx, v.f.loop, func() error { return do(key) })
	if err == nil && refused != nil {
		return fmt.Errorf("cannot %s %s: %w", what, key, refused)
	}
	return err
}

// portion is how many controllers are described in one turn of the loop, which has other work.
const portion = 256

// DiscoveryControllers implements [bus.DiscoveryControllers].
func (v View) DiscoveryControllers(ctx context.Context, keys []string) ([]bus.DiscoveryController, error) {
	if keys == nil {
		all, err := loop.Ask(ctx, v.f.loop, func() []string { return slices.Collect(maps.Keys(v.f.dcs)) })
		if err != nil {
			return nil, err
		}
		keys = all
	}
	list := make([]bus.DiscoveryController, 0, len(keys))
	for part := range slices.Chunk(keys, portion) {
		some, err := loop.Ask(ctx, v.f.loop, func() []bus.DiscoveryController {
			some := make([]bus.DiscoveryController, 0, len(part))
			for _, key := range part {
				if d := v.f.dcs[key]; d != nil {
					some = append(some, v.f.describeObject(d))
				}
			}
			return some
		})
		if err != nil {
			return nil, err
		}
		for n := range some {
			v.f.lookUpDevice(&some[n])
		}
		list = append(list, some...)
	}
	return list, nil
}

// lookUpDevice completes o with what the kernel and other tools change without telling. It is called off
// the loop.
func (f *Finder) lookUpDevice(o *bus.DiscoveryController) {
	if o.Device == "" {
		return
	}
	o.Owner = f.opts.Ownership.Owner(o.Device).Name()
	now, err := f.opts.Read(o.Device)
	if err != nil {
		return // an event will tell
	}
	o.KernelState = now.State
	switch live := now.State == kernel.StateLive; {
	case o.SessionState == stateHeld && !live:
		o.SessionState = stateReconnecting
	case o.SessionState == stateReconnecting && live:
		o.SessionState = stateHeld
	}
}
