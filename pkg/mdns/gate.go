package mdns

import (
	"sync"

	"github.com/godbus/dbus/v5"
)

const (
	avahiName    = "org.freedesktop.Avahi"
	busName      = "org.freedesktop.DBus"
	browserIface = "org.freedesktop.Avahi.ServiceBrowser"
)

// gate stands between a connection and go-avahi. It passes on, in order, the signals
// that the present owner of org.freedesktop.Avahi sent, and nothing else: the stock policy of
// the system bus lets every local user send a signal of any content to any client. The bus daemon
// itself writes the sender into a message, so neither an owner nor the bus can be forged.
//
// It also keeps what go-avahi drops: changes of the owner, and the signals AllForNow and Failure.
//
// gate is no dbus.Terminator on purpose: the channel of go-avahi must stay open when the
// connection dies, as go-avahi spins on a closed one. Stop ends the gate.
type gate struct {
	next interface {
		dbus.SignalHandler
		dbus.SignalRegistrar
		dbus.Terminator
	}
	// changed gets a mark when any of the fields below has changed.
	changed chan struct{}

	mu      sync.Mutex
	owner   string
	known   bool // the bus has spoken of the owner
	passed  uint64
	answers map[dbus.ObjectPath]uint64 // browsers that said AllForNow, with passed at that time
	failure string
}

func newGate() *gate {
	g := &gate{changed: make(chan struct{}, 1), answers: make(map[dbus.ObjectPath]uint64)}
	g.next = dbus.NewSequentialSignalHandler().(interface {
		dbus.SignalHandler
		dbus.SignalRegistrar
		dbus.Terminator
	})
	return g
}

// DeliverSignal implements dbus.SignalHandler.
func (g *gate) DeliverSignal(intf, name string, s *dbus.Signal) {
	if s.Sender == busName {
		if intf == busName && name == "NameOwnerChanged" {
			g.ownerChanged(s.Body)
		}
		return
	}
	g.mu.Lock()
	if g.owner == "" || s.Sender != g.owner {
		g.mu.Unlock()
		return
	}
	if intf == browserIface {
		switch name {
		case "ItemNew", "ItemRemove":
			g.passed++
		case "AllForNow":
			g.answers[s.Path] = g.passed
			mark(g.changed)
		case "Failure":
			g.failure = "no reason given"
			if len(s.Body) > 0 {
				if text, ok := s.Body[0].(string); ok {
					g.failure = clean(text)
				}
			}
			mark(g.changed)
		}
	}
	g.mu.Unlock()
	g.next.DeliverSignal(intf, name, s)
}

func (g *gate) ownerChanged(body []any) {
	var name, old, owner string
	if dbus.Store(body, &name, &old, &owner) != nil || name != avahiName {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owner, g.known = owner, true
	mark(g.changed)
}

// asked notes the owner that the bus named when asked. A change that was signalled is
// newer than the answer: both come in order, but are handled by different goroutines.
func (g *gate) asked(owner string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.known {
		g.owner, g.known = owner, true
		mark(g.changed)
	}
}

func (g *gate) currentOwner() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.owner
}

// browse reports how far the browsers are: how many have said AllForNow, how many items had
// been passed on when the last of them did, and the reason of a failure.
func (g *gate) browse() (answers int, items uint64, failure string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.answers {
		items = max(items, n)
	}
	return len(g.answers), items, g.failure
}

// AddSignal implements dbus.SignalRegistrar.
func (g *gate) AddSignal(ch chan<- *dbus.Signal) { g.next.AddSignal(ch) }

// RemoveSignal implements dbus.SignalRegistrar.
func (g *gate) RemoveSignal(ch chan<- *dbus.Signal) { g.next.RemoveSignal(ch) }

// stop ends the delivery and closes the channels behind the gate.
func (g *gate) stop() { g.next.Terminate() }

// mark sets a dirty mark: a channel of capacity one that is full when there is something to see.
func mark(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
