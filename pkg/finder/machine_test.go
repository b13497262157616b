package finder

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/nvme"
)

const machineDCs = 5

// TestFinderAnySequence drives a whole finder with any sequence of configurations, announcements,
// referrals, exclusions, pages, events that are lost, held back and shuffled, controllers that fail, hang
// and vanish, other people's connections, and restarts. After every step its books must agree and no
// disconnect may break a promise. In the end, when all is reachable, what is named is connected and
// its page is known, and nothing is connected twice by us.
func TestFinderAnySequence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			defer func() {
				failure = recover()
				r.stop()
				_ = r.Close()
				synctest.Wait()
			}()
			m := &machine{rig: r, rt: rt, announced: map[string]bool{}}
			if rapid.Bool().Draw(rt, "state is kept") {
				r.dir = dir
			}
			r.watch = m.judge
			for n := range machineDCs {
				r.target(dcAt(n), fake.Behaviour{}, subsystem(n))
			}
			r.cfg.LogPageRefresh, r.cfg.Zeroconf = 5*time.Minute, true
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
	rt        *rapid.T
	announced map[string]bool
	services  []Candidate // what is announced
	foreign   bool        // somebody else has connected something
}

func dcAt(n int) string { return fmt.Sprintf("10.0.0.%d", n+1) }

func (m *machine) number(name string) int { return rapid.IntRange(0, machineDCs-1).Draw(m.rt, name) }

func (m *machine) someEntries() []nvme.DiscoveryEntry {
	list := []nvme.DiscoveryEntry{}
	for _, n := range rapid.SliceOfN(rapid.IntRange(0, 2*machineDCs-1), 0, 5).Draw(m.rt, "entries") {
		if n < machineDCs {
			list = append(list, referral(dcAt(n)))
		} else {
			list = append(list, subsystem(n))
		}
	}
	return list
}

func (m *machine) actions() map[string]func(*rapid.T) {
	device := func() string {
		var names []string
		for _, c := range m.connections() {
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
		"configuration": func(*rapid.T) {
			m.configure(func(c *config.Staf) {
				c.Controllers, c.Excludes = nil, nil
				for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, machineDCs-1), 0, 3, rapid.ID[int]).Draw(m.rt, "lines") {
					c.Controllers = append(c.Controllers, controller(dcAt(n)))
				}
				if rapid.IntRange(0, 3).Draw(m.rt, "excludes") == 0 {
					c.Excludes = []config.Exclude{{Text: "traddr=" + dcAt(m.number("excluded"))}}
				}
				c.Incomplete = rapid.IntRange(0, 5).Draw(m.rt, "incomplete") == 0
				c.DCGiveUp = rapid.SampledFrom([]time.Duration{0, time.Minute, 72 * time.Hour, config.Forever}).Draw(m.rt, "give up")
				c.Persistent = rapid.SampledFrom([]config.Persistence{config.PersistHold, config.PersistHold, config.PersistAuto, config.PersistNo}).Draw(m.rt, "persistent")
			})
		},
		"announcements": func(*rapid.T) {
			var list []Candidate
			clear(m.announced)
			for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, machineDCs-1), 0, 2, rapid.ID[int]).Draw(m.rt, "announced") {
				id := dcTID(dcAt(n))
				id.HostIface = rapid.SampledFrom([]string{"", "eth0"}).Draw(m.rt, "iface")
				list = append(list, Candidate{TID: id, Source: Source{Announced, "svc"}})
				m.announced[dcAt(n)] = true
			}
			m.services = list
			m.f.Report(Announced, list, true)
			synctest.Wait()
		},
		"page": func(*rapid.T) {
			l := log(m.someEntries()...)
			if rapid.IntRange(0, 4).Draw(m.rt, "broken") == 0 {
				l.Dropped, l.DropReasons = 1, []nvme.DroppedEntry{{Reason: errors.New("nonsense")}}
			}
			id := dcTID(dcAt(m.number("page of")))
			if rapid.Bool().Draw(m.rt, "told") {
				m.SetLog(id, l)
			} else {
				m.SetLogQuietly(id, l)
			}
			synctest.Wait()
		},
		"event": func(*rapid.T) {
			if name := device(); name != "" {
				m.RaiseAEN(name)
				synctest.Wait()
			}
		},
		"host-wide exclusion": func(*rapid.T) {
			a := dcAt(m.number("excluded"))
			m.with(func() { m.excluded[a] = !m.excluded[a] })
			m.f.Recheck()
			synctest.Wait()
		},
		"foreign": func(*rapid.T) {
			a := dcAt(m.number("target"))
			owner := rapid.SampledFrom([]string{"discoverd", "", "stas"}).Draw(m.rt, "owner")
			m.foreign = true
			m.AddForeign(dcTID(a), testHost, owner)
			synctest.Wait()
		},
		"drop": func(*rapid.T) {
			if name := device(); name != "" {
				m.Drop(name)
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
			n := m.number("target")
			b := fake.Behaviour{Kind: 1,
				ConnectDelay:    rapid.SampledFrom([]time.Duration{0, 0, 5 * time.Second}).Draw(m.rt, "connects in"),
				DisconnectDelay: rapid.SampledFrom([]time.Duration{0, 0, 5 * time.Second}).Draw(m.rt, "ends in"),
				Errno:           rapid.SampledFrom([]syscall.Errno{0, 0, syscall.ECONNREFUSED}).Draw(m.rt, "errno"),
				LogDelay:        rapid.SampledFrom([]time.Duration{0, 0, 2 * time.Second}).Draw(m.rt, "reads in"),
				DCType:          rapid.SampledFrom([]nvme.DCType{0, nvme.DCTypeCDC}).Draw(m.rt, "type"),
			}
			if rapid.IntRange(0, 3).Draw(m.rt, "stays") == 0 {
				b.DisconnectError = errors.New("it will not go")
			}
			for range rapid.IntRange(0, 2).Draw(m.rt, "read errors") {
				b.LogErrors = append(b.LogErrors, errors.New("not now"))
			}
			m.AddTarget(dcTID(dcAt(n)), b)
		},
		"silent":      func(*rapid.T) { a := dcAt(m.number("target")); m.with(func() { m.silent[a] = !m.silent[a] }) },
		"hold events": func(*rapid.T) { m.HoldEvents() },
		"release events": func(*rapid.T) {
			m.ReleaseEvents(rand.New(rand.NewPCG(rapid.Uint64().Draw(m.rt, "seed"), 1)))
			synctest.Wait()
		},
		"lose events": func(*rapid.T) { m.LoseEvents(rapid.IntRange(1, 5).Draw(m.rt, "lost")); m.Overflow(); synctest.Wait() },
		"kick":        func(*rapid.T) { m.f.Kick(); synctest.Wait() },
		"restart": func(*rapid.T) {

			m.restart()
			m.pass(rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(m.rt, "announced after"))
			m.f.Report(Announced, m.services, true)
			synctest.Wait()
		},
		"time": func(*rapid.T) {
			m.pass(rapid.SampledFrom([]time.Duration{time.Millisecond, 700 * time.Millisecond, 3 * time.Second, time.Minute, 20 * time.Minute}).Draw(m.rt, "passes"))
		},
	}
}

// judge is asked about every disconnect that is requested.
func (m *machine) judge(q kernel.DisconnectRequest) {
	device, err := m.Host.Controller(q.Name)
	if err != nil || device.Inode != q.Expect.Inode {
		return
	}
	bad := func(why string) {
		m.rt.Errorf("%s: disconnect of %s (%s)\n%s", why, q.Name, device.Traddr, strings.Join(m.journal[max(0, len(m.journal)-40):], "\n"))
	}
	excluded := slices.ContainsFunc(m.cfg.Excludes, func(x config.Exclude) bool { return x.Text == "traddr="+device.Traddr })
	configured := slices.ContainsFunc(m.cfg.Controllers, func(c config.Controller) bool { return c.Traddr == device.Traddr })
	twin := 0
	for _, c := range must(m.Controllers()) {
		if c.Traddr == device.Traddr {
			twin++
		}
	}
	parks := m.cfg.Persistent == config.PersistNo || m.cfg.Persistent == config.PersistAuto
	switch {
	case q.AnyOwner || q.AllowUnowned:
		bad("not only ours")
	case excluded || parks || twin > 1:
	case configured || m.announced[device.Traddr]:
		bad("it is named")
	case m.cfg.Incomplete:
		bad("the configuration may name it")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (m *machine) books() {
	problems, err := loop.Ask(context.Background(), m.f.loop, func() []string { return m.f.problems() })
	if err != nil || len(problems) > 0 {
		m.rt.Fatalf("the books do not agree: %v %v", problems, err)
	}
}

// problems are what does not agree in the books of a finder. It runs on the loop.
func (f *Finder) problems() []string {
	var list []string
	bad := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for key, d := range f.dcs {
		switch {
		case d.key != key || !slices.Contains(f.places[placeOf(d.id())], d):
			bad("%s is misfiled", d.id())
		case d.device != nil && f.bound[d.device.Name] != d:
			bad("%s has %s, which is not bound to it", d.id(), d.device.Name)
		case d.landing != "" && (f.landing[d.landing] != d || d.device != nil):
			bad("%s waits for %s", d.id(), d.landing)
		case d.device == nil && d.busy == rest && (d.identified != nil || d.registered):
			bad("%s has a session without a connection", d.id())
		case d.page != nil && !slices.Equal(d.page.referrals, referralsOf(d.page.entries)):
			bad("%s refers otherwise than its page says", d.id())
		}
		for key2, o := range f.dcs {
			if key != key2 && d.id() == o.id() {
				bad("%s is known twice", d.id())
			}
		}
	}
	for name, d := range f.bound {
		if d.device == nil || d.device.Name != name || f.dcs[d.key] != d {
			bad("%s is bound to %s", name, d.id())
		}
	}
	for p, all := range f.places {
		if len(all) == 0 {
			bad("nothing is at %v", p)
		}
	}
	return list
}

// story is what led to where it stands: the journal, what the kernel has, what the finder believes.
func (m *machine) story() string {
	var b strings.Builder
	m.with(func() {
		for _, line := range m.journal[max(0, len(m.journal)-40):] {
			fmt.Fprintln(&b, line)
		}
	})
	for _, c := range m.connections() {
		fmt.Fprintf(&b, "the kernel has %s: %s via %q, %s, inode %d, owner %q\n", c.Name, c.Traddr, c.HostIface, c.State, c.Inode, m.Owner(c.Name))
	}
	text, _ := loop.Ask(context.Background(), m.f.loop, func() string { // a finder that has ended believes nothing
		var b strings.Builder
		for name, c := range m.f.devices {
			fmt.Fprintf(&b, "the finder has %s: %s, %s, inode %d, bound %v, spare %+v\n", name, c.Traddr, c.State, c.Inode, m.f.bound[name] != nil, m.f.spares[name])
		}
		for _, d := range m.f.dcs {
			fmt.Fprintf(&b, "the finder knows %s: named %v, out %v, %s, parked %v, device %v, landing %q, schedule %+v\n",
				d.id(), d.named, d.out, d.disposition, d.parked, d.device != nil, d.landing, m.f.sched.Status(d.id()))
		}
		return b.String()
	})
	return b.String() + text
}

func (m *machine) end() {
	m.ReleaseEvents(nil)
	for n := range machineDCs {
		m.AddTarget(dcTID(dcAt(n)), fake.Behaviour{Kind: 1})
	}
	m.with(func() {
		clear(m.silent)
		clear(m.excluded)
	})
	for _, c := range m.connections() {
		if c.State != kernel.StateLive {
			m.Restore(c.Name)
		}
	}
	m.Overflow()
	synctest.Wait() // so that what is decided by the last configuration is judged by it
	m.configure(func(c *config.Staf) { c.Incomplete, c.Persistent = false, config.PersistHold })
	m.f.Recheck()
	m.pass(40 * time.Minute)
	m.books()
	known := m.dcs()
	count := map[string]int{}
	for _, c := range m.connections() {
		count[c.Traddr]++
	}
	for n := range machineDCs {
		a := dcAt(n)
		excluded := slices.ContainsFunc(m.cfg.Excludes, func(x config.Exclude) bool { return x.Text == "traddr="+a })
		configured := slices.ContainsFunc(m.cfg.Controllers, func(c config.Controller) bool { return c.Traddr == a })
		s, is := known[a]
		switch {
		case (configured || m.announced[a]) && !excluded && count[a] == 0:
			m.rt.Errorf("%s is named and reachable, and not connected: %+v\n%s", a, s, m.story())
		case (configured || m.announced[a]) && !excluded && (!is || !s.complete) && !m.foreign:
			m.rt.Errorf("%s is connected and its page is not known: %+v\n%s", a, s, m.story())
		case count[a] > 1 && is && !m.foreign: // what a life before a restart has left is kept where a page may yet lead there
			m.rt.Errorf("%s is connected %d times\n%s", a, count[a], m.story())
		case excluded && !m.foreign && count[a] > 0:
			m.rt.Errorf("%s is excluded and connected\n%s", a, m.story())
		}
	}
}
