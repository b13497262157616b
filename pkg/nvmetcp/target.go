package nvmetcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// Bounds of a target.
const (
	// defaultMaxConns bounds the connections of one target.
	defaultMaxConns = 16384
	// setupTimeout bounds the time from accept to Connect.
	setupTimeout = 10 * time.Second
	// keepAliveGrace is what a host may be late by, on top of its timeout: nvmet
	// rounds up to its own granularity in the same way.
	keepAliveGrace = 5 * time.Second
	// maxTransfer bounds the data of one command: 2^MDTS pages of 4 KiB.
	maxTransfer = 4096 << mdts
	mdts        = 8
	// mqes is CAP.MQES, the deepest queue, 0-based.
	mqes = 127
	// maxH2CData is what ICResp allows in one H2CData.
	maxH2CData = 128 << 10
	// ioInCapsule is how much data an I/O capsule may carry.
	ioInCapsule = 8192
	// maxIOQueues is how many I/O queues a controller grants at most.
	maxIOQueues = 128
)

// Target serves the subsystems that its Resolver finds, on any number of listeners.
// Fields are set before the first Serve and not changed after it.
type Target struct {
	Resolver    Resolver
	Interceptor Interceptor // nil to behave
	Observer    Observer    // nil for nobody
	IOQueues    int         // I/O queues granted per controller; 0 stands for 128
	MaxConns    int         // 0 stands for 16384

	mu     sync.Mutex
	conns  int
	ctrls  map[uint16]*Controller
	lastID uint16
}

// Serve accepts connections of l, which it calls port towards others, until ctx ends or l is closed, then closes all of
// them and waits for their goroutines. It closes l. The end of ctx is no error.
func (t *Target) Serve(ctx context.Context, l net.Listener, port string) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			// Out of file descriptors, or a connection that is already gone: neither
			// is a reason to stop serving the others.
			select {
			case <-time.After(20 * time.Millisecond):
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if !t.admit() {
			nc.Close()
			continue
		}
		wg.Go(func() {
			defer t.leave()
			t.serveConn(ctx, nc, port)
		})
	}
}

func (t *Target) admit() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	limit := t.MaxConns
	if limit == 0 {
		limit = defaultMaxConns
	}
	if t.conns >= limit {
		return false
	}
	t.conns++
	return true
}

func (t *Target) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns--
}

// Controllers gives the live controllers, in no order.
func (t *Target) Controllers() []*Controller {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*Controller, 0, len(t.ctrls))
	for _, c := range t.ctrls {
		list = append(list, c)
	}
	return list
}

// add gives c a controller ID that no live controller has. IDs are not used again
// soon: Linux refuses one that it knows from an association it has not dropped yet.
func (t *Target) add(c *Controller) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctrls == nil {
		t.ctrls = make(map[uint16]*Controller)
	}
	const last = 0xffef // Base 4.6: the IDs above are reserved
	if len(t.ctrls) >= last {
		return fmt.Errorf("cannot add a controller, there are %d: %w", len(t.ctrls), nvme.StatusControllerBusy)
	}
	for {
		t.lastID = t.lastID%last + 1
		if t.ctrls[t.lastID] == nil {
			c.id = t.lastID
			t.ctrls[c.id] = c
			return nil
		}
	}
}

func (t *Target) remove(c *Controller) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.ctrls, c.id)
}

func (t *Target) controller(id uint16) *Controller {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ctrls[id]
}

func (t *Target) intercept(s Step) Action {
	if t.Interceptor == nil {
		return Action{}
	}
	return t.Interceptor.Intercept(s)
}

// Event is something that happened between a host and the target.
type Event struct {
	Kind            string // "connection", "connect", "disconnect", "command", "aen" or "error"
	Port            string
	Local, Remote   netip.AddrPort
	HostNQN, SubNQN string
	Cntlid          uint16
	Queue           uint16
	Detail          string
}

// Observer is told of events, in the order of each connection. It is called
// concurrently and must not block.
type Observer interface {
	Observe(Event)
}

func (t *Target) observe(e Event) {
	if t.Observer != nil {
		t.Observer.Observe(e)
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
