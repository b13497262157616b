package fabricsim

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// stall connects a host to a discovery controller that has an event request outstanding and then takes nothing more,
// so that whatever is sent to it waits.
func stall(t *testing.T, f *Fabric, port, nqn string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var deaf atomic.Bool
	go func() {
		host, err := l.Accept()
		if err != nil {
			return
		}
		controller, err := net.Dial("tcp", f.Addr(port).String())
		if err != nil {
			host.Close()
			return
		}
		go func() { io.Copy(controller, host); controller.Close() }()
		buf := make([]byte, 4096)
		for !deaf.Load() {
			n, err := controller.Read(buf)
			if err != nil {
				break
			}
			host.Write(buf[:n])
		}
	}()
	id, _ := nvme.HostIDFromNQN(nqn)
	h, err := nvmetcp.Dial(t.Context(), nvmetcp.HostConfig{HostNQN: nqn, HostID: id, CommandTimeout: 10 * time.Second,
		Endpoint: nvmetcp.Endpoint{Addr: l.Addr().(*net.TCPAddr).AddrPort()}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); h.Close() })
	if err := h.EnableEvents(ctx, nvme.OAESDiscovery); err != nil {
		t.Fatal(err)
	}
	waitRequests(t, f)
	deaf.Store(true)
	reads := func() (n int) {
		for _, e := range f.Events(0) {
			if e.Host == nqn && strings.HasPrefix(e.Detail, "get log page") {
				n++
			}
		}
		return n
	}
	const asked = 24 // of 1 MiB each: more than the sockets hold
	for range asked {
		go h.GetLog(ctx, nvme.LogDiscovery, 0, 0, make([]byte, 1<<20), true)
	}
	await(t, func() bool {
		before := reads()
		time.Sleep(100 * time.Millisecond)
		return before > 0 && reads() == before
	})
	if n := reads(); n == asked {
		t.Fatal("the host is sent all that it asked for")
	}
}

// listen connects a host that wants events.
func listen(t *testing.T, f *Fabric, port, nqn string) *nvmetcp.Host {
	t.Helper()
	h := connect(t, f, port, nqn, "")
	if err := h.EnableEvents(t.Context(), nvme.OAESDiscovery); err != nil {
		t.Fatal(err)
	}
	waitRequests(t, f)
	return h
}

// A host that takes nothing holds up neither the events of others nor who asks for them.
func TestEventsPastAStalledHost(t *testing.T) {
	f := start(t, sample)
	h := listen(t, f, "p1", bob)
	stall(t, f, "p1", alice)
	begin := time.Now()
	if n, err := f.RaiseAEN("cdc", ""); n != 2 || err != nil {
		t.Errorf("raised %d events, %v", n, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := h.WaitEvent(ctx); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("it took %s", d)
	}
}

func TestStormPastAStalledHost(t *testing.T) {
	f := start(t, sample)
	h := listen(t, f, "p1", bob)
	stall(t, f, "p1", alice)
	if err := f.AddFault(FaultConfig{Name: "storm", Action: "aen-storm=1ms"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	for i := range 5 {
		if _, err := h.WaitEvent(ctx); err != nil {
			t.Fatalf("after %d events: %v", i, err)
		}
	}
}
