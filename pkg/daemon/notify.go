package daemon

import (
	"context"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells systemd how the daemon is (sd_notify(3)). Without systemd it does nothing.
type notifier struct{}

func tell(lines ...string) { _, _ = sd.SdNotify(false, strings.Join(lines, "\n")) }

func (notifier) ready(status string) { tell(sd.SdNotifyReady, "STATUS="+status) }

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
