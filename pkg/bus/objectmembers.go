package bus

import (
	"context"
	"errors"
	"strings"

	"github.com/godbus/dbus/v5"
)

const objectManager = "org.freedesktop.DBus.ObjectManager"

var (
	errOverflow = errors.New("more objects changed than the bus took")
	errNoBusNow = errors.New("the connection ended")
)

// tree of children: what stands below the object of a daemon.
type children struct {
	xml     string // of a child
	members func(key string) map[string]members
	list    func(context.Context) (string, error)
	prefix  string
}

// child gives the interfaces of a path below the daemon's object. Whether a controller
// is behind it turns out when it is asked.
func (c *children) child(path dbus.ObjectPath) (map[string]members, bool) {
	rest, ok := strings.CutPrefix(string(path), c.prefix)
	if !ok {
		return nil, false
	}
	if rest == "" {
		return map[string]members{introspectable: {"Introspect": {run: func(ctx context.Context, _ *call) ([]any, error) {
			xml, err := c.list(ctx)
			return []any{xml}, err
		}}}}, true
	}
	element, ok := strings.CutPrefix(rest, "/")
	if !ok || strings.Contains(element, "/") {
		return nil, false
	}
	ifaces := c.members(keyOfElement(element))
	ifaces[introspectable] = introspection(c.xml)
	return ifaces, true
}

// propertyMembers is org.freedesktop.DBus.Properties of one object.
func (o *objects[T]) propertyMembers(key string) members {
	return members{
		"Get": {in: "ss", run: func(ctx context.Context, c *call) ([]any, error) {
			item, err := o.one(ctx, key)
			if err != nil {
				return nil, err
			}
			if err := o.has(c.str(0)); err != nil {
				return nil, err
			}
			i, ok := o.propertyNamed(c.str(1))
			if !ok {
				return nil, busError(errUnknownProperty, "there is no property %q", c.str(1))
			}
			return []any{o.value(item, i)}, nil
		}},
		"GetAll": {in: "s", run: func(ctx context.Context, c *call) ([]any, error) {
			item, err := o.one(ctx, key)
			if err != nil {
				return nil, err
			}
			switch c.str(0) {
			case introspectable, properties, peer:
				return []any{propertyList{}}, nil
			}
			if err := o.has(c.str(0)); err != nil {
				return nil, err
			}
			return []any{o.values(item)}, nil
		}},
		"Set": {in: "ssv", run: func(ctx context.Context, c *call) ([]any, error) {
			if err := onlyRoot(ctx, c); err != nil {
				return nil, err
			}
			if err := o.has(c.str(0)); err != nil {
				return nil, err
			}
			if _, ok := o.propertyNamed(c.str(1)); !ok {
				return nil, busError(errUnknownProperty, "there is no property %q", c.str(1))
			}
			return nil, busError(errPropertyReadOnly, "property %s cannot be set", c.str(1))
		}},
	}
}

func (o *objects[T]) has(iface string) error {
	if iface == o.iface {
		return nil
	}
	return busError(errUnknownInterface, "interface %q has no properties here", iface)
}

// act is a method without arguments that only root may call.
func (o *objects[T]) act(key string, do func(ctx context.Context, key string) error) *method {
	return &method{run: func(ctx context.Context, c *call) ([]any, error) { return o.acted(ctx, c, key, do) }}
}

func (o *objects[T]) acted(ctx context.Context, c *call, key string, do func(ctx context.Context, key string) error) ([]any, error) {
	if err := onlyRoot(ctx, c); err != nil {
		return nil, err
	}
	err := do(ctx, key)
	if errors.Is(err, ErrNoController) {
		return nil, o.unknown(key)
	}
	return nil, err
}

// onlyRoot refuses everybody else. The policy of the bus does so too; that file may be
// missing or changed.
func onlyRoot(ctx context.Context, c *call) error {
	uid, err := callerUID(ctx, c)
	if err != nil {
		return busError(errAccessDenied, "cannot tell who asks: %v", err)
	}
	if uid != 0 {
		return busError(errAccessDenied, "only root may change anything, user %d may not", uid)
	}
	return nil
}

// exportManager adds the ObjectManager of o to the daemon's object.
func exportManager[T any](s *server, o *objects[T], c *children) {
	c.prefix, c.list = o.prefix(), o.list
	s.tree.export(s.path, objectManager, members{
		"GetManagedObjects": {run: func(ctx context.Context, _ *call) ([]any, error) { return o.managed(ctx) }},
	})
	s.tree.children = c
	s.objects = o
}

// publishing is a publisher at work for one connection.
type publishing struct {
	failed chan error
	stop   func() // waits until it has ended
}

// publish starts the publisher of s, if it has one.
func (s *server) publish(ctx context.Context, conn *link) publishing {
	p := publishing{make(chan error, 1), func() {}}
	if s.objects == nil {
		return p
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	s.objects.open(conn.Conn)
	go func() {
		defer close(ended)
		if err := s.objects.run(ctx); err != nil {
			p.failed <- err
		}
	}()
	p.stop = func() {
		cancel()
		s.objects.close()
		<-ended
	}
	return p
}
