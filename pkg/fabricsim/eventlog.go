package fabricsim

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/stas-go/stas/pkg/nvmetcp"
)

// Event is something that happened in the fabric.
type Event struct {
	Seq       uint64    `json:"seq"`
	Time      time.Time `json:"time"`
	Kind      string    `json:"kind"` // connect, disconnect, command, register, aen, zone, fault, port, error, ...
	Port      string    `json:"port,omitempty"`
	Host      string    `json:"host,omitempty"` // NQN
	Address   string    `json:"address,omitempty"`
	Subsystem string    `json:"subsystem,omitempty"` // NQN
	Cntlid    uint16    `json:"cntlid,omitempty"`
	Queue     uint16    `json:"queue,omitempty"`
	Detail    string    `json:"detail,omitempty"`
}

// Bounds of the event log.
const (
	keptEvents   = 8192
	followBuffer = 1024
)

// eventLog keeps the latest events and hands them to followers.
type eventLog struct {
	log *slog.Logger

	mu        sync.Mutex
	seq       uint64
	ring      []Event // the oldest is at seq % keptEvents once it is full
	followers map[chan Event]bool
}

func (l *eventLog) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.Seq, e.Time = l.seq, time.Now()
	if len(l.ring) < keptEvents {
		l.ring = append(l.ring, e)
	} else {
		l.ring[int((e.Seq-1)%keptEvents)] = e
	}
	for ch := range l.followers {
		select {
		case ch <- e:
		default: // does not keep up: its end is closed, so that it sees the gap
			delete(l.followers, ch)
			close(ch)
		}
	}
	if l.log != nil {
		l.log.LogAttrs(context.Background(), slog.LevelInfo, e.Kind, e.attrs()...)
	}
}

func (e *Event) attrs() []slog.Attr {
	var list []slog.Attr
	text := func(key, value string) {
		if value != "" {
			list = append(list, slog.String(key, value))
		}
	}
	text("port", e.Port)
	text("host", e.Host)
	text("address", e.Address)
	text("subsystem", e.Subsystem)
	if e.Cntlid != 0 {
		list = append(list, slog.Int("cntlid", int(e.Cntlid)), slog.Int("queue", int(e.Queue)))
	}
	text("detail", e.Detail)
	return list
}

// since gives what is kept of the events after seq, in order.
func (l *eventLog) since(seq uint64) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := min(max(seq, l.seq-uint64(len(l.ring))), l.seq)
	list := make([]Event, 0, l.seq-first)
	for n := first; n < l.seq; n++ {
		list = append(list, l.ring[int(n%keptEvents)])
	}
	return list
}

// follow gives the events from now on, until stop is called. The channel is closed
// early when its reader falls behind.
func (l *eventLog) follow() (events <-chan Event, stop func()) {
	ch := make(chan Event, followBuffer)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.followers == nil {
		l.followers = make(map[chan Event]bool)
	}
	l.followers[ch] = true
	return ch, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.followers[ch] {
			delete(l.followers, ch)
			close(ch)
		}
	}
}

// Events gives what is kept of the events after the one with number seq.
func (f *Fabric) Events(seq uint64) []Event { return f.events.since(seq) }

// Follow gives the events from now on, until stop is called; the channel is closed
// early when its reader falls behind by a thousand.
func (f *Fabric) Follow() (events <-chan Event, stop func()) { return f.events.follow() }

// record notes something that concerns no connection.
func (f *Fabric) record(kind, detail string) { f.events.add(Event{Kind: kind, Detail: detail}) }

// Observe takes the events of the target.
func (f *Fabric) Observe(e nvmetcp.Event) {
	f.events.add(Event{Kind: e.Kind, Port: e.Port, Host: e.HostNQN, Address: e.Remote.String(),
		Subsystem: e.SubNQN, Cntlid: e.Cntlid, Queue: e.Queue, Detail: e.Detail})
}
