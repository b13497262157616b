package nvmetcp

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// patience is a listener that tells until when each of its connections waits for the host.
type patience struct {
	net.Listener
	mu    sync.Mutex
	conns []*patientConn
}

type patientConn struct {
	net.Conn
	l     *patience
	until time.Time
}

func (l *patience) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &patientConn{Conn: nc, l: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
	return c, nil
}

func (c *patientConn) SetReadDeadline(t time.Time) error {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.until = t
	return c.Conn.SetReadDeadline(t)
}

// serveUntil is serve; the function gives for how long the connection with a number waits, 0 for ever.
func serveUntil(t *testing.T, target *Target) (Endpoint, func(n int) time.Duration) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &patience{Listener: tcp}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- target.Serve(ctx, l, "test") }()
	t.Cleanup(func() { cancel(); <-done })
	return Endpoint{Addr: tcp.Addr().(*net.TCPAddr).AddrPort()}, func(n int) time.Duration {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.conns[n].until.IsZero() {
			return 0
		}
		return time.Until(l.conns[n].until)
	}
}

// An I/O queue has no keep-alive: once the host is authenticated it may be idle for ever.
func TestAuthenticatedQueueMayBeIdle(t *testing.T) {
	g := &guarded{newDisk(1 << 20), AuthPolicy{Host: secret(t, nvme.HashSHA256, 'h')}}
	e, waits := serveUntil(t, &Target{Resolver: resolver{testSub: g}, IOQueues: 1})
	cfg := hostConfig(e, testSub)
	cfg.Key = g.policy.Host
	h := dial(t, cfg)
	if n, err := h.OpenQueues(t.Context(), 1); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if d := waits(1); d != 0 {
		t.Errorf("the idle I/O queue is closed in %s", d)
	}
}

// A keep-alive timeout counts as soon as it is set, as the host's next command may take that long.
func TestKeepAliveTimeoutIsSet(t *testing.T) {
	e, waits := serveUntil(t, &Target{Resolver: resolver{testSub: newDisk(1 << 20)}})
	cfg := hostConfig(e, testSub)
	cfg.KeepAlive = 5 * time.Second
	h := dial(t, cfg)
	if d := waits(0); d > 10*time.Second {
		t.Fatalf("the target waits %s", d)
	}
	set, begin := command(nvme.OpSetFeatures, 0, nvme.FeatureKeepAlive, 120_000), time.Now()
	if _, err := h.exec(t.Context(), h.admin, set, nil, nil); err != nil {
		t.Fatal(err)
	}
	if d := waits(0); d+time.Since(begin) < 2*time.Minute {
		t.Errorf("the target waits %s for a host that has 120 s", d)
	}
}

// A host that is made to wait for its ICResp has no less time for its Connect.
func TestDelayedInitializationLeavesTimeForConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &Target{Resolver: resolver{testSub: newDisk(1 << 20)},
			Interceptor: intercept(func(s Step) Action {
				if s.Name == StepICReq {
					return Action{Delay: 2 * setupTimeout}
				}
				return Action{}
			})}
		host, peer := net.Pipe()
		served := make(chan struct{})
		go func() { defer close(served); target.serveConn(context.Background(), peer, "") }()
		defer func() { host.Close(); <-served }()
		if _, err := initialize(t.Context(), host, false, false); err != nil {
			t.Fatal(err)
		}
		q := newQueue(host, &ICResp{MaxH2CData: 4096}, 0, 4, 1024, 8192)
		defer q.close()
		h := &Host{cfg: hostConfig(Endpoint{}, testSub)}
		if _, err := h.connectQueue(t.Context(), q, nvme.CntlIDDynamic, 32); err != nil {
			t.Error(err)
		}
	})
}
