package connector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
)

const machineIOCs = 6

// TestConnectorAnySequence drives a whole connector with any sequence of pages, of stafd dying,
// of configurations, of exclusions, of other people's connections, of targets that fail, take their time and
// vanish, of events that are lost, held back and shuffled, and of restarts. After every step
// its books must agree, and no disconnect may break a promise. In the end, when all is
// reachable and told, what is wanted is connected and what is ours and not wanted is gone.
func TestConnectorAnySequence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// rapid fails by panicking, which must not happen in the bubble.
		var failure any
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			defer func() {
				failure = recover()
				r.stop()
				_ = r.Close()
				synctest.Wait()
			}()
			m := &machine{rig: r, rt: rt, foreign: map[string]bool{}, others: map[string]bool{}}
			r.watch = m.judge
			r.targets(machineIOCs, fake.Behaviour{})
			r.firmware[io(5).Traddr] = true
			r.start()
			synctest.Wait()
			rt.Repeat(m.actions())
			m.end()
		})
		if failure != nil {
			panic(failure)
		}
	})
}

type machine struct {
	*rig
	rt      *rapid.T
	foreign map[string]bool // devices of others
	others  map[string]bool // addresses that others have connected, or that were described in two ways while the daemon restarted
}

func (m *machine) number(name string) int { return rapid.IntRange(0, machineIOCs-1).Draw(m.rt, name) }

func (m *machine) key() string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(m.rt, "page") }

// someEntries are a few entries, some of them twice, with other flags.
func (m *machine) someEntries() []nvme.DiscoveryEntry {
	list := []nvme.DiscoveryEntry{}
	for _, n := range rapid.SliceOfN(rapid.IntRange(0, machineIOCs-1), 0, 8).Draw(m.rt, "entries") {
		e := entry(n)
		if rapid.IntRange(0, 5).Draw(m.rt, "ncc") == 0 {
			e.EFlags |= nvme.NCC
		}
		list = append(list, e)
	}
	return list
}

func (m *machine) actions() map[string]func(*rapid.T) {
	spans := rapid.SampledFrom([]time.Duration{time.Millisecond, 700 * time.Millisecond, 3 * time.Second, time.Minute, 11 * time.Minute})
	device := func() string {
		var names []string // of those whose first connect is through
		for _, c := range must(m.Controllers()) {
			if c.KindKnown {
				names = append(names, c.Name)
			}
		}
		if len(names) == 0 {
			return ""
		}
		return rapid.SampledFrom(names).Draw(m.rt, "device")
	}
	return map[string]func(*rapid.T){
		"": func(*rapid.T) { m.books() },
		"page": func(*rapid.T) {
			ways := []func(*bus.Page){nil, nil, nil,
				func(p *bus.Page) { p.Complete, p.Revision = false, 0 }, func(p *bus.Page) { p.Dropped = 1 },
				func(p *bus.Page) { p.Disposition = bus.Frozen }, func(p *bus.Page) { p.Disposition = bus.Forgotten }}
			key := m.key()
			way := ways[rapid.IntRange(0, len(ways)-1).Draw(m.rt, "way")]
			m.publish(key, func(p *bus.Page) {
				p.ID.Traddr = "10.255.0." + map[string]string{"a": "1", "b": "2", "c": "3"}[key]
				if key == "c" { // what it lists is described in two ways
					p.ID.HostIface = "eth0"
					for n := range machineIOCs {
						m.others[io(n).Traddr] = true
					}
				}
				if way != nil {
					way(p)
				}
			}, m.someEntries()...)
		},
		"page gone": func(*rapid.T) { m.forget(m.key()) },
		"stafd":     func(*rapid.T) { m.with(func() { m.dead = !m.dead }); m.tell() },
		"page that cannot be had": func(*rapid.T) {
			key := m.key()
			m.with(func() { m.broken[key] = !m.broken[key] })
			m.tell()
		},
		"configuration": func(*rapid.T) {
			m.configure(func(c *config.Stac) {
				c.Controllers, c.Excludes = nil, nil
				for range rapid.IntRange(0, 2).Draw(m.rt, "lines") {
					id := io(m.number("line"))
					if rapid.Bool().Draw(m.rt, "pinned") {
						id.HostIface = "eth0"
						m.others[id.Traddr] = true
					}
					if !slices.ContainsFunc(c.Controllers, func(l config.Controller) bool { return l.Traddr == id.Traddr }) {
						c.Controllers = append(c.Controllers, line(id))
					}
				}
				if rapid.IntRange(0, 3).Draw(m.rt, "excludes") == 0 {
					c.Excludes = []config.Exclude{{Text: "traddr=" + io(m.number("excluded")).Traddr}}
				}
				c.Incomplete = rapid.IntRange(0, 5).Draw(m.rt, "incomplete") == 0
				c.HonorFabricZoning = rapid.IntRange(0, 5).Draw(m.rt, "zoning") != 0
				c.ConnectAttemptsOnNCC = 2 * rapid.IntRange(0, 1).Draw(m.rt, "ncc")
			})
		},
		"host-wide exclusion": func(*rapid.T) {
			n := m.number("excluded")
			m.with(func() { m.excluded[io(n).Traddr] = !m.excluded[io(n).Traddr] })
			m.c.Recheck()
			synctest.Wait()
		},
		"foreign": func(*rapid.T) {
			id := io(m.number("target"))
			id.HostIface = rapid.SampledFrom([]string{"", "", "eth0", "eth3"}).Draw(m.rt, "iface")
			if all := must(m.Controllers()); slices.ContainsFunc(all, func(c kernel.Controller) bool { return c.Traddr == id.Traddr }) {
				m.rt.Skip("there is one")
			}
			owner := rapid.SampledFrom([]string{"discoverd", "nbft", "", "stas"}).Draw(m.rt, "owner")
			m.AddTarget(io(0), fake.Behaviour{})
			name := m.AddForeign(id, testHost, owner)
			m.with(func() {
				delete(m.attrs, name)
				m.foreign[name] = owner != "" && owner != "stas"
				m.others[id.Traddr] = true
			})
			synctest.Wait()
		},
		"drop": func(*rapid.T) {
			if name := device(); name != "" {
				m.Drop(name)
				m.with(func() { delete(m.foreign, name) })
				synctest.Wait()
			}
		},
		"lose": func(*rapid.T) {
			if name := device(); name != "" {
				m.Lose(name)
			}
		},
		"restore": func(*rapid.T) {
			if name := device(); name != "" {
				m.Restore(name)
				synctest.Wait()
			}
		},
		"target": func(*rapid.T) {
			b := fake.Behaviour{
				ConnectDelay:    rapid.SampledFrom([]time.Duration{0, 0, 20 * time.Millisecond, 5 * time.Second}).Draw(m.rt, "connects in"),
				DisconnectDelay: rapid.SampledFrom([]time.Duration{0, 0, 5 * time.Second}).Draw(m.rt, "ends in"),
				Errno:           rapid.SampledFrom([]syscall.Errno{0, 0, syscall.ECONNREFUSED, syscall.EIO}).Draw(m.rt, "errno"),
			}
			if rapid.IntRange(0, 3).Draw(m.rt, "stays") == 0 {
				b.DisconnectError = errors.New("it will not go")
			}
			m.AddTarget(io(m.number("target")), b)
		},
		"silent": func(*rapid.T) {
			n := m.number("target")
			m.with(func() { m.silent[io(n).Traddr] = !m.silent[io(n).Traddr] })
		},
		"hold events": func(*rapid.T) { m.HoldEvents() },
		"release events": func(*rapid.T) {
			m.ReleaseEvents(rand.New(rand.NewPCG(rapid.Uint64().Draw(m.rt, "seed"), 1)))
			synctest.Wait()
		},
		"lose events":  func(*rapid.T) { m.LoseEvents(rapid.IntRange(1, 5).Draw(m.rt, "lost")); m.Overflow(); synctest.Wait() },
		"fabrics gone": func(*rapid.T) { m.RemoveFabrics() },
		"fabrics back": func(*rapid.T) { m.AddFabrics(); synctest.Wait() },
		"kick":         func(*rapid.T) { m.c.Kick(); synctest.Wait() },
		"restart":      func(*rapid.T) { m.restart() },
		"time":         func(*rapid.T) { m.pass(spans.Draw(m.rt, "passes")) },
	}
}

// wants says whether the n-th controller is asked for by what can be heard: a line or an active
// page; asks says so of a connection that is pinned to an interface, or to none.
func (m *machine) wants(n int) bool { return m.asks(io(n).Traddr, "", bus.Active) }

func (m *machine) asks(traddr, iface string, d bus.Disposition) bool {
	fits := func(pin string) bool { return pin == "" || iface == "" || pin == iface }
	for _, l := range m.cfg.Controllers {
		if l.Traddr == traddr && fits(l.HostIface) && d == bus.Active {
			return true
		}
	}
	for _, p := range m.pages {
		if p.page.Disposition == d && p.page.Complete && fits(p.page.ID.HostIface) &&
			slices.ContainsFunc(p.entries, func(e nvme.DiscoveryEntry) bool { return e.Traddr == traddr }) {
			return true
		}
	}
	return false
}

// judge is asked about every disconnect that is requested, with the state of the world locked.
func (m *machine) judge(q kernel.DisconnectRequest) {
	device, err := m.Host.Controller(q.Name)
	if err != nil || device.Inode != q.Expect.Inode {
		return // nothing will come of it
	}
	bad := func(why string) {
		m.rt.Errorf("%s: disconnect of %s (%s, %s)\nlines %v\npages %v\n%v", why, q.Name, device.Traddr, device.HostIface, m.cfg.Controllers, m.pages, m.journal[max(0, len(m.journal)-10):])
	}
	excluded := slices.ContainsFunc(m.cfg.Excludes, func(x config.Exclude) bool { return x.Text == "traddr="+q.Expect.Traddr })
	broken := false
	for key, b := range m.broken {
		_, there := m.pages[key]
		broken = broken || b && there
	}
	switch {
	case m.firmware[q.Expect.Traddr]:
		bad("the firmware's")
	case q.AnyOwner || q.AllowUnowned:
		bad("not only ours")
	case excluded:
	case m.dead:
		bad("stafd is silent")
	case m.cfg.Incomplete || !m.cfg.HonorFabricZoning:
		bad("the configuration does not let it")
	case !broken && m.asks(device.Traddr, device.HostIface, bus.Active):
		bad("it is listed")
	case !broken && m.asks(device.Traddr, device.HostIface, bus.Frozen):
		bad("a frozen page lists it")
	}
}

// books checks what must agree after every step.
func (m *machine) books() {
	problems, err := loop.Ask(context.Background(), m.c.loop, func() []string { return m.c.problems() })
	if err != nil || len(problems) > 0 {
		m.rt.Fatalf("the books do not agree: %v %v", problems, err)
	}
}

// problems are what does not agree in the books of a connector. It runs on the loop.
func (c *Connector) problems() []string {
	var list []string
	bad := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	paths := map[string]int{}
	for id, i := range c.iocs {
		if i.id != id || !slices.Contains(c.places[placeOf(id)], i) {
			bad("%s is misfiled", id)
		}
		if !i.named() {
			bad("%s is known and nothing names it", id)
		}
		if i.device != nil && c.bound[i.device.Name] != i {
			bad("%s has %s, which is not bound to it", id, i.device.Name)
		}
		if i.landing != "" && (c.landing[i.landing] != i || i.device != nil) {
			bad("%s waits for %s", id, i.landing)
		}
		if i.counted {
			paths[id.NQN]++
		}
		if i.counted != (i.live || i.landing != "") || i.live && i.device == nil {
			bad("%s counts %v, live %v, landing %q", id, i.counted, i.live, i.landing)
		}
		for _, l := range i.listed {
			if c.pages[l.by.meta.Key] != l.by || !slices.Contains(l.by.iocs, i) {
				bad("%s is said to be listed by %s", id, l.by.meta.Key)
			}
		}
	}
	if !maps.Equal(paths, c.paths) {
		bad("paths %v, counted %v", c.paths, paths)
	}
	for name, i := range c.bound {
		if i.device == nil || i.device.Name != name || c.iocs[i.id] != i || c.strays[name] != nil {
			bad("%s is bound to %s", name, i.id)
		}
	}
	for name, s := range c.strays {
		if s.ctrl.Name != name || !slices.Contains(c.adriftAt[placeOf(s.id)], s) {
			bad("stray %s is misfiled", name)
		}
	}
	// What is listed is what a naive reading of the pages gives.
	for key, p := range c.pages {
		if len(p.iocs) != len(p.entries) {
			bad("page %s has %d entries and %d meanings", key, len(p.entries), len(p.iocs))
			continue
		}
		for n, e := range p.entries {
			t, ok := c.means(p, e)
			if !ok {
				continue
			}
			i := c.iocs[t]
			if p.iocs[n] != i || i == nil || !slices.ContainsFunc(i.listed, func(l listing) bool { return l.by == p }) {
				bad("entry %d of page %s means %s, which is not listed", n, key, t)
			}
		}
	}
	for p, all := range c.places {
		if len(all) == 0 {
			bad("nothing is at %v", p)
		}
	}
	return list
}

// end has everything become reachable and told, and looks at what comes of it.
func (m *machine) end() {
	m.ReleaseEvents(nil)
	m.AddFabrics()
	m.targets(machineIOCs, fake.Behaviour{})
	m.with(func() {
		m.dead = false
		clear(m.broken)
		clear(m.silent)
		clear(m.excluded)
	})
	m.tell()
	for _, key := range []string{"a", "b", "c"} {
		p, ok := m.pages[key]
		if ok && (!p.page.Complete || p.page.Disposition != bus.Active || p.page.Dropped != 0) {
			m.publish(key, func(q *bus.Page) { q.ID = p.page.ID }, p.entries...)
		}
	}
	for _, c := range must(m.Controllers()) {
		if c.State != kernel.StateLive {
			m.Restore(c.Name)
		}
	}
	m.Overflow()
	m.configure(func(c *config.Stac) { c.Incomplete, c.HonorFabricZoning, c.ConnectAttemptsOnNCC = false, true, 0 })
	m.tell()
	m.pass(45 * time.Minute)
	m.books()
	count := map[string]int{}
	for _, c := range must(m.Controllers()) {
		count[c.Traddr]++
		excluded := slices.ContainsFunc(m.cfg.Excludes, func(x config.Exclude) bool { return x.Text == "traddr="+c.Traddr })
		if o := m.Host.Owner(c.Name); o.Is(Owner) && (!m.asks(c.Traddr, c.HostIface, bus.Active) || excluded) && !m.firmware[c.Traddr] {
			m.rt.Errorf("%s to %s is ours and still there: %v", c.Name, c.Traddr, m.journal[max(0, len(m.journal)-20):])
		}
	}
	for n := range machineIOCs {
		excluded := slices.ContainsFunc(m.cfg.Excludes, func(x config.Exclude) bool { return x.Text == "traddr="+io(n).Traddr })
		if m.wants(n) && !excluded && !m.firmware[io(n).Traddr] && count[io(n).Traddr] == 0 {
			m.rt.Errorf("%s is wanted and reachable, and not connected: %+v", io(n), m.journal[max(0, len(m.journal)-20):])
		}
		if count[io(n).Traddr] > 1 && !m.others[io(n).Traddr] {
			m.rt.Errorf("%s is connected %d times", io(n), count[io(n).Traddr])
		}
	}
	for name, is := range m.foreign {
		if o := m.Host.Owner(name); is && o.Is(Owner) && o.Kind() != registry.KindNone {
			m.rt.Errorf("%s was taken from its owner", name)
		}
	}
}
