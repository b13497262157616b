package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
)

// ErrNameTaken says that another process is the daemon already.
var ErrNameTaken = errors.New("the bus name has an owner")

// nameGrace is how long a name may still belong to a process that has just ended.
const nameGrace = time.Second

// server is what both daemons' servers share: the connection, the name, the signals.
type server struct {
	name  string
	path  dbus.ObjectPath
	opts  Options
	log   *slog.Logger
	tree  *tree
	out   *outbox
	debug *debugProperties

	objects publisher // nil: there are none

	asked     bool // for the name, by a connection that ended; of Run
	settled   chan struct{}
	settle    sync.Once
	connected atomic.Bool
}

func newServer(name, path, xml string, opts Options, d Debug, ifaces ...string) *server {
	s := &server{
		name: name, path: dbus.ObjectPath(path), opts: opts, log: opts.log(),
		out: newOutbox(), settled: make(chan struct{}),
	}
	s.tree = newTree(opts.callTimeout(), s.log)
	s.debug = &debugProperties{
		debug: d, iface: name + ".debug", changed: s.DebugChanged,
		others: append(ifaces, introspectable, properties, peer),
	}
	s.tree.export(s.path, introspectable, introspection(withStandard(xml)))
	s.tree.export(s.path, properties, s.debug.members())
	s.tree.export(s.path, s.debug.iface, debugMembers(d))
	return s
}

// Settled is closed as soon as it is known whether the bus is there and the name
// ours; a daemon need not wait longer than that before it starts its work. Where another
// process has the name it stays open, as then there is no work to start.
func (s *server) Settled() <-chan struct{} { return s.settled }

// Connected says whether the server has its name on the bus now.
func (s *server) Connected() bool { return s.connected.Load() }

// DebugChanged announces tron and the log level after the daemon changed them itself.
func (s *server) DebugChanged() {
	s.out.put("properties", signal{s.path, properties + ".PropertiesChanged",
		[]any{s.debug.iface, s.debug.values(), []string{}}})
}

// Run serves until ctx ends and returns nil then. When another process has the name,
// it returns an [ErrNameTaken] that says which. Everything else is retried.
func (s *server) Run(ctx context.Context) error {
	return keepUp(ctx, s.log.With("name", s.name), func() (bool, error) {
		served, err := s.serve(ctx)
		s.connected.Store(false)
		s.out.reset(false)
		if !errors.Is(err, ErrNameTaken) {
			s.settle.Do(func() { close(s.settled) })
		}
		return served, err
	})
}

// serve is one life of the connection. served says whether it ever had the name.
func (s *server) serve(ctx context.Context) (served bool, err error) {
	conn, err := dial(ctx, s.opts,
		dbus.WithHandler(s.tree), dbus.WithIncomingInterceptor(peerToTree), dbus.WithSignalHandler(deaf{}))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, conn.Close)()
	s.out.reset(true)
	behind := s.publish(ctx, conn)
	defer func() { conn.Close(); behind.stop() }()
	if err := s.takeName(ctx, conn); err != nil {
		return false, err
	}
	s.connected.Store(true)
	s.settle.Do(func() { close(s.settled) })
	s.log.Info("on the bus", "name", s.name)
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-conn.Context().Done():
			return true, errors.New("the connection ended")
		case err := <-behind.failed:
			return true, err
		case <-s.out.wake:
		}
		queue, overflow := s.out.take()
		if overflow {
			// Whoever listens must not believe to have heard everything: a new
			// connection tells them to ask again.
			return true, fmt.Errorf("more than %d signals were waiting", maxPending)
		}
		for _, sig := range queue {
			if err := conn.Emit(sig.path, sig.name, sig.body...); err != nil {
				return true, fmt.Errorf("cannot send %s: %w", sig.name, err)
			}
		}
	}
}

// takeName gets the name. The bus may hear of the death of its last owner a moment
// after this process was started in its place, hence the grace. Longer it may take to hear of the end of our own last
// connection, which had the name: that does not end the daemon.
func (s *server) takeName(ctx context.Context, conn *link) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.callTimeout())
	defer cancel()
	deadline := time.Now().Add(nameGrace)
	again := s.asked
	s.asked = true
	for {
		var reply uint32
		err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.RequestName", 0,
			s.name, uint32(dbus.NameFlagDoNotQueue)).Store(&reply)
		if e, ok := errors.AsType[dbus.Error](err); ok && e.Name == errAccessDenied {
			return fmt.Errorf("cannot get the name %s: %w: root may, once %s.conf is in a system.d directory of D-Bus", s.name, err, s.name)
		}
		if err != nil {
			return fmt.Errorf("cannot get the name %s: %w", s.name, err)
		}
		switch dbus.RequestNameReply(reply) {
		case dbus.RequestNameReplyPrimaryOwner, dbus.RequestNameReplyAlreadyOwner:
			return nil
		}
		if time.Now().After(deadline) {
			var pid uint32
			err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0, s.name).Store(&pid)
			if err != nil {
				return fmt.Errorf("cannot get the name %s, nor who has it: %w", s.name, err) // it may have been given up just now
			}
			if again && int(pid) == os.Getpid() {
				return fmt.Errorf("cannot get the name %s: the bus has yet to notice that the last connection ended", s.name)
			}
			return fmt.Errorf("cannot get the name %s: %w: process %d is running already", s.name, ErrNameTaken, pid)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// deaf ignores signals: a server has subscribed to none.
type deaf struct{}

func (deaf) DeliverSignal(string, string, *dbus.Signal) {}
