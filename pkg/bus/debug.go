package bus

import (
	"context"
	"fmt"

	"github.com/godbus/dbus/v5"
)

const idArgs = "sssssss"

// debugMembers serves a .debug interface.
func debugMembers(d Debug) members {
	return members{
		"process_info": {run: func(ctx context.Context, _ *call) ([]any, error) {
			info, err := d.ProcessInfo(ctx)
			if err != nil {
				return nil, err
			}
			return jsonReply(redact(info))
		}},
		"controller_info": {in: idArgs, run: func(ctx context.Context, c *call) ([]any, error) {
			ctrl, ok, err := d.ControllerInfo(ctx, c.id())
			if err != nil {
				return nil, err
			}
			if !ok {
				return []any{"{}"}, nil
			}
			return []any{string(appendJSONFields(nil, ctrl.dict(true, false)))}, nil
		}},
	}
}

func jsonReply(o Object) ([]any, error) {
	b, err := appendJSON(nil, o)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxReply {
		return nil, busError(errLimitsExceeded, "the reply is larger than %d MiB", MaxReply>>20)
	}
	return []any{string(b)}, nil
}

// redact leaves out what is secret and hides a host key. It does not change o.
func redact(o Object) Object {
	out := make(Object, 0, len(o))
	for _, m := range o {
		switch v := m.Value.(type) {
		case Object:
			m.Value = redact(v)
		default:
			if secret(m.Name) {
				continue
			}
			if m.Name == "hostkey" && v != nil {
				m.Value = "[redacted]"
			}
		}
		out = append(out, m)
	}
	return out
}

// debugProperties is org.freedesktop.DBus.Properties over the two properties of a
// .debug interface. others are the interfaces of the object that have no properties.
type debugProperties struct {
	debug   Debug
	iface   string
	others  []string
	changed func() // called after tron was set
}

func (p *debugProperties) members() members {
	return members{
		"Get":    {in: "ss", run: p.get},
		"GetAll": {in: "s", run: p.getAll},
		"Set":    {in: "ssv", run: p.set},
	}
}

// values gives both properties as they are now.
func (p *debugProperties) values() map[string]dbus.Variant {
	return map[string]dbus.Variant{
		"tron":      dbus.MakeVariant(p.debug.Tron()),
		"log_level": dbus.MakeVariant(clean(p.debug.LogLevel())),
	}
}

func (p *debugProperties) check(iface string) error {
	if iface == p.iface {
		return nil
	}
	return busError(errUnknownInterface, "interface %q has no properties here", iface)
}

func (p *debugProperties) get(_ context.Context, c *call) ([]any, error) {
	if err := p.check(c.str(0)); err != nil {
		return nil, err
	}
	v, ok := p.values()[c.str(1)]
	if !ok {
		return nil, busError(errUnknownProperty, "there is no property %q", c.str(1))
	}
	return []any{v}, nil
}

func (p *debugProperties) getAll(_ context.Context, c *call) ([]any, error) {
	for _, name := range p.others {
		if c.str(0) == name {
			return []any{map[string]dbus.Variant{}}, nil
		}
	}
	if err := p.check(c.str(0)); err != nil {
		return nil, err
	}
	return []any{p.values()}, nil
}

// set is for root alone.
func (p *debugProperties) set(ctx context.Context, c *call) ([]any, error) {
	if err := onlyRoot(ctx, c); err != nil {
		return nil, err
	}
	if err := p.check(c.str(0)); err != nil {
		return nil, err
	}
	switch c.str(1) {
	case "tron":
	case "log_level":
		return nil, busError(errPropertyReadOnly, "property log_level follows tron and cannot be set")
	default:
		return nil, busError(errUnknownProperty, "there is no property %q", c.str(1))
	}
	on, ok := c.body[2].(dbus.Variant).Value().(bool)
	if !ok {
		return nil, busError(errInvalidArgs, "property tron is a boolean")
	}
	if on != p.debug.Tron() {
		p.debug.SetTron(on)
		p.changed()
	}
	return nil, nil
}

func callerUID(ctx context.Context, c *call) (uint32, error) {
	var uid uint32
	err := c.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixUser", 0, c.sender).Store(&uid)
	if err != nil {
		return 0, fmt.Errorf("user of %s: %w", c.sender, err)
	}
	return uid, nil
}
