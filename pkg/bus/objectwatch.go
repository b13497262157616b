package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/godbus/dbus/v5"
)

// ErrNoObjects says that the daemon does not show its controllers as objects, as nvme-stas 2.x.
var ErrNoObjects = errors.New("the daemon shows no objects")

func noObjects(err error) bool {
	e, ok := errors.AsType[dbus.Error](err)
	return ok && (e.Name == errUnknownInterface || e.Name == errUnknownMethod)
}

// ChangeKind is what a [Change] tells of.
type ChangeKind uint8

// The kinds of changes.
const (
	Known   ChangeKind = iota // a controller that the daemon knew when it was first asked; After is set
	Added                     // a controller is known from now on; After is set
	Changed                   // Before and After differ in Properties
	Removed                   // a controller is known no more; Before is set
	Event                     // what Name says happened to a controller
	Up                        // the daemon is there
	Down                      // the daemon is not there, and nothing is known of its controllers
)

// Change is one thing that a daemon told about its controllers.
type Change[T any] struct {
	Kind       ChangeKind
	Key        string
	Before     T
	After      T
	Properties []string // names, in the order of the interface
	Name       string   // of an event: Connected, Lost, GivenUp
	Reason     string   // of an event
}

// WatchDiscoveryControllers calls tell for all that stafd knows now, and for everything that changes, until
// ctx ends. Values of a Change must not be changed. An error is why it cannot go on.
func WatchDiscoveryControllers(ctx context.Context, opts Options, tell func(Change[DiscoveryController])) error {
	return watchObjects(ctx, opts, FinderName, finderPath, &discoveryKind, func(c *DiscoveryController, key string) { c.Key = key }, tell)
}

// WatchIOControllers is WatchDiscoveryControllers for stacd.
func WatchIOControllers(ctx context.Context, opts Options, tell func(Change[IOController])) error {
	return watchObjects(ctx, opts, ConnectorName, connectorPath, &ioKind, func(c *IOController, key string) { c.Key = key }, tell)
}

// objectWatch follows the objects of a daemon.
type objectWatch[T any] struct {
	*kind[T]
	name  string
	root  dbus.ObjectPath
	setID func(*T, string)
	tell  func(Change[T])
	conn  *link
	opts  Options

	owner string        // unique name of the daemon, empty when there is none
	since dbus.Sequence // what is older is part of known already
	known map[string]T
}

func watchObjects[T any](ctx context.Context, opts Options, name string, root dbus.ObjectPath, k *kind[T], setID func(*T, string), tell func(Change[T])) error {
	conn, err := dial(ctx, opts, dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return err
	}
	defer conn.Close()
	w := &objectWatch[T]{kind: k, name: name, root: root, setID: setID, tell: tell, conn: conn, opts: opts}
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	if err := w.subscribe(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case sig, ok := <-signals:
			if !ok {
				return fmt.Errorf("%w: the connection ended", ErrNoBus)
			}
			if err := w.heard(ctx, sig); err != nil {
				return err
			}
		}
	}
}

// subscribe first asks for the signals and then for what there is.
func (w *objectWatch[T]) subscribe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.opts.callTimeout())
	defer cancel()
	for _, m := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(busName), dbus.WithMatchInterface(busName), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, w.name)},
		{dbus.WithMatchSender(w.name), dbus.WithMatchPathNamespace(w.root)},
	} {
		if err := w.conn.AddMatchSignalContext(ctx, m...); err != nil {
			return fmt.Errorf("cannot subscribe to signals: %w", err)
		}
	}
	var owner string
	call := w.conn.BusObject().CallWithContext(ctx, busName+".GetNameOwner", 0, w.name)
	if err := call.Store(&owner); err != nil {
		if e, ok := errors.AsType[dbus.Error](err); !ok || e.Name != errNameHasNoOwner {
			return fmt.Errorf("cannot ask who is %s: %w", w.name, err)
		}
	}
	w.since = call.ResponseSequence
	if owner == "" {
		w.tell(Change[T]{Kind: Down})
		return nil
	}
	return w.begin(ctx, owner)
}

// begin takes in all objects of a daemon that has come.
func (w *objectWatch[T]) begin(ctx context.Context, owner string) error {
	w.owner, w.known = owner, map[string]T{}
	ctx, cancel := context.WithTimeout(ctx, w.opts.callTimeout())
	defer cancel()
	var reply managedByPath
	call := w.conn.Object(owner, w.root).CallWithContext(ctx, objectManager+".GetManagedObjects", dbus.FlagNoAutoStart)
	if e, ok := errors.AsType[dbus.Error](call.Err); ok && (e.Name == errServiceUnknown || e.Name == errNameHasNoOwner || e.Name == errNoReply) {
		return nil // gone already, of which a signal tells
	}
	if noObjects(call.Err) {
		return ErrNoObjects
	}
	if err := call.Store(&reply); err != nil {
		return fmt.Errorf("cannot list the controllers: %w", err)
	}
	w.since = call.ResponseSequence
	w.tell(Change[T]{Kind: Up})
	for _, path := range slices.Sorted(maps.Keys(reply)) {
		w.added(path, reply[path], Known)
	}
	return nil
}

const errNoReply = "org.freedesktop.DBus.Error.NoReply"

// heard takes in one signal. Match rules only ask for signals; any process may send one right to us,
// so each is judged by its sender.
func (w *objectWatch[T]) heard(ctx context.Context, sig *dbus.Signal) error {
	if sig.Sequence < w.since {
		return nil
	}
	if sig.Sender == busName && sig.Name == busName+".NameOwnerChanged" {
		var name, before, after string
		if dbus.Store(sig.Body, &name, &before, &after) != nil || name != w.name || after == w.owner {
			return nil
		}
		if w.owner != "" {
			w.owner, w.known = "", nil
			w.tell(Change[T]{Kind: Down})
		}
		if after != "" {
			return w.begin(ctx, after)
		}
		return nil
	}
	if w.owner == "" || sig.Sender != w.owner {
		return nil
	}
	w.apply(sig)
	return nil
}

func (w *objectWatch[T]) apply(sig *dbus.Signal) {
	var path dbus.ObjectPath
	switch {
	case sig.Path == w.root && sig.Name == objectManager+".InterfacesAdded":
		var ifaces map[string]map[string]dbus.Variant
		if dbus.Store(sig.Body, &path, &ifaces) == nil {
			w.added(path, ifaces, Added)
		}
	case sig.Path == w.root && sig.Name == objectManager+".InterfacesRemoved":
		var ifaces []string
		if dbus.Store(sig.Body, &path, &ifaces) == nil && slices.Contains(ifaces, w.iface) {
			if key, ok := keyOfPath(w.root, path); ok {
				if before, known := w.known[key]; known {
					delete(w.known, key)
					w.tell(Change[T]{Kind: Removed, Key: key, Before: before})
				}
			}
		}
	case sig.Name == properties+".PropertiesChanged":
		w.changed(sig)
	case sig.Path == w.root && len(sig.Body) > 0:
		w.event(sig)
	}
}

func (w *objectWatch[T]) added(path dbus.ObjectPath, ifaces map[string]map[string]dbus.Variant, kind ChangeKind) {
	key, isChild := keyOfPath(w.root, path)
	values, ok := ifaces[w.iface]
	var o T
	if !isChild || !ok || w.fill(&o, values) != nil {
		return
	}
	w.setID(&o, key)
	w.known[key] = o
	w.tell(Change[T]{Kind: kind, Key: key, After: o})
}

func (w *objectWatch[T]) changed(sig *dbus.Signal) {
	var iface string
	var values map[string]dbus.Variant
	var invalid []string
	key, ok := keyOfPath(w.root, sig.Path)
	if !ok || dbus.Store(sig.Body, &iface, &values, &invalid) != nil || iface != w.iface {
		return
	}
	before, known := w.known[key]
	after := before
	if !known || w.fill(&after, values) != nil {
		return
	}
	w.known[key] = after
	c := Change[T]{Kind: Changed, Key: key, Before: before, After: after}
	for i := range w.properties {
		if _, ok := values[w.properties[i].name]; ok {
			c.Properties = append(c.Properties, w.properties[i].name)
		}
	}
	w.tell(c)
}

func (w *objectWatch[T]) event(sig *dbus.Signal) {
	path, ok := sig.Body[0].(dbus.ObjectPath)
	member, isEvent := cutInterface(sig.Name, w.name+".events")
	if !ok || !isEvent {
		return
	}
	key, ok := keyOfPath(w.root, path)
	if !ok {
		return
	}
	c := Change[T]{Kind: Event, Key: key, Name: member, After: w.known[key]}
	if len(sig.Body) > 1 {
		c.Reason, _ = sig.Body[1].(string)
	}
	w.tell(c)
}

// cutInterface splits the member off a name interface.member.
func cutInterface(name, iface string) (string, bool) {
	if len(name) <= len(iface)+1 || name[:len(iface)] != iface || name[len(iface)] != '.' {
		return "", false
	}
	return name[len(iface)+1:], true
}
