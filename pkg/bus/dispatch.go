package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// MaxReply is the most bytes of strings and numbers that one reply holds. The message
// bus drops a connection that sends more than 32 MiB (max_message_size in the
// system.conf of dbus), and with it every caller's reply.
const MaxReply = 16 << 20

// Names of errors (D-Bus specification, "Standard Interfaces" and dbus-protocol.h).
const (
	errAccessDenied     = "org.freedesktop.DBus.Error.AccessDenied"
	errDisconnected     = "org.freedesktop.DBus.Error.Disconnected"
	errNameHasNoOwner   = "org.freedesktop.DBus.Error.NameHasNoOwner"
	errServiceUnknown   = "org.freedesktop.DBus.Error.ServiceUnknown"
	errFailed           = "org.freedesktop.DBus.Error.Failed"
	errInvalidArgs      = "org.freedesktop.DBus.Error.InvalidArgs"
	errLimitsExceeded   = "org.freedesktop.DBus.Error.LimitsExceeded"
	errPropertyReadOnly = "org.freedesktop.DBus.Error.PropertyReadOnly"
	errTimeout          = "org.freedesktop.DBus.Error.Timeout"
	errUnknownInterface = "org.freedesktop.DBus.Error.UnknownInterface"
	errUnknownMethod    = "org.freedesktop.DBus.Error.UnknownMethod"
	errUnknownObject    = "org.freedesktop.DBus.Error.UnknownObject"
	errUnknownProperty  = "org.freedesktop.DBus.Error.UnknownProperty"
)

func busError(name, format string, args ...any) *dbus.Error {
	return dbus.NewError(name, []any{clean(fmt.Sprintf(format, args...))})
}

// call is one method call: who asks and with what. Its body has the signature that the
// method declares.
type call struct {
	conn    *dbus.Conn
	sender  string
	serial  uint32
	noReply bool
	body    []any
}

func (c *call) str(i int) string { return c.body[i].(string) }
func (c *call) bool(i int) bool  { return c.body[i].(bool) }

// id reads an ID out of the first seven arguments.
func (c *call) id() ID {
	return ID{c.str(0), c.str(1), c.str(2), c.str(3), c.str(4), c.str(5), c.str(6)}
}

// method is one member of an exported interface. in is the signature of its arguments;
// that of its results is the one of what run returns, a [dictionaries] being aa{ss}.
type method struct {
	in  string
	run func(ctx context.Context, c *call) ([]any, error)
}

type members map[string]*method

// tree is the objects of one connection. It is complete before the connection is
// made and does not change afterwards, so it needs no lock.
type tree struct {
	objects  map[dbus.ObjectPath]map[string]members
	children *children // nil: there are none
	timeout  time.Duration
	callers  *callers
	log      *slog.Logger
}

func newTree(timeout time.Duration, log *slog.Logger) *tree {
	return &tree{
		objects: make(map[dbus.ObjectPath]map[string]members),
		timeout: timeout,
		callers: newCallers(),
		log:     log,
	}
}

func (t *tree) export(path dbus.ObjectPath, iface string, m members) {
	if t.objects[path] == nil {
		t.objects[path] = map[string]members{peerHere: peerMembers}
	}
	t.objects[path][iface] = m
}

// LookupObject implements [dbus.Handler]. Paths above an object exist, so that the way
// to it can be found by introspection from / on, and a peer answers at every path.
func (t *tree) LookupObject(path dbus.ObjectPath) (dbus.ServerObject, bool) {
	if ifaces, ok := t.objects[path]; ok {
		return &object{t, ifaces}, true
	}
	if t.children != nil {
		if ifaces, ok := t.children.child(path); ok {
			ifaces[peerHere] = peerMembers
			return &object{t, ifaces}, true
		}
	}
	ifaces := map[string]members{peerHere: peerMembers}
	if xml, ok := t.ancestor(path); ok {
		ifaces[introspectable] = introspection(xml)
	}
	return &object{t, ifaces}, true
}

// ancestor gives the introspection XML of a path that only has children.
func (t *tree) ancestor(path dbus.ObjectPath) (string, bool) {
	prefix := strings.TrimSuffix(string(path), "/") + "/"
	for p := range t.objects {
		if rest, ok := strings.CutPrefix(string(p), prefix); ok {
			child, _, _ := strings.Cut(rest, "/")
			return "<node>\n  <node name=\"" + child + "\"/>\n</node>\n", true
		}
	}
	return "", false
}

type object struct {
	tree   *tree
	ifaces map[string]members
}

// LookupInterface implements [dbus.ServerObject]. A call may leave out the interface.
func (o *object) LookupInterface(name string) (dbus.Interface, bool) {
	if name != "" {
		m, ok := o.ifaces[name]
		return &exported{o.tree, m}, ok
	}
	all := make(members)
	for _, m := range o.ifaces {
		for name, method := range m {
			all[name] = method
		}
	}
	return &exported{o.tree, all}, true
}

type exported struct {
	tree    *tree
	members members
}

// LookupMethod implements [dbus.Interface].
func (e *exported) LookupMethod(name string) (dbus.Method, bool) {
	m, ok := e.members[name]
	return &bound{e.tree, name, m}, ok
}

// bound is a method within its tree; it implements [dbus.Method] and
// [dbus.ArgumentDecoder].
type bound struct {
	tree *tree
	name string
	*method
}

func (b *bound) NumArguments() int     { return 1 }
func (b *bound) NumReturns() int       { return 0 }
func (b *bound) ArgumentValue(int) any { return nil }
func (b *bound) ReturnValue(int) any   { return nil }

// DecodeArguments checks the signature; the decoder of the library has made values of
// exactly these types then.
func (b *bound) DecodeArguments(conn *dbus.Conn, sender string, msg *dbus.Message, body []any) ([]any, error) {
	sig, _ := msg.Headers[dbus.FieldSignature].Value().(dbus.Signature)
	if got := sig.String(); got != b.in {
		return nil, busError(errInvalidArgs, "%s takes arguments of signature %q, not %q", b.name, b.in, got)
	}
	c := &call{conn, sender, msg.Serial(), msg.Flags&dbus.FlagNoReplyExpected != 0, body}
	// The reply is sent in Call: the library would send it only after the slot is free.
	msg.Flags |= dbus.FlagNoReplyExpected
	return []any{c}, nil
}

// Call runs the method and sends its reply; what it returns is only an error. It never
// panics: that would end the daemon.
func (b *bound) Call(args ...any) (_ []any, err error) {
	c := args[0].(*call)
	defer func() {
		if c.noReply {
			err = nil
		}
	}()
	defer func() {
		if p := recover(); p != nil {
			b.tree.log.Error("a D-Bus call failed by a defect of the program", "method", b.name, "panic", p, "stack", string(debug.Stack()))
			err = busError(errFailed, "%s failed by a defect of the program; its log has more", b.name)
		}
	}()
	ctx, cancel := context.WithTimeout(c.conn.Context(), b.tree.timeout)
	defer cancel()
	leave, err := b.tree.callers.enter(ctx, c)
	if err != nil {
		return nil, err
	}
	defer leave()
	reply, err := b.run(ctx, c)
	if err == nil {
		c.reply(reply)
		return nil, nil
	}
	var known *dbus.Error
	switch {
	case errors.As(err, &known):
		return nil, known
	case errors.Is(err, context.DeadlineExceeded):
		return nil, busError(errTimeout, "%s: no answer within %v", b.name, b.tree.timeout)
	}
	return nil, busError(errFailed, "%s: %v", b.name, err)
}
