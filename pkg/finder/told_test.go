package finder

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// mirror is an Observer that keeps what it was told of up to date, and nothing else.
type mirror struct {
	mu    sync.Mutex
	dirty map[string]bool
	known map[string]bus.DiscoveryController
}

func (m *mirror) ControllerChanged(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dirty[key] = true
}

// differs brings the mirror up to date and compares it with the whole state.
func (m *mirror) differs(s *shownFinder) string {
	s.Helper()
	synctest.Wait()
	m.mu.Lock()
	keys := []string{}
	for key := range m.dirty {
		keys = append(keys, key)
		delete(m.known, key)
	}
	clear(m.dirty)
	m.mu.Unlock()
	for _, o := range m.read(s, keys) {
		m.known[o.Key] = o
	}
	all := map[string]bus.DiscoveryController{}
	for _, o := range m.read(s, nil) {
		all[o.Key] = o
	}
	return cmp.Diff(all, m.known)
}

// read leaves out what is looked up in the kernel and not told.
func (m *mirror) read(s *shownFinder, keys []string) []bus.DiscoveryController {
	list, err := s.f.View().DiscoveryControllers(s.Context(), keys)
	if err != nil {
		s.Fatal(err)
	}
	for i := range list {
		list[i].KernelState, list[i].Owner = "", ""
		if list[i].SessionState == stateReconnecting {
			list[i].SessionState = stateHeld
		}
	}
	return list
}

// TestEveryChangeIsTold: whatever happens, whoever looks again at what was said to have changed knows everything.
func TestEveryChangeIsTold(t *testing.T) {
	sequences := 150
	if testing.Short() {
		sequences = 20
	}
	for seed := range uint64(sequences) {
		showFinder(t, func(s *shownFinder) {
			r := rand.New(rand.NewPCG(seed, 1))
			m := &mirror{dirty: map[string]bool{}, known: map[string]bus.DiscoveryController{}}
			synctest.Wait()
			s.f.loop.Post(func() { s.f.observer = m })
			for _, o := range m.read(s, nil) {
				m.known[o.Key] = o
			}
			var targets []tid.TID
			for n := range 4 {
				targets = append(targets, tid.TID{Transport: nvme.TCP, Traddr: fmt.Sprintf("192.0.2.%d", n+1), Trsvcid: "8009", NQN: nvme.DiscoveryNQN})
			}
			var done []string
			for range 25 {
				done = append(done, s.step(r, targets[r.IntN(len(targets))], targets))
				if d := m.differs(s); d != "" {
					s.Fatalf("seed %d, after %v (-state +told):\n%s", seed, done, d)
				}
			}
		})
	}
}

// step does one thing, and lets some time pass.
func (s *shownFinder) step(r *rand.Rand, target tid.TID, targets []tid.TID) string {
	v := s.f.View()
	t := target
	t.HostNQN = shownHost.NQN
	key := keyOf(t)
	names, _ := s.host.Names()
	name := "nvme0"
	if len(names) > 0 {
		name = names[r.IntN(len(names))]
	}
	some := slices.DeleteFunc(slices.Clone(targets), func(tid.TID) bool { return r.IntN(2) == 0 })
	defer time.Sleep(time.Duration(r.IntN(3)) * time.Second * time.Duration(r.IntN(30)))
	switch r.IntN(13) {
	case 0, 1:
		s.host.AddTarget(target, fake.Behaviour{Kind: tid.Discovery, DCType: nvme.DCTypeCDC, ConnectDelay: time.Duration(r.IntN(3)) * time.Second,
			LogDelay: time.Duration(r.IntN(3)) * time.Second})
		log := &nvme.DiscoveryLog{GenCtr: r.Uint64N(5)}
		for _, other := range some {
			log.Entries = append(log.Entries, nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4,
				Subtype: nvme.SubtypeReferral, Traddr: other.Traddr, Trsvcid: other.Trsvcid, SubNQN: nvme.DiscoveryNQN})
		}
		s.host.SetLog(target, log)
		return "add " + target.Traddr
	case 2:
		s.host.RemoveTarget(target)
		return "remove " + target.Traddr
	case 3:
		s.host.AddTarget(target, fake.Behaviour{Kind: tid.Discovery, LogErrors: []error{nvme.Status(6)}, RegisterErrors: []error{nvme.Status(6)}, DCType: nvme.DCTypeDDC})
		return "break " + target.Traddr
	case 4, 5:
		cfg := config.DefaultStaf()
		cfg.DCGiveUp = time.Minute
		if r.IntN(3) == 0 {
			cfg.Persistent = config.PersistNo
		}
		for _, t := range some {
			cfg.Controllers = append(cfg.Controllers, config.Controller{Kind: tid.Discovery, Transport: t.Transport, Traddr: t.Traddr, Trsvcid: t.Trsvcid,
				NQN: t.NQN, Scope: &config.Scope{}, Where: "stafd.conf:3"})
		}
		s.f.Configure(cfg, config.Identity{Host: shownHost})
		return fmt.Sprintf("configure %d", len(some))
	case 6:
		var list []Candidate
		for _, t := range some {
			list = append(list, Candidate{TID: t, Source: Source{Announced, "cdc " + t.Traddr}})
		}
		s.f.Report(Announced, list, true)
		return fmt.Sprintf("announce %d", len(some))
	case 7:
		return fmt.Sprintf("reconnect %s: %v", target.Traddr, v.Reconnect(s.Context(), key))
	case 8:
		return fmt.Sprintf("refresh %s: %v", target.Traddr, v.Refresh(s.Context(), key))
	case 9:
		s.host.Lose(name)
		return "lose " + name
	case 10:
		s.host.Drop(name)
		return "drop " + name
	case 11:
		s.host.Restore(name)
		return "restore " + name
	}
	s.mu.Lock()
	s.excluded = !s.excluded
	s.mu.Unlock()
	s.f.Recheck()
	return "exclude or not"
}
