package mdns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// defaultBus is where the system bus listens (D-Bus Specification, "Well-known Message Bus Instances").
const defaultBus = "unix:path=/run/dbus/system_bus_socket"

// link is a private connection to the bus with a gate in front of its signals.
type link struct {
	conn  *dbus.Conn
	raw   *rawConn
	gate  *gate
	limit time.Duration
}

// rawConn bounds every write and closes on error, since a client of godbus cannot leave a
// write, nor Close a connection, while the bus does not read.
type rawConn struct {
	net.Conn
	in    *bufio.Reader
	limit time.Duration
}

func (c *rawConn) Read(p []byte) (int, error) { return c.in.Read(p) }

func (c *rawConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		c.Close()
	}
	return n, err
}

// dial connects, authenticates and learns the owner of Avahi's name, all within limit.
func dial(ctx context.Context, address string, limit time.Duration) (*link, error) {
	if address == "" {
		address = os.Getenv("DBUS_SYSTEM_BUS_ADDRESS")
	}
	if address == "" {
		address = defaultBus
	}
	path, err := socketPath(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var d net.Dialer
	sock, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the bus: %w", err)
	}
	l := &link{raw: &rawConn{sock, bufio.NewReader(sock), limit}, gate: newGate(), limit: limit}
	l.conn, err = dbus.NewConn(l.raw, dbus.WithSignalHandler(l.gate), dbus.WithOutgoingInterceptor(noAutoStart))
	if err != nil {
		sock.Close()
		l.gate.stop()
		return nil, fmt.Errorf("cannot set up the bus connection: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { l.raw.Close() })
	err = l.greet()
	if !stop() {
		err = fmt.Errorf("cannot log in to the bus at %s: %w", path, context.Cause(ctx))
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// greet runs the login and the first calls. It blocks until the raw connection is closed.
func (l *link) greet() error {
	if err := l.conn.Auth(nil); err != nil {
		return fmt.Errorf("cannot log in to the bus: %w", err)
	}
	if err := l.conn.Hello(); err != nil {
		return fmt.Errorf("cannot log in to the bus: %w", err)
	}
	err := l.conn.AddMatchSignal(dbus.WithMatchSender(busName), dbus.WithMatchInterface(busName),
		dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, avahiName))
	if err != nil {
		return fmt.Errorf("cannot watch the owner of %s: %w", avahiName, err)
	}
	var owner string
	err = l.conn.BusObject().Call(busName+".GetNameOwner", 0, avahiName).Store(&owner)
	var reply dbus.Error
	if err != nil && (!errors.As(err, &reply) || reply.Name != "org.freedesktop.DBus.Error.NameHasNoOwner") {
		return fmt.Errorf("cannot ask for the owner of %s: %w", avahiName, err)
	}
	l.gate.asked(owner)
	return nil
}

// awaitOwner waits until Avahi is there. It costs nothing while it waits.
func (l *link) awaitOwner(ctx context.Context) (string, error) {
	for {
		if owner := l.gate.currentOwner(); owner != "" {
			return owner, nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-l.conn.Context().Done():
			return "", errBusGone
		case <-l.gate.changed:
		}
	}
}

// cut ends every call on the connection, also one that is stuck. Nothing is freed.
func (l *link) cut() { l.raw.Close() }

// close ends the connection. A server of go-avahi on it must have been closed before.
func (l *link) close() {
	l.raw.Close()
	l.conn.Close()
	l.gate.stop()
}

var errBusGone = errors.New("the connection to the bus is gone")

// noAutoStart keeps a call that comes just after Avahi was stopped from starting it again.
func noAutoStart(m *dbus.Message) {
	if m.Type == dbus.TypeMethodCall {
		m.Flags |= dbus.FlagNoAutoStart
	}
}

// socketPath reads a D-Bus address; of the transports that exist only Unix sockets are for a
// system bus. Go writes an abstract name with a leading '@'.
func socketPath(address string) (string, error) {
	for one := range strings.SplitSeq(address, ";") {
		options, ok := strings.CutPrefix(one, "unix:")
		if !ok {
			continue
		}
		for option := range strings.SplitSeq(options, ",") {
			key, value, _ := strings.Cut(option, "=")
			value, err := url.PathUnescape(value)
			switch {
			case err != nil || value == "":
			case key == "path":
				return value, nil
			case key == "abstract":
				return "@" + value, nil
			}
		}
	}
	return "", fmt.Errorf("cannot use bus address %q: no unix:path= or unix:abstract= in it", address)
}
