package fake

import (
	"errors"
	"math/rand/v2"
	"strings"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/uevent"
)

// source is the uevent socket of a host, with a queue without end.
type source struct {
	host   *Host
	queue  []uevent.Event // guarded by host.mu, as all of it
	lost   bool
	drop   int
	held   []uevent.Event
	hold   bool
	wake   chan struct{}
	closed chan struct{}
}

var errClosed = errors.New("the fake uevent source is closed")

// Watcher makes a real watcher of this host. Its Run returns when its context ends. A
// later one takes the events of an earlier one, as a daemon that was started anew does.
func (h *Host) Watcher() *kernel.Watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.source = &source{host: h, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	return kernel.NewWatcher(h, h.source)
}

// Receive implements kernel.Source.
func (s *source) Receive() (uevent.Event, error) {
	for {
		s.host.mu.Lock()
		if s.lost {
			s.lost = false
			s.host.mu.Unlock()
			return uevent.Event{}, uevent.ErrOverflow
		}
		if len(s.queue) > 0 {
			e := s.queue[0]
			s.queue = s.queue[1:]
			s.host.mu.Unlock()
			return e, nil
		}
		s.host.mu.Unlock()
		select {
		case <-s.wake:
		case <-s.closed:
			return uevent.Event{}, errClosed
		}
	}
}

// Close implements kernel.Source.
func (s *source) Close() error {
	close(s.closed)
	return nil
}

func (s *source) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// emit sends an event about a controller. The caller holds the lock.
func (h *Host) emit(action, name string, t nvme.Transport, pairs ...string) {
	h.emitRaw(action, "/devices/virtual/nvme-fabrics/ctl/"+name,
		append([]string{"SUBSYSTEM=nvme", "DEVNAME=" + name, "NVME_TRTYPE=" + string(t)}, pairs...)...)
}

func (h *Host) emitRaw(action, path string, pairs ...string) {
	s := h.source
	h.seqnum++
	if s == nil {
		return
	}
	if s.drop > 0 {
		s.drop--
		return
	}
	e, err := uevent.Parse([]byte(action + "@" + path + "\x00ACTION=" + action + "\x00DEVPATH=" + path + "\x00" +
		strings.Join(pairs, "\x00") + "\x00"))
	if err != nil {
		panic(err)
	}
	if s.hold {
		s.held = append(s.held, e)
		return
	}
	s.queue = append(s.queue, e)
	s.signal()
}

// with runs f on the source, if there is one.
func (h *Host) with(f func(*source)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.source != nil {
		f(h.source)
		h.source.signal()
	}
}

// LoseEvents makes the next n events vanish without a trace.
func (h *Host) LoseEvents(n int) { h.with(func(s *source) { s.drop += n }) }

// Overflow loses all events that wait, and says so.
func (h *Host) Overflow() { h.with(func(s *source) { s.queue, s.lost = nil, true }) }

// HoldEvents keeps events back until ReleaseEvents.
func (h *Host) HoldEvents() { h.with(func(s *source) { s.hold = true }) }

// ReleaseEvents delivers what was held back, shuffled if a random source is given.
func (h *Host) ReleaseEvents(r *rand.Rand) {
	h.with(func(s *source) {
		if r != nil {
			r.Shuffle(len(s.held), func(i, j int) { s.held[i], s.held[j] = s.held[j], s.held[i] })
		}
		s.queue = append(s.queue, s.held...)
		s.held, s.hold = nil, false
	})
}

// FCEvent tells of a remote discovery port.
func (h *Host) FCEvent(traddr, hostTraddr string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.emitRaw("change", "/devices/virtual/fc/fc_udev_device", "SUBSYSTEM=fc", "FC_EVENT=nvmediscovery",
		"NVMEFC_HOST_TRADDR="+hostTraddr, "NVMEFC_TRADDR="+traddr)
}
