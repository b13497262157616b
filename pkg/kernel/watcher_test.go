package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
	"github.com/stas-go/stas/pkg/uevent"
)

// stage is a sysfs and a source of uevents under a test's control. Call newStage inside the bubble.
type stage struct {
	mu     sync.Mutex
	there  map[string]Controller
	err    error
	reads  int
	inode  uint64
	events chan any // uevent.Event or error
	closed chan struct{}
	only   func(Kind) bool // what its watcher tells of
}

func newStage() *stage {
	return &stage{there: map[string]Controller{}, events: make(chan any, 100000), closed: make(chan struct{})}
}

func (s *stage) Names() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for n := range s.there {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	return names, s.err
}

func (s *stage) ControllerIf(name string, want func(Kind) bool) (Controller, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.there[name]
	switch {
	case s.err != nil:
		return c, false, s.err
	case !ok:
		return c, false, ErrGone
	case want != nil && !want(Kind{c.Kind, c.KindKnown}):
		return Controller{}, false, nil
	}
	s.reads++
	return c, true, nil
}

// put makes a controller, a new one even where the name is in use.
func (s *stage) put(name string, kind tid.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inode++
	c := Controller{Name: name, Inode: s.inode, State: StateLive, CntrlType: kind.String(), Live: tid.Live{Transport: nvme.TCP, Kind: kind, KindKnown: true}}
	s.there[name] = c
}

func (s *stage) take(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.there, name)
}

func (s *stage) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *stage) Receive() (uevent.Event, error) {
	select {
	case x := <-s.events:
		if err, ok := x.(error); ok {
			return uevent.Event{}, err
		}
		return x.(uevent.Event), nil
	case <-s.closed:
		return uevent.Event{}, uevent.ErrClosed
	}
}

func (s *stage) Close() error { close(s.closed); return nil }

func (s *stage) send(action, subsystem, devname string, pairs ...string) {
	path := "/devices/virtual/" + subsystem + "/" + devname
	e, err := uevent.Parse([]byte(action + "@" + path + "\x00ACTION=" + action + "\x00DEVPATH=" + path + "\x00SUBSYSTEM=" + subsystem +
		"\x00DEVNAME=" + devname + "\x00" + strings.Join(append(pairs, ""), "\x00")))
	if err != nil {
		panic(err)
	}
	s.events <- e
}

// watch runs f in a bubble with a watcher of s; setup is what is there before it starts.
func watch(t *testing.T, setup func(*stage), f func(t *testing.T, s *stage, w *Watcher)) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		if setup != nil {
			setup(s)
		}
		w := NewWatcher(s, s)
		w.Log, w.interval, w.Only = slog.New(slog.DiscardHandler), rescanInterval, s.only
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		f(t, s, w)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		if _, open := <-w.Changes(); open {
			t.Error("the channel is open after Run")
		}
	})
}

// take takes all changes that are told without anything else happening.
func take(w *Watcher) (list []string) {
	for {
		synctest.Wait()
		select {
		case c := <-w.Changes():
			list = append(list, describe(c))
		default:
			return list
		}
	}
}

func describe(c Change) string {
	text := c.Name
	if c.Name != "" && c.Controller == nil {
		text += " gone"
	}
	for _, f := range []struct {
		set  bool
		name string
	}{{c.AEN, "aen"}, {c.Rediscover, "rediscover"}, {c.Connected, "connected"}, {c.Rescan, "rescan"}, {c.FabricsDevice, "fabrics"}, {c.ScanDone, "done"}} {
		if f.set {
			text += " " + f.name
		}
	}
	if c.FC != nil {
		text += " fc " + c.FC.Traddr + "<" + c.FC.HostTraddr
	}
	return strings.TrimSpace(text)
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%q, want\n%q", what, got, want)
	}
}

func TestWatcherTellsWhatIsThereFirst(t *testing.T) {
	watch(t, func(s *stage) {
		s.put("nvme0", tid.Discovery)
		s.put("nvme2", tid.IO)
		c := s.there["nvme0"]
		c.Name, c.Transport, c.Inode = "nvme1", nvme.PCIe, 77
		s.there["nvme1"] = c
	}, func(t *testing.T, s *stage, w *Watcher) {
		expect(t, "first scan", take(w), "nvme0 rescan", "nvme2 rescan", "done")
	})
}

func TestWatcherTellsEvents(t *testing.T) {
	watch(t, nil, func(t *testing.T, s *stage, w *Watcher) {
		expect(t, "first scan", take(w), "done")
		s.put("nvme0", tid.Discovery)
		s.send("add", "nvme", "nvme0", "NVME_TRTYPE=tcp")
		expect(t, "add", take(w), "nvme0")
		s.send("change", "nvme", "nvme0", "NVME_AEN=0x70f002")
		expect(t, "log page", take(w), "nvme0 aen")
		s.send("change", "nvme", "nvme0", "NVME_AEN=0x000100")
		expect(t, "another AEN", take(w), "nvme0")
		s.send("change", "nvme", "nvme0", "NVME_EVENT=rediscover")
		s.send("change", "nvme", "nvme0", "NVME_EVENT=connected")
		got := take(w)
		if s := strings.Join(got, " "); !strings.Contains(s, "rediscover") || !strings.Contains(s, "connected") {
			t.Errorf("reconnect: %q", got)
		}
		s.take("nvme0")
		s.send("remove", "nvme", "nvme0", "NVME_TRTYPE=tcp")
		expect(t, "remove", take(w), "nvme0 gone")
		// Of a connect that failed the end is told, which may also be that of one that was made and went at once; PCIe is none of our business.
		s.send("add", "nvme", "nvme1")
		s.send("remove", "nvme", "nvme1")
		s.send("add", "nvme", "nvme2", "NVME_TRTYPE=pcie")
		s.send("add", "nvme-subsystem", "nvme-subsys0")
		s.send("add", "nvme", "nvme0n1")
		expect(t, "a failed connect", take(w), "nvme1 gone")
		s.send("add", "misc", "nvme-fabrics")
		s.send("change", "fc", "fc_udev_device", "FC_EVENT=nvmediscovery", "NVMEFC_HOST_TRADDR=h", "NVMEFC_TRADDR=t")
		s.send("change", "fc", "fc_udev_device", "FC_EVENT=other", "NVMEFC_HOST_TRADDR=h", "NVMEFC_TRADDR=t")
		got = take(w)
		slices.Sort(got)
		expect(t, "host", got, "fabrics", "fc t<h")
	})
}

// While the consumer is slow, any number of events about a controller become one or two changes.
func TestWatcherCoalesces(t *testing.T) {
	watch(t, nil, func(t *testing.T, s *stage, w *Watcher) {
		take(w)
		s.put("nvme0", tid.Discovery)
		s.put("nvme1", tid.Discovery)
		for range 1000 {
			s.send("change", "nvme", "nvme0", "NVME_AEN=0x70f002")
			s.send("change", "nvme", "nvme1", "NVME_EVENT=connected")
		}
		got := take(w)
		if len(got) > 4 || len(got) < 2 || s.reads > 4 {
			t.Errorf("%d changes %q, %d reads", len(got), got, s.reads)
		}
	})
}

// That a connection was made is told though no event says so, as on kernels before 5.18.
func TestWatcherSeesConnectionsWithoutEvent(t *testing.T) {
	watch(t, nil, func(t *testing.T, s *stage, w *Watcher) {
		take(w)
		set := func(state string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			c := s.there["nvme0"]
			c.State = state
			s.there["nvme0"] = c
		}
		s.put("nvme0", tid.Discovery)
		set(StateConnecting)
		s.send("add", "nvme", "nvme0", "NVME_TRTYPE=tcp")
		expect(t, "add", take(w), "nvme0")
		set(StateLive)
		time.Sleep(rescanInterval)
		expect(t, "live", take(w), "nvme0 connected rescan")
		time.Sleep(rescanInterval)
		expect(t, "still live", take(w), "nvme0 rescan")
		set(StateConnecting)
		time.Sleep(rescanInterval)
		expect(t, "lost", take(w), "nvme0 rescan")
	})
}

// A name that another controller has now is told as gone first, whatever the events say.
func TestWatcherTellsReplacedController(t *testing.T) {
	watch(t, func(s *stage) { s.put("nvme0", tid.Discovery) }, func(t *testing.T, s *stage, w *Watcher) {
		take(w)
		s.put("nvme0", tid.IO)
		s.send("remove", "nvme", "nvme0", "NVME_TRTYPE=tcp")
		s.send("add", "nvme", "nvme0", "NVME_TRTYPE=tcp")
		if got := take(w); len(got) < 2 || got[0] != "nvme0 gone" || got[1] != "nvme0" {
			t.Errorf("replaced: %q", got)
		}
		s.put("nvme0", tid.Discovery) // and no event
		time.Sleep(rescanInterval + time.Second)
		expect(t, "quiet scan", take(w), "nvme0 gone rescan", "nvme0 rescan")
	})
}

// Flags of a controller that went are not told of the next one with its name.
func TestWatcherForgetsFlagsOfTheGone(t *testing.T) {
	d := newDirty()
	d.mark("nvme0", flagAEN|flagConnected)
	d.mark("nvme0", flagRemoved)
	d.mark("nvme0", flagRediscover)
	if i, ok := d.next(); !ok || i.flags&^(flagUrgent|flagRemoved) != flagRediscover {
		t.Errorf("item %+v, %v", i, ok)
	}
}

func TestWatcherOverflow(t *testing.T) {
	watch(t, func(s *stage) {
		s.put("nvme0", tid.Discovery)
		s.put("nvme1", tid.IO)
		s.put("nvme2", tid.IO)
	}, func(t *testing.T, s *stage, w *Watcher) {
		take(w)
		s.take("nvme2")
		s.put("nvme3", tid.Discovery)
		s.events <- uevent.ErrOverflow
		expect(t, "overflow", take(w), "nvme0 aen rescan", "nvme1 rescan", "nvme3 aen rescan", "nvme2 gone rescan", "done")
	})
}

// Endless overflow while nobody listens takes no more room than there are controllers.
func TestWatcherIsBounded(t *testing.T) {
	watch(t, func(s *stage) {
		for i := range 100 {
			s.put(fmt.Sprintf("nvme%d", i), tid.Discovery)
		}
	}, func(t *testing.T, s *stage, w *Watcher) {
		for range 50 {
			s.events <- fmt.Errorf("much: %w", uevent.ErrOverflow)
			for i := range 100 {
				s.send("change", "nvme", fmt.Sprintf("nvme%d", i), "NVME_AEN=0x70f002")
			}
			synctest.Wait()
			<-w.Changes()
			synctest.Wait()
		}
		w.dirty.mu.Lock()
		defer w.dirty.mu.Unlock()
		if p, u, l := len(w.dirty.pending), len(w.dirty.urgent), len(w.dirty.later); p > 100 || u > 200 || l > 200 {
			t.Errorf("%d pending, %d urgent, %d later", p, u, l)
		}
	})
}

// An event goes before what only a scan wants to look at.
func TestWatcherEventsGoFirst(t *testing.T) {
	watch(t, func(s *stage) {
		for i := range 50 {
			s.put(fmt.Sprintf("nvme%d", i), tid.Discovery)
		}
	}, func(t *testing.T, s *stage, w *Watcher) {
		synctest.Wait()
		s.send("change", "nvme", "nvme40", "NVME_AEN=0x70f002")
		got := take(w)
		if i := slices.Index(got, "nvme40 aen rescan"); i < 0 || i > 1 {
			t.Errorf("nvme40 is told at %d of %q", i, got)
		}
		if len(got) != 51 || got[50] != "done" {
			t.Errorf("%d changes, last %q", len(got), got[len(got)-1])
		}
	})
}

// What cannot be looked at is no reason to say that it is gone, nor to give up.
func TestWatcherTriesAgain(t *testing.T) {
	watch(t, func(s *stage) { s.put("nvme0", tid.Discovery) }, func(t *testing.T, s *stage, w *Watcher) {
		take(w)
		s.fail(syscall.EMFILE)
		s.send("change", "nvme", "nvme0", "NVME_AEN=0x70f002")
		expect(t, "during", take(w))
		time.Sleep(3 * time.Second)
		expect(t, "during", take(w))
		s.fail(nil)
		time.Sleep(retryInterval)
		expect(t, "after", take(w), "nvme0 aen")
	})
	watch(t, func(s *stage) { s.put("nvme0", tid.Discovery); s.err = syscall.EMFILE }, func(t *testing.T, s *stage, w *Watcher) {
		expect(t, "during the first scan", take(w))
		s.fail(nil)
		time.Sleep(retryInterval)
		expect(t, "after", take(w), "nvme0 rescan", "done")
	})
}

func TestWatcherEndsWithItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		w := NewWatcher(s, s)
		s.events <- syscall.EBADF
		go func() {
			for range w.Changes() {
			}
		}()
		if err := w.Run(t.Context()); !errors.Is(err, syscall.EBADF) {
			t.Errorf("Run = %v", err)
		}
	})
}

func BenchmarkWatcher10000(b *testing.B) {
	s := newStage()
	for i := range 10000 {
		s.put(fmt.Sprintf("nvme%d", i), tid.IO)
	}
	w := NewWatcher(s, s)
	for b.Loop() {
		if err := w.scan(lostScan); err != nil {
			b.Fatal(err)
		}
		for {
			if _, ok := w.dirty.next(); !ok {
				break
			}
		}
	}
}

// Of controllers that the consumer does not care for nothing is told and nothing more is read, however they
// become known, and one that turns out to be such a one is gone.
func TestWatcherTellsOnlyWhatConcerns(t *testing.T) {
	var reads int
	watch(t, func(s *stage) {
		s.put("nvme0", tid.Discovery)
		s.put("nvme1", tid.IO)
		s.only = func(k Kind) bool { return !k.Known || k.Kind == tid.Discovery }
	}, func(t *testing.T, s *stage, w *Watcher) {
		expect(t, "first scan", take(w), "nvme0 rescan", "done")
		reads = s.reads
		s.send("change", "nvme", "nvme1", "NVME_EVENT=connected")
		s.take("nvme1")
		s.send("remove", "nvme", "nvme1")
		expect(t, "of no concern", take(w), "nvme1 gone")
		if s.reads != reads {
			t.Errorf("%d reads of what is of no concern", s.reads-reads)
		}
		s.put("nvme2", tid.Discovery)
		c := s.there["nvme2"]
		c.CntrlType, c.KindKnown = "", false
		s.there["nvme2"] = c
		s.send("add", "nvme", "nvme2")
		expect(t, "being connected", take(w), "nvme2")
		w.Only = func(k Kind) bool { return k.Known && k.Kind == tid.Discovery } // as is said once nothing is wanted any more
		s.send("change", "nvme", "nvme2", "NVME_AEN=0x70f002")
		expect(t, "told of before, kind never known", take(w), "nvme2 aen")
		c.CntrlType, c.Kind, c.KindKnown = TypeIO, tid.IO, true
		s.there["nvme2"] = c
		s.send("change", "nvme", "nvme2", "NVME_EVENT=connected")
		expect(t, "an I/O controller after all", take(w), "nvme2 gone")
		s.fail(syscall.EMFILE)
		s.send("change", "nvme", "nvme0", "NVME_AEN=0x70f002")
		synctest.Wait()
		s.fail(nil)
		time.Sleep(2 * retryInterval)
		expect(t, "after a shortage", take(w), "nvme0 aen")
	})
}

// A kernel of an old version is polled, as it does not tell of connections, unless it has the driver of a newer one.
func TestWatcherPollsOnlyWhereItMust(t *testing.T) {
	for name, c := range map[string]struct {
		cntrlType string
		want      bool
	}{"5.14": {"", true}, "5.14 of RHEL 9": {TypeDiscovery, false}} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage()
			s.put("nvme0", tid.Discovery)
			dc := s.there["nvme0"]
			dc.CntrlType = c.cntrlType
			s.there["nvme0"] = dc
			w := NewWatcher(s, s)
			w.Log, w.interval = slog.New(slog.DiscardHandler), pollInterval
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- w.Run(ctx) }()
			take(w)
			time.Sleep(3 * pollInterval)
			if again := take(w); len(again) > 0 {
				t.Errorf("%s: told again of what has not changed: %q", name, again)
			}
			dc.State = StateConnecting // which no kernel tells
			s.mu.Lock()
			s.there["nvme0"] = dc
			s.mu.Unlock()
			time.Sleep(3 * pollInterval)
			if again := take(w); (len(again) > 0) != c.want {
				t.Errorf("%s: told of a change: %q, want that %v", name, again, c.want)
			}
			time.Sleep(rescanInterval)
			if again := take(w); len(again) == 0 {
				t.Errorf("%s: not looked at any more", name)
			}
			cancel()
			<-ended
		})
	}
}

// Kernels that tell of connections need not tell of what is being connected; others have to.
func TestNeedlessEvents(t *testing.T) {
	for release, some := range map[string]bool{"6.12.1-amd64": true, "5.18.0": true, "5.17.9": false, "5.14.0-503.el9.x86_64": false, "": false} {
		if got := needlessEvents(release); (len(got) > 0) != some {
			t.Errorf("%q: %q", release, got)
		}
	}
}
