package fabricsim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/stas-go/stas/pkg/nvmetcp"
)

// PortState is what a port does with those who connect.
type PortState string

// Values of PortState.
const (
	PortUp        PortState = "up"
	PortDown      PortState = "down"      // refuses
	PortBlackhole PortState = "blackhole" // swallows SYNs
)

// port is an address.
type port struct {
	PortConfig
	id              uint16
	traddr, trsvcid string // as log pages show them; guarded by fabric.mu

	// Guarded by fabric.portMu.
	state  PortState
	addr   netip.AddrPort // that it listens on, once it did
	cancel context.CancelFunc
	done   chan struct{}
	hole   *blackhole
	// announced holds, by discovery controller, what ends its announcement by mDNS and waits for that.
	announced map[string]func()
}

func newPort(c PortConfig, id uint16) *port {
	return &port{PortConfig: c, id: id, addr: c.Address, announced: make(map[string]func())}
}

// open listens and serves; f.portMu is held or nobody else knows f yet.
func (f *Fabric) open(p *port) error {
	l, err := f.listen(p)
	if err == nil {
		f.serve(p, l)
	}
	return err
}

// listen takes the address. Who connects waits until the port is served.
func (f *Fabric) listen(p *port) (net.Listener, error) {
	l, err := net.Listen("tcp", p.addr.String())
	if err != nil {
		return nil, fmt.Errorf("cannot open port %s: %w", p.Name, err)
	}
	p.addr = netip.AddrPortFrom(p.addr.Addr(), l.Addr().(*net.TCPAddr).AddrPort().Port())
	f.mu.Lock()
	p.traddr = cmp.Or(p.Advertise, p.addr.Addr().WithZone("").String())
	p.trsvcid = cmp.Or(p.Service, strconv.Itoa(int(p.addr.Port())))
	f.mu.Unlock()
	return l, nil
}

func (f *Fabric) serve(p *port, l net.Listener) {
	ctx, cancel := context.WithCancel(f.ctx)
	done := make(chan struct{})
	p.cancel, p.done, p.state = cancel, done, PortUp
	go func() {
		defer close(done)
		// Serve ends when ctx does, which is no error.
		_ = f.target.Serve(ctx, l, p.Name)
	}()
}

// close ends the listener and all connections of the port.
func (p *port) close() {
	if p.cancel != nil {
		p.cancel()
		<-p.done
		p.cancel = nil
	}
	if p.hole != nil {
		p.hole.close()
		p.hole = nil
	}
	p.state = PortDown
}

// SetPort opens or shuts a port. Its connections end unless it stays as it is.
func (f *Fabric) SetPort(name string, state PortState) error {
	f.portMu.Lock()
	defer f.portMu.Unlock()
	p := f.port(name)
	if p == nil {
		return fmt.Errorf("cannot change port %s: there is none", name)
	}
	if p.state == state {
		return nil
	}
	if f.ctx.Err() != nil {
		return fmt.Errorf("cannot change port %s: %w", name, errClosed)
	}
	p.close()
	f.events.add(Event{Kind: "port", Port: name, Detail: string(state)})
	return f.enter(p, state)
}

// enter gives a closed port its state. f.portMu is held.
func (f *Fabric) enter(p *port, state PortState) error {
	switch state {
	case PortUp:
		return f.open(p)
	case PortBlackhole:
		hole, err := openBlackhole(p.addr)
		if err != nil {
			return fmt.Errorf("cannot make port %s a black hole: %w", p.Name, err)
		}
		p.hole, p.state = hole, PortBlackhole
	case PortDown:
	default:
		return fmt.Errorf("cannot change port %s: state %q is unknown", p.Name, state)
	}
	return nil
}

// MovePort takes a port to another address: its connections end, log pages show the
// new address, and hosts that are connected elsewhere are told.
func (f *Fabric) MovePort(name string, addr netip.AddrPort) error {
	f.portMu.Lock()
	defer f.portMu.Unlock()
	p := f.port(name)
	if p == nil || !addr.IsValid() {
		return fmt.Errorf("cannot move port %s to %s: there is no such port or address", name, addr)
	}
	if f.ctx.Err() != nil {
		return fmt.Errorf("cannot move port %s: %w", name, errClosed)
	}
	if addr.Addr().IsUnspecified() && p.Advertise == "" {
		return fmt.Errorf("cannot move port %s to %s: a port on all addresses needs advertise-address", name, addr)
	}
	before, state := p.addr, p.state
	p.close()
	p.addr = addr
	if err := f.open(p); err != nil {
		p.addr = before
		return fmt.Errorf("cannot move: %w", errors.Join(err, f.enter(p, state)))
	}
	f.announcePort(p)
	f.events.add(Event{Kind: "port", Port: name, Detail: "moved to " + p.addr.String()})
	return f.change(func() (scope, error) { return scope{all: true}, nil })
}

// Addr is where a port listens, the zero value for a port that there is none of.
func (f *Fabric) Addr(name string) netip.AddrPort {
	f.portMu.Lock()
	defer f.portMu.Unlock()
	if p := f.port(name); p != nil {
		return p.addr
	}
	return netip.AddrPort{}
}

// applyPortFault shuts or moves the port of a fault.
func (f *Fabric) applyPortFault(flt *fault) error {
	switch flt.word {
	case "refuse":
		return f.SetPort(flt.Port, PortDown)
	case "blackhole":
		return f.SetPort(flt.Port, PortBlackhole)
	}
	return f.MovePort(flt.Port, flt.moveTo())
}

// dropLater ends a connection after the time that a fault says.
func (f *Fabric) dropLater(c *nvmetcp.Controller) {
	flt := f.struck(c, "drop-after")
	if flt == nil {
		return
	}
	f.spawn(func() {
		select {
		case <-time.After(flt.span):
			f.events.add(Event{Kind: "fault", Host: c.HostNQN(), Subsystem: c.SubNQN(), Cntlid: c.ID(), Detail: flt.Name + ": " + flt.Action})
			c.Close()
		case <-c.Done():
		case <-f.ctx.Done():
		}
	})
}
