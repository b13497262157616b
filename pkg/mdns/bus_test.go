package mdns

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// testBus is a private dbus-daemon with the stock policy of a system bus for Avahi. It can die
// and come back at the same address.
type testBus struct {
	t       *testing.T
	conf    string
	Address string
	cmd     *exec.Cmd
}

const busConf = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <servicedir>%s</servicedir>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.Avahi"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.Avahi"/>
  </policy>
</busconfig>
`

func startBus(t *testing.T) *testBus {
	t.Helper()
	need(t, "dbus-daemon")
	dir, err := os.MkdirTemp("", "mdnsbus") // not t.TempDir: a '=' in the path is refused
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "bus")
	b := &testBus{t: t, conf: filepath.Join(dir, "bus.conf"), Address: "unix:path=" + socket}
	service := fmt.Sprintf("[D-BUS Service]\nName=%s\nExec=/usr/bin/touch %s/activated\nUser=root\n", avahiName, dir)
	if err := os.WriteFile(filepath.Join(dir, avahiName+".service"), []byte(service), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.conf, fmt.Appendf(nil, busConf, socket, dir), 0o644); err != nil {
		t.Fatal(err)
	}
	b.Start()
	t.Cleanup(b.Kill)
	return b
}

// Start runs the daemon and waits until it listens.
func (b *testBus) Start() {
	b.t.Helper()
	os.Remove(strings.TrimPrefix(b.Address, "unix:path="))
	b.cmd = exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--nosyslog", "--print-address=1", "--config-file="+b.conf)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := startChild(b.cmd); err != nil {
		b.t.Fatal(err)
	}
	line := make([]byte, 256)
	if _, err := out.Read(line); err != nil && err != io.EOF {
		b.t.Fatal(err)
	}
}

// Kill ends the daemon as a crash would.
func (b *testBus) Kill() {
	if b.cmd != nil {
		b.cmd.Process.Kill()
		b.cmd.Wait()
		b.cmd = nil
	}
}

func (b *testBus) Signal(s os.Signal) {
	b.t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil {
		b.t.Fatal(err)
	}
}

// children starts processes from one thread that stays: with Pdeathsig a child goes when the
// thread that started it does.
var children = make(chan func())

func startChildren() {
	go func() {
		runtime.LockOSThread()
		for f := range children {
			f()
		}
	}()
}

func startChild(cmd *exec.Cmd) error {
	err := make(chan error)
	children <- func() { err <- cmd.Start() }
	return <-err
}

// Conn is a plain client of the bus.
func (b *testBus) Conn() *dbus.Conn {
	b.t.Helper()
	c, err := dbus.Connect(b.Address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return c
}

// ConnAs is a client that belongs to another user: the thread that connects has that user's id.
func (b *testBus) ConnAs(uid int) *dbus.Conn {
	b.t.Helper()
	type result struct {
		conn *dbus.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			done <- result{nil, errno}
			return
		}
		c, err := dbus.Connect(b.Address)
		done <- result{c, err}
	}()
	r := <-done
	if r.err != nil {
		b.t.Fatal(r.err)
	}
	b.t.Cleanup(func() { r.conn.Close() })
	return r.conn
}

// watched is a Browser that runs.
type watched struct {
	*Browser
	t    *testing.T
	log  *logLines
	stop func()
}

// quick shortens what tests would have to wait for.
func quick() timing {
	return timing{
		call: time.Minute, settle: 300 * time.Millisecond, retryMin: 10 * time.Millisecond,
		retryMax: 100 * time.Millisecond, refresh: time.Hour, recheck: 50 * time.Millisecond, flush: time.Millisecond,
	}
}

func browse(t *testing.T, b *testBus, change func(*timing)) *watched {
	t.Helper()
	br := New(Options{Address: b.Address})
	br.t = quick()
	if change != nil {
		change(&br.t)
	}
	return run(t, br)
}

// run runs b until the test or stop ends it, and fails the test when it does not end.
func run(t *testing.T, b *Browser) *watched {
	t.Helper()
	w := &watched{Browser: b, t: t, log: &logLines{}}
	b.log = slog.New(slog.NewTextHandler(w.log, nil))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(30 * time.Second):
			buf := make([]byte, 1<<20)
			t.Errorf("Run does not end:\n%s", buf[:runtime.Stack(buf, true)])
		}
	})
	t.Cleanup(w.stop)
	return w
}

// until waits for a state and returns it.
func (w *watched) until(what string, ok func(State) bool) State {
	w.t.Helper()
	limit := time.After(2 * time.Minute)
	for {
		s := w.Snapshot()
		if ok(s) {
			return s
		}
		select {
		case <-w.Updates():
		case <-limit:
			w.t.Fatalf("no state with %s, last is %+v\n%s", what, s, w.log)
		}
	}
}

// never watches for a while that no state is like this.
func (w *watched) never(what string, d time.Duration, bad func(State) bool) {
	w.t.Helper()
	limit := time.After(d)
	for {
		if s := w.Snapshot(); bad(s) {
			w.t.Fatalf("a state with %s: %+v\n%s", what, s, w.log)
		}
		select {
		case <-w.Updates():
		case <-limit:
			return
		}
	}
}

type logLines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// cpu is the processor time that this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
