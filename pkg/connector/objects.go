package connector

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/schedule"
	"github.com/stas-go/stas/pkg/tid"
	"github.com/stas-go/stas/pkg/veto"
)

// Observer is told what happens to controllers, by their keys. Its methods return at once.
type Observer interface {
	ControllerChanged(key string) // it came, went or changed
	ControllerConnected(key string)
	ControllerLost(key string)
	ControllerGivenUp(key, reason string)
}

// objects is what a Connector keeps for those who look at its controllers one by one.
type objects struct {
	out    Observer
	byKey  map[string]*ioc
	adrift map[string]*stray    // ours that nothing wants, by key
	off    map[tid.TID]struct{} // disconnected on request, and to be left alone

	outdated int // connections whose next one will have other parameters
	counted  int // outdated, as was last told
}

// objectState is the part of an ioc that serves its object.
type objectState struct {
	key   string
	again bool // its disconnect was asked for in order to connect it anew
	parts bool // its disconnect was asked for, and is yet to be seen
	live  bool // as was last told
	given bool // as was last told
	dated bool // counted in objects.outdated

	made   *tid.Params // what its connection was made with, nil where another run has made it
	madeAs int         // instance of that connection
	inode  uint64      // of its device, once it was seen

	failed *failedDisconnect // the last one that was asked for, nil where it did not fail
}

// failedDisconnect is why a disconnect that was asked for has failed, and when.
type failedDisconnect struct {
	err error
	at  time.Time
}

func newObjects() objects {
	return objects{out: silent{}, byKey: map[string]*ioc{}, adrift: map[string]*stray{}, off: map[tid.TID]struct{}{}}
}

// Observe sets who is told. Call it before [Connector.Run].
func (c *Connector) Observe(o Observer) { c.objects.out = o }

// enter gives a new ioc its key.
func (c *Connector) enter(i *ioc) {
	c.evict(keyOf(i.id, 1))
	i.object.key = c.freeKey(i.id)
	c.objects.byKey[i.object.key] = i
}

// keyOf names a controller: FNV-1a of what identifies it, which is the same after a restart. Further ones of the
// same hash have a number.
func keyOf(t tid.TID, n int) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s;%s;%s;%s;%s;%s;%s", t.Transport, t.Traddr, t.Trsvcid, t.NQN, t.HostTraddr, t.HostIface, t.HostNQN)
	if n > 1 {
		return fmt.Sprintf("%016x-%d", h.Sum64(), n)
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

func (c *Connector) freeKey(t tid.TID) string {
	for n := 1; ; n++ {
		key := keyOf(t, n)
		if c.objects.byKey[key] == nil && c.objects.adrift[key] == nil {
			return key
		}
	}
}

// leave is the end of an ioc.
func (c *Connector) leave(i *ioc) {
	c.setOutdated(i, false)
	delete(c.objects.byKey, i.object.key)
	c.objects.out.ControllerChanged(i.object.key)
}

// moved is told by the scheduler.
func (c *Connector) moved(id tid.TID) {
	if i := c.iocs[id]; i != nil {
		c.objects.out.ControllerChanged(i.object.key)
	}
}

// tended tells of i after it was looked at.
func (c *Connector) tended(i *ioc) {
	o := &i.object
	if i.device != nil && o.made != nil && o.inode == 0 && i.device.Instance == o.madeAs {
		o.inode = i.device.Inode
	}
	if i.device == nil && o.again && !c.sched.Busy(i.id) {
		o.again = false
		c.kick(i)
	}
	c.setOutdated(i, i.ours && len(i.pending()) > 0)
	live := i.live && i.device != nil
	switch {
	case live && !o.live:
		c.objects.out.ControllerConnected(o.key)
	case !live && o.live:
		c.objects.out.ControllerLost(o.key)
	case i.gaveUp && !o.given: // that is told below, if need be together with the loss
	default:
		c.objects.out.ControllerChanged(o.key)
	}
	if i.gaveUp && !o.given {
		c.objects.out.ControllerGivenUp(o.key, "all discovery controllers report no contact to the central one (NCC)")
	}
	o.live, o.given = live, i.gaveUp
}

func (c *Connector) kick(i *ioc) {
	c.sched.Kick(func(t schedule.Target) bool { return t.TID == i.id })
}

// remember notes what a connection was made with.
func (c *Connector) remember(t schedule.Target, r schedule.Result) {
	if i := c.iocs[t.TID]; i != nil && r.Err == nil {
		i.object.made, i.object.madeAs, i.object.inode = t.Params, r.Connection.Instance, 0
	}
}

// readmit ends what Disconnect began, for all.
func (c *Connector) readmit() { clear(c.objects.off) }

// parted says whether i was disconnected on request, and sees to that.
func (c *Connector) parted(i *ioc) bool {
	if _, off := c.objects.off[i.id]; !off {
		return false
	}
	c.sched.Drop(i.id)
	return true
}

// freedOnRequest notes the end of a disconnect. One that failed is over: the controller is wanted again.
func (c *Connector) freedOnRequest(id tid.TID, err error) {
	i := c.iocs[id]
	if i == nil || err == nil {
		return
	}
	i.object.again, i.object.parts = false, false
	i.object.failed = &failedDisconnect{err, time.Now()}
	delete(c.objects.off, id)
}

// Errors of requests.
var (
	errNotWanted = errors.New("nothing calls for it")
	errExcluded  = errors.New("it is excluded")
	errFirmware  = errors.New("it is a boot connection of the firmware")
	errBusy      = errors.New("it is being connected or disconnected")
)

// reconnect makes the connection of a controller anew.
func (c *Connector) reconnect(key string) error {
	i := c.objects.byKey[key]
	switch {
	case i == nil && c.objects.adrift[key] != nil:
		return errNotWanted
	case i == nil:
		return bus.ErrNoController
	case !i.wanted():
		return errNotWanted
	case veto.Matches(c.excludes, i.id, i.host) || c.opts.Excluded(i.id, i.host):
		return errExcluded
	case c.opts.Firmwares(tid.IO, i.id):
		return errFirmware
	}
	if i.device != nil {
		if err := c.part(i); err != nil {
			return err
		}
		i.object.again = true
	}
	delete(c.objects.off, i.id)
	i.gaveUp = false
	c.kick(i)
	c.touch(i)
	return nil
}

// disconnect ends the connection of a controller and has it left alone.
func (c *Connector) disconnect(key string) error {
	i := c.objects.byKey[key]
	switch s := c.objects.adrift[key]; {
	case i == nil && s != nil:
		return c.disconnectStray(s)
	case i == nil:
		return bus.ErrNoController
	case i.device == nil && (c.flies(i) || c.sched.Busy(i.id) || i.landing != ""):
		return errBusy
	case i.device != nil:
		if err := c.part(i); err != nil {
			return err
		}
	}
	i.object.again = false
	c.objects.off[i.id] = struct{}{}
	c.log.Info("disconnecting on request; it is left alone until a reload or stacctl reconnect", "ioc", i.id)
	c.touch(i)
	return nil
}

// flies says whether a connect of i was handed to the kernel, which may have begun with it.
func (c *Connector) flies(i *ioc) bool {
	return c.sched.Connecting(func(t tid.TID) bool { return t == i.id })
}

// part has the connection of i removed, if that may be.
func (c *Connector) part(i *ioc) error {
	if err := c.mayEnd(i.device, c.sched.Busy(i.id)); err != nil {
		return err
	}
	c.sched.Disconnect(i.id, kernel.DisconnectRequest{Name: i.device.Name, Expect: i.device.Identity()})
	i.object.parts = true
	return nil
}

// mayEnd says why a connection must not be ended on request.
func (c *Connector) mayEnd(d *kernel.Controller, busy bool) error {
	if c.opts.Protected(d) {
		return fmt.Errorf("%s: %w", d.Name, errFirmware)
	}
	if owner := c.opts.Ownership.Owner(d.Name); !owner.Is(Owner) {
		return fmt.Errorf("%s is not ours, its owner is %s", d.Name, owner)
	}
	if busy {
		return fmt.Errorf("%s: %w", d.Name, errBusy)
	}
	return nil
}

var _ bus.IOControllers = View{}

// Reconnect implements [bus.IOControllers].
func (v View) Reconnect(ctx context.Context, key string) error {
	return v.request(ctx, "reconnect", key, v.c.reconnect)
}

// Disconnect implements [bus.IOControllers].
func (v View) Disconnect(ctx context.Context, key string) error {
	return v.request(ctx, "disconnect", key, v.c.disconnect)
}

func (v View) request(ctx context.Context, what, key string, do func(string) error) error {
	refused, err := loop.Ask(ctx, v.c.loop, func() error { return do(key) })
	if err == nil && refused != nil {
		return fmt.Errorf("cannot %s %s: %w", what, key, refused)
	}
	return err
}

// portion is how many controllers are described in one turn of the loop, which has other work.
const portion = 256

// IOControllers implements [bus.IOControllers].
func (v View) IOControllers(ctx context.Context, keys []string) ([]bus.IOController, error) {
	if keys == nil {
		all, err := loop.Ask(ctx, v.c.loop, func() []string {
			return slices.AppendSeq(slices.Collect(maps.Keys(v.c.objects.byKey)), maps.Keys(v.c.objects.adrift))
		})
		if err != nil {
			return nil, err
		}
		keys = all
	}
	list := make([]bus.IOController, 0, len(keys))
	for part := range slices.Chunk(keys, portion) {
		some, err := loop.Ask(ctx, v.c.loop, func() []bus.IOController {
			some := make([]bus.IOController, 0, len(part))
			for _, key := range part {
				if i := v.c.objects.byKey[key]; i != nil {
					some = append(some, v.c.describe(i))
				} else if s := v.c.objects.adrift[key]; s != nil {
					some = append(some, v.c.describeStray(s))
				}
			}
			return some
		})
		if err != nil {
			return nil, err
		}
		for n := range some {
			v.c.lookUpDevice(&some[n])
		}
		list = append(list, some...)
	}
	return list, nil
}
