package daemon

import (
	"context"
	"strings"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells systemd how the daemon is (sd_notify(3)). Without systemd it does nothing.
type notifier struct{}

// status is what `systemctl status` shows: parts that come from different sides and change at different times.
type status struct {
	tell  func(lines ...string)
	mu    sync.Mutex
	parts [statusParts]string
}

// The parts of a status, in the order in which they stand.
const (
	statusFiles     = iota // the last reading of the configuration
	statusReconnect        // what waits for a reconnect
	statusParts
)

// set replaces a part.
func (s *status) set(part int, text string) { s.put(part, text) }

// put replaces a part and tells it together with more lines.
func (s *status) put(part int, text string, more ...string) {
	s.mu.Lock()
	defer s.mu.Unlock() // told in the order in which it was set
	s.parts[part] = text
	var texts []string
	for _, p := range s.parts {
		if p != "" {
			texts = append(texts, p)
		}
	}
	s.tell(append(more, "STATUS="+strings.Join(texts, "; "))...)
}

func tell(lines ...string) { _, _ = sd.SdNotify(false, strings.Join(lines, "\n")) }

func (notifier) reloading() { tell(sd.SdNotifyReloading, sd.SdNotifyMonotonicUsec()) }

func (notifier) stopping() { tell(sd.SdNotifyStopping) }

// watchdog tells systemd that the daemon lives for as long as its event loop answers.
func (notifier) watchdog(ctx context.Context, alive func(context.Context) error) {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		asked, cancel := context.WithTimeout(ctx, interval/2)
		if alive(asked) == nil {
			tell(sd.SdNotifyWatchdog)
		}
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
