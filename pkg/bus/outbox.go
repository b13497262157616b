package bus

import (
	"sync"

	"github.com/godbus/dbus/v5"
)

// maxPending bounds an outbox. Keys come from controllers, so it is reached only when
// the bus takes nothing while controllers come and go.
const maxPending = 1 << 16

// signal is a signal to be sent.
type signal struct {
	path dbus.ObjectPath
	name string // interface.member
	body []any
}

// outbox holds signals until the bus takes them. Of signals with the same key only
// the last is sent, in the place of the first: they announce a state, and whoever hears
// them asks for it. While there is no bus it holds nothing, as then nobody listens, and
// who comes later asks first.
type outbox struct {
	mu       sync.Mutex
	open     bool
	overflow bool
	at       map[string]int
	queue    []signal
	wake     chan struct{}
}

func newOutbox() *outbox {
	return &outbox{at: make(map[string]int), wake: make(chan struct{}, 1)}
}

// put never blocks.
func (o *outbox) put(key string, s signal) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open {
		return
	}
	if i, ok := o.at[key]; ok {
		o.queue[i] = s
		return
	}
	if len(o.queue) == maxPending {
		o.overflow = true
	} else {
		o.at[key] = len(o.queue)
		o.queue = append(o.queue, s)
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take empties the outbox. overflow tells that signals were lost since reset.
func (o *outbox) take() (queue []signal, overflow bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue, overflow = o.queue, o.overflow
	o.queue = nil
	clear(o.at)
	return queue, overflow
}

// reset empties the outbox and says whether there is a bus from now on.
func (o *outbox) reset(open bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open, o.overflow, o.queue = open, false, nil
	clear(o.at)
}
