package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

// DiscoveryControllers gives what stafd shows as objects, in the order of their
// identities. False when the daemon that answers has none, as nvme-stas 2.x.
func (c *Client) DiscoveryControllers(ctx context.Context) ([]DiscoveryController, bool, error) {
	return managed(ctx, c, &discoveryKind, func(o *DiscoveryController) (*string, ID) { return &o.Key, o.ID })
}

// IOControllers gives what stacd shows as objects; as DiscoveryControllers.
func (c *Client) IOControllers(ctx context.Context) ([]IOController, bool, error) {
	return managed(ctx, c, &ioKind, func(o *IOController) (*string, ID) { return &o.Key, o.ID })
}

// IOController gives one controller, [ErrNoController] where there is none.
func (c *Client) IOController(ctx context.Context, key string) (IOController, error) {
	var values map[string]dbus.Variant
	var o IOController
	err := c.askAt(ctx, childPath(c.path, key), properties+".GetAll", &values, ioInterface)
	if err == nil {
		err = ioKind.fill(&o, values)
	}
	o.Key = key
	return o, missing(err)
}

// Reconnect has the connection of a controller made anew.
func (c *Client) Reconnect(ctx context.Context, key string) error {
	return c.act(ctx, key, "Reconnect")
}

// Refresh has the log page of a discovery controller read again.
func (c *Client) Refresh(ctx context.Context, key string) error { return c.act(ctx, key, "Refresh") }

// Disconnect ends the connection of an I/O controller.
func (c *Client) Disconnect(ctx context.Context, key string) error {
	return c.act(ctx, key, "Disconnect", false)
}

func (c *Client) act(ctx context.Context, key, member string, args ...any) error {
	return missing(c.askAt(ctx, childPath(c.path, key), c.name+".controller."+member, nil, args...))
}

func missing(err error) error {
	if e, ok := errors.AsType[dbus.Error](err); ok && e.Name == errUnknownObject {
		return ErrNoController
	}
	return err
}

func childPath(root dbus.ObjectPath, key string) dbus.ObjectPath {
	return root + "/controller/" + dbus.ObjectPath(pathElement(key))
}

// keyOfPath is the inverse of childPath.
func keyOfPath(root, path dbus.ObjectPath) (string, bool) {
	element, ok := strings.CutPrefix(string(path), string(root)+"/controller/")
	return keyOfElement(element), ok && element != "" && !strings.Contains(element, "/")
}

// managedByPath is what GetManagedObjects gives.
type managedByPath map[dbus.ObjectPath]map[string]map[string]dbus.Variant

func managed[T any](ctx context.Context, c *Client, k *kind[T], identity func(*T) (*string, ID)) ([]T, bool, error) {
	var reply managedByPath
	err := c.ask(ctx, objectManager+".GetManagedObjects", &reply)
	if noObjects(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	list := make([]T, 0, len(reply))
	for path, ifaces := range reply {
		key, isChild := keyOfPath(c.path, path)
		values, ok := ifaces[k.iface]
		if !isChild || !ok {
			continue
		}
		var o T
		if err := k.fill(&o, values); err != nil {
			return nil, false, fmt.Errorf("cannot understand the object %s: %w", path, err)
		}
		at, _ := identity(&o)
		*at = key
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b T) int {
		_, x := identity(&a)
		_, y := identity(&b)
		return x.compare(y)
	})
	return list, true, nil
}

func (id ID) compare(o ID) int {
	return cmp.Or(
		cmp.Compare(id.Transport, o.Transport), cmp.Compare(id.Traddr, o.Traddr), cmp.Compare(id.Trsvcid, o.Trsvcid),
		cmp.Compare(id.SubsysNQN, o.SubsysNQN), cmp.Compare(id.HostTraddr, o.HostTraddr), cmp.Compare(id.HostIface, o.HostIface),
		cmp.Compare(id.HostNQN, o.HostNQN))
}
