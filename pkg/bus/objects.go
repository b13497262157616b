package bus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
)

// Pace of the signals about objects.
const (
	gather   = 20 * time.Millisecond // a burst of changes becomes one signal per object
	share    = 50                    // telling takes one part in so many of the time, however many changes there are
	longest  = time.Second           // but nobody waits longer than this for the next
	lateLook = 2 * time.Second       // namespaces show up after their controller, without telling
	portion  = 512                   // objects that are asked for at a time
)

// event is a signal that tells what happened to an object, beside its properties.
type event struct {
	member string // empty for none
	reason string
	why    bool // reason is an argument of the signal
}

// objects is the children of a daemon's object: one for each controller, with its
// properties made from the daemon's state whenever somebody has a use for them.
//
// All that is kept of an object is what was last said of it, as digests. State is read
// by one at a time, and whoever reads it also sends what has changed since the last time: so
// nobody can have seen a value of which the others were not told, and a client that
// applies all signals to the answer of GetManagedObjects ends up with the state.
type objects[T any] struct {
	kind[T]
	root   dbus.ObjectPath
	events string // interface of the events
	read   func(ctx context.Context, keys []string) ([]T, error)

	mu       sync.Mutex
	pending  map[string]event // by key; nil while there is no bus
	overflow bool
	wake     chan struct{}

	told atomic.Pointer[told] // nil while there is no bus
}

// told is what one connection was told.
type told struct {
	conn *dbus.Conn
	turn chan struct{} // holds the one who reads and sends, and guards what follows

	primed bool // sent covers all objects
	sent   map[string][]uint64
	spare  []uint64
}

func newObjects[T any](k kind[T], root dbus.ObjectPath, events string, read func(context.Context, []string) ([]T, error)) *objects[T] {
	return &objects[T]{kind: k, root: root, events: events, read: read, wake: make(chan struct{}, 1)}
}

// publisher is objects of whatever kind, as the server drives them.
type publisher interface {
	open(conn *dbus.Conn)
	run(ctx context.Context) error
	close()
}

func (o *objects[T]) prefix() string { return string(o.root) + "/controller" }

func (o *objects[T]) path(key string) dbus.ObjectPath {
	return dbus.ObjectPath(o.prefix() + "/" + pathElement(key))
}

// mark notes that an object came, went or changed. It never blocks.
func (o *objects[T]) mark(key string, ev event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pending == nil {
		return
	}
	last, ok := o.pending[key]
	switch {
	case !ok && len(o.pending) == maxPending:
		o.overflow = true
	case ev.member == "" && ok:
		ev = last
	}
	if !o.overflow {
		o.pending[key] = ev
	}
	o.rouse()
}

// again notes that objects are still due, and has them looked at in a second, or with what comes before. An event
// that came meanwhile is newer.
func (o *objects[T]) again(keys []string, batch map[string]event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pending == nil {
		return
	}
	for _, key := range keys {
		switch newer, ok := o.pending[key]; {
		case !ok && len(o.pending) == maxPending:
			o.overflow = true
		case newer.member == "":
			o.pending[key] = batch[key]
		}
	}
	time.AfterFunc(time.Second, o.rouse)
}

func (o *objects[T]) rouse() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *objects[T]) take() (map[string]event, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.pending
	if taken != nil {
		o.pending = map[string]event{}
	}
	return taken, o.overflow
}

// open begins to keep track for a new connection, before it has its name.
func (o *objects[T]) open(conn *dbus.Conn) {
	o.told.Store(&told{conn: conn, turn: make(chan struct{}, 1), sent: map[string][]uint64{}})
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pending, o.overflow = map[string]event{}, false
}

func (o *objects[T]) close() {
	o.told.Store(nil)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pending = nil
}

// run sends what changes until ctx ends. An error means that what was sent is not all.
// A lone change is told at once. The more it takes to tell, the longer changes are gathered: while hundreds of
// controllers are being connected, connecting them comes first.
func (o *objects[T]) run(ctx context.Context) error {
	var next time.Time // not before
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-o.wake:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(gather, time.Until(next))):
		}
		batch, overflow := o.take()
		if overflow {
			return errOverflow
		}
		began := time.Now()
		o.tell(ctx, batch)
		next = time.Now().Add(min(share*time.Since(began), longest))
	}
}

// tell sends what has changed of the objects of batch. What could not be read stays due.
func (o *objects[T]) tell(ctx context.Context, batch map[string]event) {
	keys := make([]string, 0, min(len(batch), portion))
	var connected []string
	flush := func() {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if _, err := o.publish(ctx, keys, batch); err != nil {
			o.again(keys, batch)
		}
		keys = keys[:0]
	}
	for key, ev := range batch {
		if ev.member == "Connected" {
			connected = append(connected, key)
		}
		if keys = append(keys, key); len(keys) == portion {
			flush()
		}
	}
	if len(keys) > 0 {
		flush()
	}
	if len(connected) > 0 {
		time.AfterFunc(lateLook, func() {
			for _, k := range connected {
				o.mark(k, event{})
			}
		})
	}
}

// publish reads objects (all for nil keys), sends what has changed since the last time,
// and the events of those that were read.
func (o *objects[T]) publish(ctx context.Context, keys []string, events map[string]event) ([]T, error) {
	t := o.told.Load()
	if t == nil {
		return nil, errNoBusNow
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !t.primed && keys != nil {
		if _, err := o.refresh(ctx, t, nil, nil); err != nil {
			return nil, err
		}
	}
	return o.refresh(ctx, t, keys, events)
}

// refresh is publish for the one whose turn it is.
func (o *objects[T]) refresh(ctx context.Context, t *told, keys []string, events map[string]event) ([]T, error) {
	list, err := o.read(ctx, keys)
	if err != nil {
		return nil, err
	}
	there := make(map[string]struct{}, len(list))
	for i := range list {
		key := o.key(&list[i])
		there[key] = struct{}{}
		o.compare(t, key, &list[i])
		o.happened(t, key, events[key])
	}
	gone := func(key string) {
		if _, ok := there[key]; ok {
			return
		}
		if ev := events[key]; ev.member == "Lost" {
			o.happened(t, key, ev)
		}
		if _, ok := t.sent[key]; ok {
			delete(t.sent, key)
			emit(t.conn, o.root, objectManager, "InterfacesRemoved", o.path(key), []string{o.iface})
		}
	}
	if keys == nil {
		for key := range t.sent {
			gone(key)
		}
		t.primed = true
	}
	for _, key := range keys {
		gone(key)
	}
	return list, nil
}

// compare tells how item differs from what was last sent of it.
func (o *objects[T]) compare(t *told, key string, item *T) {
	last, known := t.sent[key]
	if !known {
		t.sent[key] = o.digests(item, make([]uint64, 0, len(o.properties)))
		if t.primed {
			emit(t.conn, o.root, objectManager, "InterfacesAdded", o.path(key), interfaceList{{o.iface, o.values(item)}})
		}
		return
	}
	t.spare = o.digests(item, t.spare)
	var changed propertyList
	for i, d := range t.spare {
		if d != last[i] {
			last[i] = d
			changed = append(changed, namedValue{o.properties[i].name, o.value(item, i)})
		}
	}
	if len(changed) > 0 {
		emit(t.conn, o.path(key), properties, "PropertiesChanged", o.iface, changed, []string{})
	}
}

func (o *objects[T]) happened(t *told, key string, ev event) {
	switch {
	case ev.member == "" || o.events == "":
	case ev.why:
		emit(t.conn, o.root, o.events, ev.member, o.path(key), clean(ev.reason))
	default:
		emit(t.conn, o.root, o.events, ev.member, o.path(key))
	}
}
