package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// outdated says which connections the configuration in force does not reach: parameters of a connection are
// those that it was made with. A reload says so at once. After a start, when connections of an earlier run are
// found one by one, and when a page is read that leads to other parameters, it is said once things have settled.
type outdated struct {
	tool   string // that reconnects: stacctl
	names  func(context.Context) (devices, parameters []string, err error)
	log    *slog.Logger
	status *status
	now    chan int // how many there are; holds the last number only

	running atomic.Bool

	mu   sync.Mutex
	said int // how many of them the journal names
}

const (
	outdatedSoak   = 3 * time.Second // for connections that are found one after the other
	outdatedWait   = time.Second     // for the event loop, which may be busy
	outdatedListed = 16              // devices that one line of the journal names
)

func newOutdated(d *daemon, tool string) *outdated {
	return &outdated{tool: tool, log: d.log, status: &d.status, now: make(chan int, 1)}
}

// changed is told on the event loop, and by nobody else, how many there are.
func (o *outdated) changed(n int) {
	select {
	case <-o.now: // an older number
	default:
	}
	o.now <- n
}

func (o *outdated) run(ctx context.Context) {
	o.running.Store(true)
	var due <-chan time.Time
	count := 0
	for {
		select {
		case <-ctx.Done():
			return
		case count = <-o.now:
			o.status.set(statusReconnect, waiting(count))
			if o.unsaid(count) && due == nil {
				due = time.After(outdatedSoak)
			}
		case <-due:
			due = nil
			if o.unsaid(count) {
				o.say(ctx)
			}
		}
	}
}

// unsaid says whether there are more than the journal names.
func (o *outdated) unsaid(n int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said = min(o.said, n)
	return n > o.said
}

// waiting is what `systemctl status` shows.
func waiting(n int) string {
	if n == 0 {
		return ""
	}
	return count(n, "connection waits", "connections wait") + " for a reconnect to use changed parameters"
}

// reloaded says it at once, but for the first reading, before which nothing was found.
func (o *outdated) reloaded() {
	if o.running.Load() {
		o.say(context.Background())
	}
}

// say names them in the journal.
func (o *outdated) say(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, outdatedWait)
	defer cancel()
	devices, parameters, err := o.names(ctx)
	if err != nil {
		return // it is said when the number changes
	}
	o.mu.Lock()
	o.said = len(devices)
	o.mu.Unlock()
	if len(devices) > 0 {
		o.log.Warn(outdatedText(o.tool, devices, parameters))
	}
}

func outdatedText(tool string, devices, parameters []string) string {
	named, more := devices, ""
	if n := len(devices) - outdatedListed; n > 0 {
		named, more = devices[:outdatedListed], fmt.Sprintf(" (and %d more: %s status)", n, tool)
	}
	return fmt.Sprintf("%s other parameters (%s) than the configuration now says; it takes effect at the next connect, or now with: %s reconnect %s%s",
		count(len(devices), "connection uses", "connections use"), strings.Join(parameters, ", "), tool, strings.Join(named, " "), more)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
