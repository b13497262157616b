package finder

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
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

// shownFinder is a Finder on a fake host, as the bus sees it.
type shownFinder struct {
	*testing.T
	host     *fake.Host
	f        *Finder
	mu       sync.Mutex
	excluded bool
	lost     bool     // in the kernel, which tells nobody
	seen     []string // states, each once in a row, of the one controller
	old      int      // connections with other parameters than are configured, as was told
}

func (s *shownFinder) Probe(context.Context, tid.TID, bool) error { return nil }

// ControllerChanged is called on the loop, so it may look at the state.
func (s *shownFinder) ControllerChanged(key string) {
	d := s.f.dcs[key]
	if d == nil {
		return
	}
	state := s.f.sessionState(d, s.f.sched.Status(d.id()))
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.seen); n == 0 || s.seen[n-1] != state {
		s.seen = append(s.seen, state)
	}
}

func (s *shownFinder) states() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.seen, " ")
	s.seen = nil
	return all
}

var shownHost = tid.Host{NQN: "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555", ID: "11111111-2222-3333-4444-555555555555"}

var shownDC = tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1", Trsvcid: "8009", NQN: nvme.DiscoveryNQN}

func showFinder(t *testing.T, run func(s *shownFinder)) {
	synctest.Test(t, func(t *testing.T) {
		s := &shownFinder{T: t, host: fake.New()}
		w := s.host.Watcher()
		s.f = New(Options{Connector: s.host, Commands: s.host, Prober: s, Changes: w.Changes(), Ownership: s.host, Read: s.read,
			Interfaces: func() tid.Interfaces { return nil }, Log: slog.New(slog.DiscardHandler),
			Outdated: func(n int) { s.mu.Lock(); defer s.mu.Unlock(); s.old = n },
			Excluded: func(tid.TID, tid.Host) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.excluded }})
		w.Only = s.f.Concerns
		s.f.Observe(s)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = w.Run(ctx) })
		wg.Go(func() { s.f.Run(ctx) })
		defer func() {
			cancel()
			_ = s.host.Close()
			wg.Wait()
		}()
		cfg := config.DefaultStaf()
		cfg.Controllers = []config.Controller{{Kind: tid.Discovery, Transport: shownDC.Transport, Traddr: shownDC.Traddr, Trsvcid: shownDC.Trsvcid,
			NQN: shownDC.NQN, Scope: &config.Scope{}, Where: "stafd.conf:3"}}
		s.f.Configure(cfg, config.Identity{Host: shownHost})
		synctest.Wait()
		run(s)
	})
}

func (s *shownFinder) read(name string) (kernel.Controller, error) {
	c, err := s.host.Controller(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		c.State = kernel.StateConnecting
	}
	return c, err
}

func (s *shownFinder) one() bus.DiscoveryController {
	s.Helper()
	synctest.Wait()
	list, err := s.f.View().DiscoveryControllers(s.Context(), nil)
	if err != nil || len(list) != 1 {
		s.Fatalf("%d controllers, %v", len(list), err)
	}
	return list[0]
}

func (s *shownFinder) target(b fake.Behaviour) {
	b.Kind, b.DCType = tid.Discovery, nvme.DCTypeCDC
	s.host.AddTarget(shownDC, b)
	s.host.SetLog(shownDC, &nvme.DiscoveryLog{GenCtr: 7, Entries: []nvme.DiscoveryEntry{
		{Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4, Subtype: nvme.SubtypeNVMe, Traddr: "192.0.2.2", Trsvcid: "4420", SubNQN: "nqn.2026-01.test:a"},
	}})
	s.f.Kick()
	time.Sleep(time.Second)
}

func TestSessionAsItIsShown(t *testing.T) {
	showFinder(t, func(s *shownFinder) {
		if o := s.one(); o.SessionState != "waiting" || o.LastError == "" || o.LastErrorTime.IsZero() || o.NextRetry.IsZero() || o.Device != "" {
			s.Errorf("refused: %+v", o)
		}
		s.states()
		s.target(fake.Behaviour{ConnectDelay: time.Millisecond})
		o := s.one()
		if o.SessionState != "held" || o.Device != "nvme0" || o.Owner != "stas" || o.KernelState != "live" || o.Registration != "registered" ||
			o.PageGeneration != 7 || o.Records != 1 || o.PageReadTime.IsZero() || o.Parked || o.Disposition != bus.Active ||
			!slices.Equal(o.Origins, []string{"configured stafd.conf:3"}) || o.ID.HostNQN != shownHost.NQN || o.HostID != shownHost.ID {
			s.Errorf("connected: %+v", o)
		}
		if got, want := s.states(), "probing queued connecting identifying registering reading held"; got != want {
			s.Errorf("states %s, want %s", got, want)
		}
	})
}

func TestRefreshReadsOnceMore(t *testing.T) {
	showFinder(t, func(s *shownFinder) {
		s.target(fake.Behaviour{})
		o, v := s.one(), s.f.View()
		before := s.host.Stats().LogReads
		if err := v.Refresh(s.Context(), o.Key); err != nil {
			s.Fatal(err)
		}
		synctest.Wait()
		if reads := s.host.Stats().LogReads - before; reads != 1 {
			s.Errorf("%d reads", reads)
		}
		if err := v.Refresh(s.Context(), "nobody"); !errors.Is(err, bus.ErrNoController) {
			s.Errorf("nobody: %v", err)
		}
	})
}

func TestReconnectOfASession(t *testing.T) {
	showFinder(t, func(s *shownFinder) {
		s.target(fake.Behaviour{DisconnectDelay: time.Second})
		o, v := s.one(), s.f.View()
		s.states()
		if err := v.Reconnect(s.Context(), o.Key); err != nil {
			s.Fatal(err)
		}
		if err := v.Reconnect(s.Context(), o.Key); err == nil {
			s.Error("two at a time")
		}
		time.Sleep(1100 * time.Millisecond)
		if got := s.one(); got.SessionState != "held" || got.Records != 1 {
			s.Errorf("afterwards: %+v", got)
		}
		if got := s.states(); !strings.HasPrefix(got, "disconnecting ") || !strings.Contains(got, "connecting") || !strings.HasSuffix(got, "reading held") {
			s.Errorf("states %s", got)
		}
		if now := s.host.Stats(); now.Disconnects != 1 {
			s.Errorf("%+v", now)
		}
		s.host.SetOwner("nvme0", registry.OwnedBy("discoverd"))
		if err := v.Reconnect(s.Context(), o.Key); err == nil || !strings.Contains(err.Error(), "discoverd") {
			s.Errorf("of another owner: %v", err)
		}
	})
}

func TestFrozenIsShown(t *testing.T) {
	showFinder(t, func(s *shownFinder) {
		s.target(fake.Behaviour{})
		o := s.one()
		s.mu.Lock()
		s.excluded = true
		s.mu.Unlock()
		s.f.Recheck()
		if o := s.one(); o.SessionState != "frozen" || o.Disposition != bus.Frozen || o.Device != "nvme0" {
			s.Errorf("%+v", o)
		}
		if err := s.f.View().Reconnect(s.Context(), o.Key); err == nil {
			s.Error("reconnected what is excluded")
		}
	})
}

// The kernel does not tell that it has lost a connection; whoever asks sees it.
func TestLossIsSeenByLooking(t *testing.T) {
	showFinder(t, func(s *shownFinder) {
		s.target(fake.Behaviour{})
		s.mu.Lock()
		s.lost = true
		s.mu.Unlock()
		if o := s.one(); o.SessionState != "reconnecting" || o.KernelState != "connecting" {
			s.Errorf("%+v", o)
		}
	})
}

// The connection keeps the parameters that it was made with; what it lacks of the configuration is told.
func TestOutdatedUntilReconnected(t *testing.T) {
	showFinder(t, func(s *shownFinder) {
		s.target(fake.Behaviour{})
		outdated := func(devices, parameters string) {
			s.Helper()
			d, p, err := s.f.View().Outdated(s.Context())
			if got, also := strings.Join(d, " "), strings.Join(p, " "); err != nil || got != devices || also != parameters {
				s.Errorf("outdated are %q in %q, %v; want %q in %q", got, also, err, devices, parameters)
			}
			if got := strings.Join(slices.Sorted(slices.Values(s.one().PendingChanges)), " "); got != parameters {
				s.Errorf("pending are %q, want %q", got, parameters)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.old != len(d) {
				s.Errorf("told of %d outdated connections, there are %d", s.old, len(d))
			}
		}
		outdated("", "")
		cfg := config.DefaultStaf()
		cfg.Controllers = []config.Controller{{Kind: tid.Discovery, Transport: shownDC.Transport, Traddr: shownDC.Traddr, Trsvcid: shownDC.Trsvcid,
			NQN: shownDC.NQN, Scope: &config.Scope{}, Where: "stafd.conf:3", Params: tid.Params{KeepAliveTmo: tid.SetInt(9), DHCHAPSecret: tid.NewSecret("DHHC-1:00:x")}}}
		s.f.Configure(cfg, config.Identity{Host: shownHost})
		outdated("nvme0", "dhchap-secret kato")
		if err := s.f.View().Reconnect(s.Context(), s.one().Key); err != nil {
			s.Fatal(err)
		}
		time.Sleep(time.Minute)
		if o := s.one(); o.SessionState != "held" {
			s.Fatalf("%+v", o)
		}
		outdated("", "")
		s.f.Configure(cfg, config.Identity{Host: tid.Host{NQN: shownHost.NQN, ID: "99999999-2222-3333-4444-555555555555"}})
		outdated("nvme0", "host-id")
		s.host.SetOwner("nvme0", registry.OwnedBy("discoverd"))
		s.f.Configure(cfg, config.Identity{Host: shownHost})
		outdated("", "")
	})
}
