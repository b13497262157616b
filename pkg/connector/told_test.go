package connector

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
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
	known map[string]bus.IOController
}

func (m *mirror) ControllerChanged(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dirty[key] = true
}

func (m *mirror) ControllerConnected(key string)         { m.ControllerChanged(key) }
func (m *mirror) ControllerLost(key string)              { m.ControllerChanged(key) }
func (m *mirror) ControllerGivenUp(key string, _ string) { m.ControllerChanged(key) }

// differs brings the mirror up to date and compares it with the whole state.
func (m *mirror) differs(s *shown) string {
	s.Helper()
	synctest.Wait()
	m.mu.Lock()
	var keys []string
	for key := range m.dirty {
		keys = append(keys, key)
		delete(m.known, key)
	}
	clear(m.dirty)
	m.mu.Unlock()
	for _, o := range m.read(s, append([]string{}, keys...)) {
		m.known[o.Key] = o
	}
	all := map[string]bus.IOController{}
	for _, o := range m.read(s, nil) {
		all[o.Key] = o
	}
	return cmp.Diff(all, m.known)
}

func (m *mirror) read(s *shown, keys []string) []bus.IOController {
	list, err := s.c.View().IOControllers(s.Context(), keys)
	if err != nil {
		s.Fatal(err)
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
		show(t, func(s *shown) {
			r := rand.New(rand.NewPCG(seed, 1))
			m := &mirror{dirty: map[string]bool{}, known: map[string]bus.IOController{}}
			s.c.Observe(m) // nothing is known yet, so nothing is told at the same time
			s.c.opts.Attached = nil
			var targets []tid.TID
			for n := range 4 {
				targets = append(targets, tid.TID{Transport: nvme.TCP, Traddr: fmt.Sprintf("192.0.2.%d", n+1), Trsvcid: "4420", NQN: fmt.Sprintf("nqn.2026-01.test:s%d", n/2)})
			}
			s.configure(tid.Params{}, targets...)
			var done []string
			for range 25 {
				target := targets[r.IntN(len(targets))]
				what := s.step(r, target, targets)
				done = append(done, what)
				if d := m.differs(s); d != "" {
					s.Fatalf("seed %d, after %v (-state +told):\n%s", seed, done, d)
				}
			}
		})
	}
}

// step does one thing, and lets some time pass.
func (s *shown) step(r *rand.Rand, target tid.TID, targets []tid.TID) string {
	v := s.c.View()
	key := keyOf(tid.TID{Transport: target.Transport, Traddr: target.Traddr, Trsvcid: target.Trsvcid, NQN: target.NQN, HostNQN: shownHost.NQN}, 1)
	names, _ := s.host.Names()
	name := "nvme0"
	if len(names) > 0 {
		name = names[r.IntN(len(names))]
	}
	defer time.Sleep(time.Duration(r.IntN(3)) * time.Second * time.Duration(r.IntN(20)))
	switch r.IntN(12) {
	case 0, 1:
		s.host.AddTarget(target, fake.Behaviour{ConnectDelay: time.Duration(r.IntN(3)) * time.Second, DisconnectDelay: time.Duration(r.IntN(3)) * time.Second})
		return "add " + target.Traddr
	case 2:
		s.host.RemoveTarget(target)
		return "remove " + target.Traddr
	case 3:
		s.host.AddTarget(target, fake.Behaviour{Errno: syscall.ECONNRESET, DisconnectError: syscall.EIO})
		return "break " + target.Traddr
	case 4, 5:
		some := slices.DeleteFunc(slices.Clone(targets), func(tid.TID) bool { return r.IntN(3) == 0 })
		cfg := config.DefaultStac()
		if r.IntN(4) == 0 {
			cfg.DisconnectScope = config.DisconnectNone
		}
		s.configureWith(cfg, tid.Params{KeepAliveTmo: tid.SetInt(int32(r.IntN(2)) + 5)}, some...)
		return fmt.Sprintf("configure %d", len(some))
	case 6:
		return fmt.Sprintf("disconnect %s: %v", target.Traddr, v.Disconnect(s.Context(), key))
	case 7:
		return fmt.Sprintf("reconnect %s: %v", target.Traddr, v.Reconnect(s.Context(), key))
	case 8:
		s.host.Lose(name)
		return "lose " + name
	case 9:
		s.host.Drop(name)
		return "drop " + name
	case 10:
		s.host.Restore(name)
		return "restore " + name
	}
	s.c.Kick()
	return "kick"
}

// TestFirstAnswer: the page that stands for sources which have yet to report is counted for no discovery controller.
func TestFirstAnswer(t *testing.T) {
	bubble(t, func(r *rig) {
		r.page("a", entries(1)...)
		r.publish("sources", func(p *bus.Page) { p.ID, p.HostID, p.Complete = bus.ID{}, "", false })
	}, func(r *rig) {
		if r.said("stafd answers discovery-controllers=1") != 1 {
			t.Errorf("the journal says %q", r.journal)
		}
	})
}
