package daemon

import (
	"context"
	"sync"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/finder"
	"github.com/stas-go/stas/pkg/mdns"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// announced is the mDNS source of stafd: it browses while the configuration wants it to.
type announced struct {
	d    *daemon
	f    *finder.Finder
	want chan bool

	mu      sync.Mutex
	browser *mdns.Browser // nil while it is off
}

func newAnnounced(d *daemon, f *finder.Finder) *announced {
	return &announced{d: d, f: f, want: make(chan bool, 1)}
}

// enable switches browsing.
func (a *announced) enable(on bool) {
	select {
	case <-a.want: // an older wish
	default:
	}
	a.want <- on
}

// recheck has the addresses of all that is announced looked up again.
func (a *announced) recheck() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.browser != nil {
		a.browser.Recheck()
	}
}

func (a *announced) run(ctx context.Context) {
	stop := func() {}
	defer func() { stop() }()
	on := false
	for {
		select {
		case <-ctx.Done():
			return
		case want := <-a.want:
			if want == on {
				if !on {
					a.f.Silent(finder.Announced)
				}
				continue
			}
			on = want
			stop()
			stop = func() {}
			if on {
				stop = a.browse(ctx)
			} else {
				a.f.Silent(finder.Announced)
			}
		}
	}
}

// browse starts a browser and gives what ends it.
func (a *announced) browse(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	b := mdns.New(mdns.Options{Logger: a.d.log})
	a.mu.Lock()
	a.browser = b
	a.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.Run(ctx) })
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-b.Updates():
				s := b.Snapshot()
				a.f.Report(finder.Announced, candidates(s.Services), s.Available)
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		a.mu.Lock()
		a.browser = nil
		a.mu.Unlock()
	}
}

// loopback is what the kernel calls the interface (drivers/net/loopback.c).
const loopback = "lo"

// candidates turns announcements into discovery controllers. A connection over TCP is pinned to the
// interface on which it was announced.
func candidates(services []mdns.Service) []finder.Candidate {
	var list []finder.Candidate
	for _, s := range services {
		if a, err := tid.ParseIP(s.Traddr); s.Interface == loopback && (err != nil || !a.IsLoopback()) {
			continue // this host's own announcement, heard on the wrong interface
		}
		c := finder.Candidate{
			TID:    tid.TID{Transport: s.Transport, Traddr: s.Traddr, Trsvcid: s.Trsvcid, NQN: s.NQN},
			Source: finder.Source{Origin: finder.Announced, Detail: s.Name},
		}
		if s.Transport == nvme.TCP {
			c.TID.HostIface = s.Interface
		}
		list = append(list, c)
	}
	return list
}

// services is what nvme-stas 2.x shows of mDNS.
func (a *announced) services() bus.Object {
	a.mu.Lock()
	b := a.browser
	a.mu.Unlock()
	types, services := []string{}, bus.Object{}
	if b != nil {
		types = []string{mdns.TypeTCP, mdns.TypeUDP}
		for _, s := range b.Snapshot().Services {
			services = append(services, bus.Member{Name: s.Name + " on " + s.Interface + " at " + s.Traddr, Value: bus.Object{
				{Name: "transport", Value: string(s.Transport)}, {Name: "traddr", Value: s.Traddr}, {Name: "trsvcid", Value: s.Trsvcid},
				{Name: "host-iface", Value: s.Interface}, {Name: "subsysnqn", Value: s.NQN}, {Name: "reachable", Value: bus.True(!s.Stale)},
			}})
		}
	}
	return bus.Object{{Name: "avahi wake up timer", Value: "60.0s [off]"}, {Name: "service types", Value: types}, {Name: "services", Value: services}}
}
