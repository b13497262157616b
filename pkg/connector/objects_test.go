package connector

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

// shown is a Connector on a fake host, as the bus sees it.
type shown struct {
	*testing.T
	host *fake.Host
	c    *Connector

	mu     sync.Mutex
	events []string
	old    int // connections with other parameters than are configured, as was told
}

func (s *shown) note(what, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if what != "" {
		s.events = append(s.events, what)
	}
}

func (s *shown) ControllerChanged(key string)               { s.note("", key) }
func (s *shown) ControllerConnected(key string)             { s.note("connected", key) }
func (s *shown) ControllerLost(key string)                  { s.note("lost", key) }
func (s *shown) ControllerGivenUp(key, _ string)            { s.note("given up", key) }
func (s *shown) Probe(context.Context, tid.TID, bool) error { return nil }

// Attr implements Ownership together with the host.
type owners struct{ *fake.Host }

func (owners) Attr(string, string) (string, error) { return "", fs.ErrNotExist }
func (owners) Set(string, string, string) error    { return nil }

// noPages is a stafd that knows no discovery controller.
type noPages struct{ updates chan struct{} }

func (p noPages) Updates() <-chan struct{}               { return p.updates }
func (noPages) List(context.Context) ([]bus.Page, error) { return nil, nil }
func (noPages) Get(context.Context, string) (bus.Page, []nvme.DiscoveryEntry, error) {
	return bus.Page{}, nil, errors.New("no page")
}

var shownHost = tid.Host{NQN: "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555", ID: "11111111-2222-3333-4444-555555555555"}

// show runs f in a synctest bubble with a Connector.
func show(t *testing.T, f func(s *shown)) {
	synctest.Test(t, func(t *testing.T) {
		s := &shown{T: t, host: fake.New()}
		w := s.host.Watcher()
		w.Only = Concerns
		s.c = New(Options{Connector: s.host, Prober: s, Pages: noPages{make(chan struct{})}, Changes: w.Changes(), Ownership: owners{s.host},
			Read: s.host.Controller, Attached: s.attached, Interfaces: func() tid.Interfaces { return nil },
			Excluded: func(tid.TID, tid.Host) bool { return false }, Log: slog.New(slog.DiscardHandler),
			Outdated: func(n int) { s.mu.Lock(); defer s.mu.Unlock(); s.old = n }})
		s.c.Observe(s)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = w.Run(ctx) })
		wg.Go(func() { s.c.Run(ctx) })
		defer func() {
			cancel()
			_ = s.host.Close()
			wg.Wait()
		}()
		synctest.Wait()
		f(s)
	})
}

func (s *shown) attached(name string) (kernel.Attached, error) {
	c, err := s.host.Controller(name)
	return kernel.Attached{State: c.State, Subsystem: "nvme-subsys0", BlockDevices: []string{"nvme0n1"}}, err
}

// configure has lines of stacd.conf, one for each target, with the same parameters.
func (s *shown) configure(p tid.Params, targets ...tid.TID) {
	s.configureWith(config.DefaultStac(), p, targets...)
}

func (s *shown) configureWith(cfg *config.Stac, p tid.Params, targets ...tid.TID) {
	for n, t := range targets {
		cfg.Controllers = append(cfg.Controllers, config.Controller{Kind: tid.IO, Transport: t.Transport, Traddr: t.Traddr, Trsvcid: t.Trsvcid,
			NQN: t.NQN, Params: p, Given: p, Scope: &config.Scope{}, Where: fmt.Sprintf("stacd.conf:%d", n+3)})
	}
	s.c.Configure(cfg, config.Identity{Host: shownHost})
	synctest.Wait()
}

// one is the only controller.
func (s *shown) one() bus.IOController {
	s.Helper()
	synctest.Wait()
	list, err := s.c.View().IOControllers(s.Context(), nil)
	if err != nil || len(list) != 1 {
		s.Fatalf("%d controllers, %v", len(list), err)
	}
	return list[0]
}

func (s *shown) took() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.events, ", ")
	s.events = nil
	return all
}

func (s *shown) is(state, events string) bus.IOController {
	s.Helper()
	o := s.one()
	if got := s.took(); o.State != state || got != events {
		s.Fatalf("state %s after %q, want %s after %q; %+v", o.State, got, state, events, o)
	}
	return o
}

var targetA = tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.2026-01.test:a"}

func TestObjectOfAController(t *testing.T) {
	show(t, func(s *shown) {
		s.host.AddTarget(targetA, fake.Behaviour{SrcAddr: "192.0.2.9"})
		s.configure(tid.Params{}, targetA)
		o := s.is("connected", "connected")
		if o.Device != "nvme0" || o.Owner != "stas" || o.KernelState != "live" || o.SrcAddr != "192.0.2.9" || o.Subsystem != "nvme-subsys0" ||
			!slices.Equal(o.Reasons, []string{"configured stacd.conf:3"}) || !slices.Equal(o.BlockDevices, []string{"nvme0n1"}) ||
			o.ID.HostNQN != shownHost.NQN || o.HostID != shownHost.ID || len(o.PendingChanges) != 0 {
			s.Errorf("%+v", o)
		}
		if list, err := s.c.View().IOControllers(s.Context(), []string{"x", o.Key, "y"}); err != nil || len(list) != 1 || list[0].Key != o.Key {
			s.Errorf("asked for one: %+v, %v", list, err)
		}
	})
}

func TestDisconnectedUntilAskedForAgain(t *testing.T) {
	show(t, func(s *shown) {
		s.host.AddTarget(targetA, fake.Behaviour{DisconnectDelay: time.Second})
		s.configure(tid.Params{}, targetA)
		v, o := s.c.View(), s.is("connected", "connected")
		if err := v.Disconnect(s.Context(), o.Key); err != nil {
			s.Fatal(err)
		}
		s.is("disconnecting", "")
		if err := v.Disconnect(s.Context(), o.Key); err == nil {
			s.Error("two at a time")
		}
		time.Sleep(time.Hour)
		s.is("disconnected", "lost")
		s.c.Kick()
		s.c.Recheck()
		time.Sleep(time.Hour)
		s.is("disconnected", "")
		if err := v.Reconnect(s.Context(), o.Key); err != nil {
			s.Fatal(err)
		}
		s.is("connected", "connected")

		if err := v.Disconnect(s.Context(), o.Key); err != nil {
			s.Fatal(err)
		}
		time.Sleep(time.Minute)
		s.is("disconnected", "lost")
		s.configure(tid.Params{}, targetA) // a reload
		s.is("connected", "connected")
	})
}

func TestReconnectAppliesWhatIsPending(t *testing.T) {
	show(t, func(s *shown) {
		s.host.AddTarget(targetA, fake.Behaviour{DisconnectDelay: 3 * time.Second})
		s.configure(tid.Params{KeepAliveTmo: tid.SetInt(30)}, targetA)
		o := s.is("connected", "connected")
		s.configure(tid.Params{KeepAliveTmo: tid.SetInt(30), HdrDigest: tid.On, DHCHAPSecret: tid.NewSecret("DHHC-1:00:x")}, targetA)
		if o := s.is("connected", ""); !slices.Equal(o.PendingChanges, []string{"hdr-digest", "dhchap-secret"}) {
			s.Errorf("pending are %v", o.PendingChanges)
		}
		s.outdated("nvme0", "dhchap-secret hdr-digest")
		before := s.host.Stats()
		if err := s.c.View().Reconnect(s.Context(), o.Key); err != nil {
			s.Fatal(err)
		}
		time.Sleep(3100 * time.Millisecond) // at once after the disconnect, though the connection was young
		if o := s.is("connected", "lost, connected"); len(o.PendingChanges) != 0 {
			s.Errorf("pending are %v", o.PendingChanges)
		}
		s.outdated("", "")
		if now := s.host.Stats(); now.Connects != before.Connects+1 || now.Disconnects != before.Disconnects+1 {
			s.Errorf("%+v, before %+v", now, before)
		}
	})
}

// outdated checks which connections are said to use other parameters than are configured.
func (s *shown) outdated(devices, parameters string) {
	s.Helper()
	d, p, err := s.c.View().Outdated(s.Context())
	if got, also := strings.Join(d, " "), strings.Join(p, " "); err != nil || got != devices || also != parameters {
		s.Errorf("outdated are %q in %q, %v; want %q in %q", got, also, err, devices, parameters)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.old != len(d) {
		s.Errorf("told of %d outdated connections, there are %d", s.old, len(d))
	}
}

// A reload says at once what it could not apply, without any wait for what it has set in motion.
func TestOutdatedRightAfterConfigure(t *testing.T) {
	show(t, func(s *shown) {
		b := targetA
		b.Traddr = "192.0.2.2"
		s.host.AddTarget(targetA, fake.Behaviour{})
		s.host.AddTarget(b, fake.Behaviour{})
		s.configure(tid.Params{}, targetA, b)
		s.outdated("", "")
		cfg := config.DefaultStac()
		for n, p := range []tid.Params{{KeepAliveTmo: tid.SetInt(7)}, {QueueSize: tid.SetInt(32)}} {
			t := []tid.TID{targetA, b}[n]
			cfg.Controllers = append(cfg.Controllers, config.Controller{Kind: tid.IO, Transport: t.Transport, Traddr: t.Traddr, Trsvcid: t.Trsvcid,
				NQN: t.NQN, Params: p, Scope: &config.Scope{}})
		}
		s.c.Configure(cfg, config.Identity{Host: tid.Host{NQN: shownHost.NQN, ID: "99999999-2222-3333-4444-555555555555"}})
		s.outdated("nvme0 nvme1", "host-id kato queue-size")
		list, err := s.c.View().IOControllers(s.Context(), nil)
		if err != nil || len(list) != 2 {
			s.Fatal(list, err)
		}
		mine, foreign := list[0].Device, list[1].Device
		if list[0].ID.Traddr == b.Traddr {
			mine, foreign = foreign, mine
		}
		s.host.SetOwner(foreign, registry.OwnedBy("discoverd")) // not ours to reconnect
		s.c.Configure(cfg, config.Identity{Host: shownHost})
		s.outdated(mine, "kato")
		s.configure(tid.Params{}, targetA, b)
		s.outdated("", "")
		s.c.Configure(cfg, config.Identity{Host: shownHost})
		s.outdated(mine, "kato")
		s.host.RemoveTarget(targetA)
		s.host.Drop(mine)
		synctest.Wait()
		s.outdated("", "")
	})
}

func TestOnlyOursIsDisconnected(t *testing.T) {
	show(t, func(s *shown) {
		s.host.AddTarget(targetA, fake.Behaviour{})
		s.configure(tid.Params{}, targetA)
		o, v := s.is("connected", "connected"), s.c.View()
		s.host.SetOwner("nvme0", registry.OwnedBy("discoverd"))
		for what, err := range map[string]error{
			"Disconnect": v.Disconnect(s.Context(), o.Key), "Reconnect": v.Reconnect(s.Context(), o.Key),
		} {
			if err == nil || !strings.Contains(err.Error(), "discoverd") {
				s.Errorf("%s: %v", what, err)
			}
		}
		time.Sleep(time.Minute)
		if o := s.one(); o.Device != "nvme0" || o.Owner != "discoverd" {
			s.Errorf("%+v", o)
		}
		if err := v.Reconnect(s.Context(), "nobody"); !errors.Is(err, bus.ErrNoController) {
			s.Errorf("nobody: %v", err)
		}
	})
}

func TestDisconnectThatFails(t *testing.T) {
	show(t, func(s *shown) {
		s.host.AddTarget(targetA, fake.Behaviour{DisconnectError: errors.New("out of order")})
		s.configure(tid.Params{}, targetA)
		o := s.is("connected", "connected")
		if err := s.c.View().Disconnect(s.Context(), o.Key); err != nil {
			s.Fatal(err)
		}
		time.Sleep(time.Second)
		if o := s.is("connected", ""); !strings.Contains(o.LastError, "out of order") || o.LastErrorTime.IsZero() {
			s.Errorf("%+v", o)
		}
	})
}

func TestWhyItIsNotConnected(t *testing.T) {
	show(t, func(s *shown) {
		s.configure(tid.Params{}, targetA) // refuses
		o := s.is("waiting", "")
		if o.Attempts == 0 || o.LastError == "" || o.NextRetry.IsZero() || o.Device != "" {
			s.Errorf("%+v", o)
		}
	})
}

// That a key is missing, which only a human can heal, is told from a target that is out of reach.
func TestMissingKeyIsAState(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{syscall.ENOKEY: "no-key", syscall.EKEYREJECTED: "waiting", syscall.ECONNREFUSED: "waiting"} {
		show(t, func(s *shown) {
			s.host.AddTarget(targetA, fake.Behaviour{Errno: errno})
			s.configure(tid.Params{}, targetA)
			if o := s.is(want, ""); o.LastError == "" || o.NextRetry.IsZero() {
				s.Errorf("%v: %+v", errno, o)
			}
		})
	}
}

// A connection of ours that nothing wants any more is there to be seen, with the reason why it is kept.
func TestKeptConnectionIsShown(t *testing.T) {
	show(t, func(s *shown) {
		s.host.AddTarget(targetA, fake.Behaviour{DisconnectDelay: time.Second})
		s.configure(tid.Params{}, targetA)
		key := s.is("connected", "connected").Key
		keep := config.DefaultStac()
		keep.DisconnectScope = config.DisconnectNone
		s.c.Configure(keep, config.Identity{Host: shownHost})
		o := s.is("unlisted", "")
		if o.Key != key || o.Device != "nvme0" || o.Owner != "stas" || len(o.Reasons) != 1 || !strings.Contains(o.Reasons[0], "lets nothing be disconnected") {
			s.Errorf("%+v", o)
		}
		if err := s.c.View().Reconnect(s.Context(), key); err == nil {
			s.Error("reconnected what nothing wants")
		}
		s.configure(tid.Params{}, targetA)
		if o := s.is("connected", "connected"); o.Key != key {
			s.Errorf("%+v", o)
		}
		s.c.Configure(keep, config.Identity{Host: shownHost})
		s.is("unlisted", "")
		if err := s.c.View().Disconnect(s.Context(), key); err != nil {
			s.Fatal(err)
		}
		s.is("disconnecting", "")
		time.Sleep(time.Minute)
		synctest.Wait()
		if list, err := s.c.View().IOControllers(s.Context(), nil); err != nil || len(list) != 0 || s.host.Stats().Disconnects != 1 {
			s.Errorf("%+v, %v", list, err)
		}
	})
}

// TestHeapOfObjects: what a connected controller costs, its part of the fake host included. Its share in the
// bus server is measured there (some 300 bytes).
func TestHeapOfObjects(t *testing.T) {
	const n, most = 3000, 5 << 10
	show(t, func(s *shown) {
		targets := make([]tid.TID, n)
		for i := range targets {
			targets[i] = tid.TID{Transport: nvme.TCP, Traddr: fmt.Sprintf("10.0.%d.%d", i>>8, i&255), Trsvcid: "4420", NQN: fmt.Sprintf("nqn.2026-01.test:s%d", i)}
			s.host.AddTarget(targets[i], fake.Behaviour{})
		}
		host := heapInUse()
		s.configure(tid.Params{}, targets...)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.took(); s.host.Stats().Connects != n {
			s.Fatalf("%+v", s.host.Stats())
		}
		after := heapInUse()
		list, err := s.c.View().IOControllers(s.Context(), nil)
		if err != nil || len(list) != n || list[0].State != "connected" {
			s.Fatal(len(list), err)
		}
		per := (after - host) / n
		s.Logf("%d bytes each", per)
		if per > most {
			s.Errorf("%d bytes each, more than %d", per, most)
		}
	})
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A connection that was being made when the parameters changed has the old ones, and that is told.
func TestParametersChangeDuringConnect(t *testing.T) {
	show(t, func(s *shown) {
		s.host.AddTarget(targetA, fake.Behaviour{ConnectDelay: 5 * time.Second})
		s.configure(tid.Params{KeepAliveTmo: tid.SetInt(5)}, targetA)
		time.Sleep(time.Second)
		s.configure(tid.Params{KeepAliveTmo: tid.SetInt(9)}, targetA)
		time.Sleep(10 * time.Second)
		if o := s.one(); o.State != stateConnected || len(o.PendingChanges) != 1 {
			t.Errorf("made with other parameters than are configured: %+v", o)
		}
	})
}

// A connection that the kernel has made and no event has shown yet is not said to be disconnected when it is not.
func TestDisconnectBeforeItIsSeen(t *testing.T) {
	show(t, func(s *shown) {
		s.c.opts.Read = func(name string) (kernel.Controller, error) { // nothing has been read so far
			time.Sleep(time.Second)
			return s.host.Controller(name)
		}
		s.host.HoldEvents()
		s.host.AddTarget(targetA, fake.Behaviour{})
		s.configure(tid.Params{}, targetA)
		err := s.c.View().Disconnect(s.Context(), s.one().Key)
		time.Sleep(5 * time.Second)
		s.host.ReleaseEvents(nil)
		synctest.Wait()
		if names, _ := s.host.Names(); err == nil && len(names) > 0 {
			t.Errorf("%v is still there; %+v", names, s.one())
		}
	})
}

// What the kernel may have begun with already cannot be left alone: that would be told, and the connection come about all the same.
func TestDisconnectOfWhatIsHandedOver(t *testing.T) {
	show(t, func(s *shown) {
		targetB := tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.2", Trsvcid: "4420", NQN: "nqn.2026-01.test:b"}
		s.host.AddTarget(targetA, fake.Behaviour{ConnectDelay: 500 * time.Millisecond})
		s.host.AddTarget(targetB, fake.Behaviour{ConnectDelay: 500 * time.Millisecond})
		s.configure(tid.Params{}, targetA, targetB)
		var refused error
		done := make(chan struct{})
		s.c.loop.Post(func() {
			defer close(done)
			time.Sleep(600 * time.Millisecond) // the kernel is at the other by now, and the loop has not been told
			for key, i := range s.c.objects.byKey {
				if !s.c.sched.Busy(i.id) {
					refused = s.c.disconnect(key)
				}
			}
		})
		<-done
		time.Sleep(time.Minute)
		if names, _ := s.host.Names(); refused == nil && len(names) > 1 {
			t.Errorf("%v are there, although one of them was disconnected", names)
		}
	})
}

// stacctl reconnect waits until a connection is there again: one that has just been ended is not, whenever that is seen.
func TestReconnectWhoseDisconnectIsSeenLate(t *testing.T) {
	show(t, func(s *shown) {
		s.c.opts.Read = func(name string) (kernel.Controller, error) {
			c, err := s.host.Controller(name)
			time.Sleep(time.Second)
			return c, err
		}
		s.host.AddTarget(targetA, fake.Behaviour{})
		s.configure(tid.Params{}, targetA)
		time.Sleep(5 * time.Second)
		before := s.is(stateConnected, "connected")
		s.host.LoseEvents(1)
		if err := s.c.View().Reconnect(s.Context(), before.Key); err != nil {
			t.Fatal(err)
		}
		if o := s.one(); o.State != stateDisconnecting {
			t.Errorf("at once after its disconnect it is %s", o.State)
		}
		time.Sleep(10 * time.Second)
		s.is(stateConnected, "lost, connected")
	})
}
