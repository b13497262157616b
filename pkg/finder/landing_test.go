package finder

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/nvme"
)

// A connection that was gone before it was seen is made again, also where it could not be looked at in the moment in which nobody knew of it.
func TestGoneBeforeItWasSeenAndUnreadable(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc1)(r)
		first, failures := true, 3
		r.made = func(c kernel.Connection) {
			if first {
				first = false
				r.Drop(kernel.Name(c.Instance))
				time.Sleep(time.Second) // its end is told before it is
			}
		}
		r.reads = func(_ *kernel.Controller, err *error) {
			if failures > 0 {
				failures--
				*err = errors.New("too many open files")
			}
		}
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(1)
		r.lists(dc1, subsystem(0))
	})
}

// A reconnect of which nothing was told is found by the look at a connection that no source names, and begins the session anew.
func TestLookFindsAReconnect(t *testing.T) {
	bubble(t, func(r *rig) {
		r.target(dc1, fake.Behaviour{DCType: nvme.DCTypeCDC}, subsystem(0))
		r.cfg.Zeroconf = true
	}, func(r *rig) {
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "")}, true)
		r.pass(time.Second)
		name := r.dcs()[dc1].device
		r.f.Report(Announced, nil, true)
		r.pass(time.Second)
		r.with(func() { r.reads = func(c *kernel.Controller, _ *error) { c.CntlID++ } })
		r.pass(2 * pollGone)
		if n := len(r.Registered(name)); n != 2 {
			t.Errorf("registered %d times", n)
		}
	})
}

// unasked has a connection to dc1 made whose target changes its detail meanwhile, and that is lost while it is looked at, for half a minute.
func unasked(r *rig) {
	var looks atomic.Int32
	r.looking = func(string) {
		if looks.Add(1) == 1 {
			time.Sleep(30 * time.Second)
		}
	}
	r.f.Report(Announced, []Candidate{announcedAt(dc1, "eth0")}, true)
	r.pass(time.Second)
	r.HoldEvents()
	r.f.Report(Announced, []Candidate{announcedAt(dc1, "")}, true)
	r.pass(5 * time.Second)
	r.Drop("nvme0")
	r.ReleaseEvents(nil)
	r.pass(time.Second)
}

// Who waits for the look at a connection is tried after it, also where the name was given again meanwhile.
func TestUnaskedConnectionsOfOneName(t *testing.T) {
	bubble(t, func(r *rig) {
		for _, a := range []string{dc1, dc2} {
			r.target(a, fake.Behaviour{ConnectDelay: 5 * time.Second}, subsystem(0))
		}
		r.cfg.Zeroconf = true
	}, func(r *rig) {
		unasked(r)
		r.f.Report(Announced, []Candidate{announcedAt(dc1, ""), announcedAt(dc2, "eth0")}, true)
		r.pass(time.Second)
		r.f.Report(Announced, []Candidate{announcedAt(dc1, ""), announcedAt(dc2, "")}, true)
		r.pass(time.Minute)
		r.lists(dc1, subsystem(0))
		r.lists(dc2, subsystem(0))
		r.connected(2)
	})
}

// What was read of a connection before its name was given again says nothing of the one that has it now.
func TestLateLookAtAnUnaskedConnection(t *testing.T) {
	bubble(t, func(r *rig) {
		r.target(dc1, fake.Behaviour{ConnectDelay: 5 * time.Second}, subsystem(0))
		r.target(dc2, fake.Behaviour{}, subsystem(0))
		r.cfg.Zeroconf = true
	}, func(r *rig) {
		unasked(r)
		r.f.Report(Announced, []Candidate{announcedAt(dc1, ""), announcedAt(dc2, "")}, true)
		r.pass(time.Second)
		if d := r.dcs()[dc2]; d.device != "nvme0" {
			t.Fatalf("%+v", d)
		}
		r.pass(time.Minute)
		r.lists(dc1, subsystem(0))
		if d := r.dcs()[dc2]; d.device != "nvme0" || r.said("is gone") > 0 {
			t.Errorf("%+v, %d connections lost", d, r.said("is gone"))
		}
		r.connected(2)
	})
}

// A connection that was made and could not be looked at, for want of descriptors, until its controller was given up, ends.
func TestGivenUpBeforeItsConnectionWasSeen(t *testing.T) {
	bubble(t, func(r *rig) {
		configured(dc2)(r) // which may refer to anything
		r.with(func() { r.silent[dc2] = true })
		r.target(dc1, fake.Behaviour{}, subsystem(0))
		r.cfg.Zeroconf, r.cfg.DCGiveUp = true, time.Minute
	}, func(r *rig) {
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "")}, true)
		r.pass(10 * time.Second)
		r.connected(1)
		r.f.Report(Announced, nil, true)
		r.Drop(r.connections()[0].Name)
		synctest.Wait()
		r.HoldEvents()
		r.with(func() { r.reads = func(_ *kernel.Controller, err *error) { *err = syscall.EMFILE } })
		r.pass(2 * time.Minute)
		r.connected(1)
		if d := r.dcs()[dc1]; d.disposition != forgotten {
			t.Fatalf("%+v", d)
		}
		r.with(func() { r.reads = nil })
		r.ReleaseEvents(nil)
		r.pass(time.Minute)
		r.connected(0)
	})
}
