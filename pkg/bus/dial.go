package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// Options says how to reach the bus. The zero value is the system bus of the host.
type Options struct {
	// Address is a D-Bus server address of kind unix:path= or unix:abstract=. Empty
	// means $DBUS_SYSTEM_BUS_ADDRESS, and where that is unset the system bus.
	Address string
	// ConnectTimeout bounds connecting with all of its handshake; 0 means 5 s.
	ConnectTimeout time.Duration
	// WriteTimeout is how long the bus may refuse to take a message before the
	// connection counts as dead; 0 means 5 s.
	WriteTimeout time.Duration
	// CallTimeout bounds one call of a client, and on servers the time to answer
	// one; 0 means 10 s.
	CallTimeout time.Duration
	// Log is where losing and finding the bus is told; nil means [slog.Default].
	Log *slog.Logger
}

func (o Options) connectTimeout() time.Duration { return cmp.Or(o.ConnectTimeout, 5*time.Second) }
func (o Options) writeTimeout() time.Duration   { return cmp.Or(o.WriteTimeout, 5*time.Second) }
func (o Options) callTimeout() time.Duration    { return cmp.Or(o.CallTimeout, 10*time.Second) }
func (o Options) log() *slog.Logger             { return cmp.Or(o.Log, slog.Default()) }

// systemBus is where the system bus listens (D-Bus specification, "System message bus";
// distributions moved it from /var/run).
const systemBus = "unix:path=/run/dbus/system_bus_socket;unix:path=/var/run/dbus/system_bus_socket"

func (o Options) address() string {
	return cmp.Or(o.Address, os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), systemBus)
}

// ErrNoBus says that nothing answers at the bus address.
var ErrNoBus = errors.New("D-Bus is not there")

// link is a connection to the bus.
type link struct {
	*dbus.Conn
	socket *net.UnixConn
}

// Close does not wait for a write that the bus does not take; that of [dbus.Conn] does.
func (l *link) Close() {
	l.socket.Close()
	l.Conn.Close()
}

// dial connects and completes the handshake. ctx and the connect timeout bound only
// that, not the life of the connection. The caller closes the connection.
func dial(ctx context.Context, opts Options, more ...dbus.ConnOption) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, opts.connectTimeout())
	defer cancel()
	socket, err := dialSocket(ctx, opts.address())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoBus, err)
	}
	return handshake(ctx, opts, socket, strconv.Itoa(os.Geteuid()), more...)
}

// handshake makes a connection of socket, which it closes when that fails. user is the
// numeric user ID that the bus is told and verifies.
func handshake(ctx context.Context, opts Options, socket *net.UnixConn, user string, more ...dbus.ConnOption) (*link, error) {
	conn, err := dbus.NewConn(&deadlineConn{
		UnixConn: socket, frames: frames{from: socket}, timeout: opts.writeTimeout(),
	}, more...)
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("cannot set up the bus connection: %w", err)
	}
	// Neither Auth nor Hello knows a context: closing the socket ends them.
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	if err = conn.Auth([]dbus.Auth{dbus.AuthExternal(user)}); err == nil {
		err = conn.Hello()
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("the bus accepts the connection and does not answer")
		}
		socket.Close()
		conn.Close()
		return nil, fmt.Errorf("cannot connect to D-Bus: %w", err)
	}
	return &link{conn, socket}, nil
}

// dialSocket tries the alternatives of a server address in order.
func dialSocket(ctx context.Context, address string) (*net.UnixConn, error) {
	var errs []error
	for one := range strings.SplitSeq(address, ";") {
		if one == "" {
			continue
		}
		name, err := socketName(one)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		return conn.(*net.UnixConn), nil
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("the bus address is empty"))
	}
	return nil, errs[0]
}

func socketName(address string) (string, error) {
	keys, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return "", fmt.Errorf("bus address %q has no prefix \"unix:\"", address)
	}
	for kv := range strings.SplitSeq(keys, ",") {
		key, value, _ := strings.Cut(kv, "=")
		if key != "path" && key != "abstract" {
			continue
		}
		value, err := dbus.UnescapeBusAddressValue(value)
		if err != nil {
			return "", fmt.Errorf("bus address %q: %w", address, err)
		}
		if key == "abstract" {
			value = "@" + value
		}
		return value, nil
	}
	return "", fmt.Errorf("bus address %q has neither path nor abstract", address)
}

// deadlineConn bounds each write. Without that a bus daemon that stopped reading
// blocks every sender for ever, and Close with them. It also bounds what is read.
type deadlineConn struct {
	*net.UnixConn
	frames  frames
	timeout time.Duration
}

// Read gives what comes in, without messages that are too large.
func (c *deadlineConn) Read(p []byte) (int, error) { return c.frames.Read(p) }

// authDone is the last line of the authentication (D-Bus specification,
// "Authentication Protocol").
const authDone = "BEGIN\r\n"

// Write closes the connection when p could not be written whole: what follows half a
// message makes no sense.
func (c *deadlineConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	if !c.frames.begun && string(p) == authDone {
		c.frames.begin()
	}
	n, err := c.UnixConn.Write(p)
	if err != nil {
		c.UnixConn.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("the bus took nothing for %v: %w", c.timeout, err)
		}
	}
	return n, err
}
