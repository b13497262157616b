package daemon

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"
)

// The watchdog is told for as long as the loop answers, and not once it hangs.
func TestWatchdog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	const interval = 40 * time.Millisecond
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(interval.Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", "")
	var hangs, failing atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		notifier{}.watchdog(ctx, func(ctx context.Context) error {
			if hangs.Load() {
				<-ctx.Done()
			}
			if failing.Load() {
				return errors.New("stopped")
			}
			return ctx.Err()
		})
	}()
	told := func(within time.Duration) bool {
		buf := make([]byte, 100)
		_ = systemd.SetReadDeadline(time.Now().Add(within))
		n, err := systemd.Read(buf)
		if err == nil && string(buf[:n]) != "WATCHDOG=1" {
			t.Errorf("told %q", buf[:n])
		}
		return err == nil
	}
	for range 5 {
		if !told(10 * time.Second) {
			t.Fatal("the watchdog is not told")
		}
	}
	failing.Store(true)
	for told(10 * interval) { // what was on its way
	}
	failing.Store(false)
	if !told(10 * time.Second) {
		t.Error("the watchdog is not told again")
	}
	hangs.Store(true)
	for told(10 * interval) {
	}
	cancel()
	<-ended
}

// TestStatusLine: what people read in systemctl status.
func TestStatusLine(t *testing.T) {
	for _, tt := range []struct {
		problems int
		more     []string
		want     string
	}{
		{0, []string{"", ""}, "what"},
		{1, nil, "what; 1 problem in the configuration, see the journal or stasadm check"},
		{2, []string{"", "no host NQN:\nrun"}, "what; 2 problems in the configuration, see the journal or stasadm check; no host NQN: run"},
	} {
		if got := statusLine("what", tt.problems, tt.more...); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// systemd drops a message that is longer than a page (NOTIFY_BUFFER_MAX), and READY=1 with it: a long text of a problem would have the
// daemon killed while it starts, again and again.
func TestStatusFitsIntoAMessage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	s := status{tell: tell}
	s.put(statusFiles, "ü"+strings.Repeat("é", 5000), "READY=1")
	buf := make([]byte, 1<<16)
	_ = systemd.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := systemd.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if n >= 4096 || !utf8.Valid(buf[:n]) || !strings.HasPrefix(string(buf[:n]), "READY=1\nSTATUS=üé") {
		t.Errorf("told %d bytes", n)
	}
}
