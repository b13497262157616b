package daemon

import (
	"context"
	"os"
	"strings"
	"sync"
	"syscall"
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
	text = strings.Join(texts, "; ")
	if len(text) > maxStatus {
		text = strings.ToValidUTF8(text[:maxStatus], "") + "..."
	}
	s.tell(append(more, "STATUS="+text)...)
}

// maxStatus bounds what is told. systemd drops a message of more than 4 KiB whole (NOTIFY_BUFFER_MAX), and READY=1 with it; and
// the text of a problem may be that long, as it may name a file.
const maxStatus = 2048

func tell(lines ...string) { _, _ = sd.SdNotify(false, strings.Join(lines, "\n")) }

func (notifier) reloading() { tell(sd.SdNotifyReloading, sd.SdNotifyMonotonicUsec()) }

func (notifier) stopping() { tell(sd.SdNotifyStopping) }

// watchdog tells systemd that the daemon lives for as long as its event loop answers. It is what wakes an idle daemon,
// so it makes no timer beside its own and no socket that the runtime would watch.
func (notifier) watchdog(ctx context.Context, alive func(context.Context) error) {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return
	}
	socket := dialNotify(os.Getenv("NOTIFY_SOCKET"))
	defer socket.close()
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		if alive(ctx) == nil { // a loop that does not answer is waited for, and systemd with it
			if socket.send(sd.SdNotifyWatchdog) != nil {
				tell(sd.SdNotifyWatchdog)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// notifySocket is a connected socket to systemd, -1 where there is none.
type notifySocket int

// dialNotify connects to the socket that NOTIFY_SOCKET names: a path, or @ and a name in the abstract namespace
// (sd_notify(3)).
func dialNotify(name string) notifySocket {
	if name == "" {
		return -1
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1
	}
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: name}); err != nil {
		_ = syscall.Close(fd)
		return -1
	}
	return notifySocket(fd)
}

func (s notifySocket) send(text string) error {
	_, err := syscall.Write(int(s), []byte(text))
	return err
}

func (s notifySocket) close() {
	if s >= 0 {
		_ = syscall.Close(int(s))
	}
}
