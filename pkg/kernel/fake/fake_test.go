package fake

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

var host = tid.Host{NQN: "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555", ID: "11111111-2222-3333-4444-555555555555"}

func ioTID(n int) tid.TID {
	return tid.TID{Transport: nvme.TCP, Traddr: fmt.Sprintf("10.0.%d.%d", n>>8, n&255), Trsvcid: "4420", NQN: fmt.Sprintf("nqn.2024-01.test:s%d", n)}
}

var dcTID = tid.TID{Transport: nvme.TCP, Traddr: "10.9.9.9", Trsvcid: "8009", NQN: nvme.DiscoveryNQN}

func connect(t *testing.T, h *Host, kind tid.Kind, id tid.TID) kernel.Connection {
	t.Helper()
	c, err := h.Connect(t.Context(), kernel.ConnectRequest{TID: id, Kind: kind, Host: host})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// bubble runs f in a synctest bubble with a host and the changes that its watcher tells.
func bubble(t *testing.T, f func(t *testing.T, h *Host, next func() kernel.Change)) {
	synctest.Test(t, func(t *testing.T) {
		h := New()
		w := h.Watcher()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		f(t, h, func() kernel.Change {
			t.Helper()
			synctest.Wait()
			select {
			case c := <-w.Changes():
				return c
			default:
				return kernel.Change{}
			}
		})
		cancel()
		_ = h.Close()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestConnectIsToldAndOwned(t *testing.T) {
	bubble(t, func(t *testing.T, h *Host, next func() kernel.Change) {
		if c := next(); !c.ScanDone {
			t.Fatalf("first change %+v, want ScanDone", c)
		}
		h.AddTarget(dcTID, Behaviour{Kind: tid.Discovery, SubNQN: "nqn.2024-01.test:dc", ConnectDelay: time.Second})
		go func() {
			if _, err := h.Connect(t.Context(), kernel.ConnectRequest{TID: dcTID, Kind: tid.Discovery, Host: host}); err != nil {
				t.Error(err)
			}
		}()
		if c := next(); c.Name != "nvme0" || c.Controller == nil || c.Controller.State != kernel.StateConnecting || c.Controller.KindKnown {
			t.Fatalf("change %+v, want nvme0 connecting", c)
		}
		time.Sleep(2 * time.Second)
		c := next()
		if !c.Connected || c.Controller.State != kernel.StateLive || c.Controller.NQN != "nqn.2024-01.test:dc" || c.Controller.FitTo(tid.Discovery, dcTID, nil) != tid.Exact {
			t.Fatalf("change %+v, want nvme0 connected", c)
		}
		if o := h.Owner("nvme0"); !o.Is(registry.Stas) {
			t.Errorf("owner %v", o)
		}
	})
}

func TestAENOncePerRead(t *testing.T) {
	bubble(t, func(t *testing.T, h *Host, next func() kernel.Change) {
		h.AddTarget(dcTID, Behaviour{Kind: tid.Discovery})
		connect(t, h, tid.Discovery, dcTID)
		for c := next(); c.Name != "" || c.ScanDone; c = next() {
		}
		h.SetLog(dcTID, &nvme.DiscoveryLog{GenCtr: 1})
		h.SetLog(dcTID, &nvme.DiscoveryLog{GenCtr: 2})
		if c := next(); !c.AEN {
			t.Fatalf("change %+v, want an AEN", c)
		}
		if c := next(); c.Name != "" {
			t.Fatalf("change %+v, want none before the page was read", c)
		}
		if log, err := h.DiscoveryLog(t.Context(), "nvme0", nvme.ReadOptions{}); err != nil || log.GenCtr != 2 {
			t.Fatalf("DiscoveryLog = %+v, %v", log, err)
		}
		h.SetLog(dcTID, &nvme.DiscoveryLog{GenCtr: 3})
		if c := next(); !c.AEN {
			t.Fatalf("change %+v, want an AEN", c)
		}
	})
}

func TestHangEndsWithContextAndResultIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New()
		defer h.Close()
		late := make(chan kernel.Late, 1)
		h.OnOrphan = func(l kernel.Late) { late <- l }
		h.AddTarget(ioTID(1), Behaviour{Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := h.Connect(ctx, kernel.ConnectRequest{TID: ioTID(1), Host: host}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Connect = %v", err)
		}
		h.Unhang(ioTID(1))
		if l := <-late; l.Err != nil || l.Connect.TID != ioTID(1) || l.Connection.Instance != 0 {
			t.Errorf("late %+v", l)
		}
	})
}

func TestFailuresInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, h *Host, next func() kernel.Change) {
		h.AddTarget(ioTID(1), Behaviour{Failures: []syscall.Errno{syscall.ETIMEDOUT, 0}})
		_, err := h.Connect(t.Context(), kernel.ConnectRequest{TID: ioTID(1), Host: host})
		if e := new(kernel.ConnectError); !errors.As(err, &e) || e.Class != kernel.Timeout {
			t.Fatalf("Connect = %v", err)
		}
		connect(t, h, tid.IO, ioTID(1))
		if _, err := h.Connect(t.Context(), kernel.ConnectRequest{TID: ioTID(1), Host: host}); !errors.Is(err, syscall.EALREADY) {
			t.Fatalf("second Connect = %v", err)
		}
	})
}

func TestDisconnectKeepsForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New()
		defer h.Close()
		h.AddTarget(ioTID(1), Behaviour{})
		name := h.AddForeign(ioTID(1), host, registry.Autoconnect)
		c, _ := h.Controller(name)
		r := kernel.DisconnectRequest{Name: name, Expect: c.Identity(), AllowUnowned: true}
		if err := h.Disconnect(t.Context(), r); !errors.Is(err, kernel.ErrNotOurs) {
			t.Errorf("Disconnect = %v", err)
		}
		h.SetOwner(name, registry.NoOwner())
		r.Expect.CntlID++
		if err := h.Disconnect(t.Context(), r); !errors.Is(err, kernel.ErrChanged) {
			t.Errorf("Disconnect = %v", err)
		}
		r.Expect.CntlID--
		if err := h.Disconnect(t.Context(), r); err != nil {
			t.Errorf("Disconnect = %v", err)
		}
	})
}

// Whatever is lost or shuffled: after an overflow the last that was told of each name is true.
func TestLevelAfterLoss(t *testing.T) {
	bubble(t, func(t *testing.T, h *Host, next func() kernel.Change) {
		r := rand.New(rand.NewPCG(1, 2))
		told := map[string]bool{}
		take := func() {
			for c := next(); c != (kernel.Change{}); c = next() {
				if c.Name != "" {
					told[c.Name] = c.Controller != nil
				}
			}
		}
		for i := range 60 {
			h.AddTarget(ioTID(i), Behaviour{})
		}
		h.LoseEvents(20)
		for i := range 40 {
			connect(t, h, tid.IO, ioTID(i))
		}
		take()
		h.HoldEvents()
		for range 20 {
			h.Drop(kernel.Name(r.IntN(40)))
		}
		for i := 40; i < 60; i++ {
			connect(t, h, tid.IO, ioTID(i))
		}
		h.ReleaseEvents(r)
		h.Overflow()
		take()
		names, _ := h.Names()
		for _, n := range names {
			if !told[n] {
				t.Errorf("%s is there and was not told", n)
			}
			delete(told, n)
		}
		for n, there := range told {
			if there {
				t.Errorf("%s is gone and was not told", n)
			}
		}
	})
}

func BenchmarkTenThousand(b *testing.B) {
	for b.Loop() {
		h := New()
		for i := range 10000 {
			h.AddTarget(ioTID(i), Behaviour{})
			if _, err := h.Connect(b.Context(), kernel.ConnectRequest{TID: ioTID(i), Host: host}); err != nil {
				b.Fatal(err)
			}
		}
		_ = h.Close()
	}
}
