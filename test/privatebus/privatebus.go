// Package privatebus runs a message bus of a test's own, with the configuration of a
// system bus and the policy files of stas, so that tests need neither the host's bus
// nor its files.
package privatebus

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Bus is a dbus-daemon that ends with its test.
type Bus struct {
	tb     testing.TB
	dir    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// config is the stock system bus without what a test cannot have: its own user, a
// service helper, activation.
const config = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
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
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
  </policy>
  <includedir>%s</includedir>
</busconfig>
`

// openConfig is a bus that permits everything, to see what holds without a policy.
const openConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow send_type="signal"/>
    <allow receive_sender="*"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
`

// Start runs a bus with our policy. It skips the test where there is no dbus-daemon.
func Start(tb testing.TB) *Bus {
	tb.Helper()
	return start(tb, func(socket string) []byte { return fmt.Appendf(nil, config, socket, policyDir()) })
}

// StartOpen runs a bus that permits everything.
func StartOpen(tb testing.TB) *Bus {
	tb.Helper()
	return start(tb, func(socket string) []byte { return fmt.Appendf(nil, openConfig, socket) })
}

func start(tb testing.TB, config func(socket string) []byte) *Bus {
	tb.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		tb.Skip("no dbus-daemon here")
	}
	// Not tb.TempDir: its name has the test's, and a bus address takes no "=". Others
	// must get at the socket.
	dir, err := os.MkdirTemp("", "privatebus")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	b := &Bus{tb: tb, dir: dir}
	if err := os.WriteFile(b.configFile(), config(b.socket()), 0o644); err != nil {
		tb.Fatal(err)
	}
	b.Run()
	tb.Cleanup(b.Kill)
	return b
}

// policyDir is the directory of our policy files in the source tree.
func policyDir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "etc", "dbus-1", "system.d")
}

func (b *Bus) socket() string     { return filepath.Join(b.dir, "socket") }
func (b *Bus) configFile() string { return filepath.Join(b.dir, "system.conf") }

// Address is the server address; it stays the same when the bus runs again.
func (b *Bus) Address() string { return "unix:path=" + b.socket() }

// Run starts the bus, at first and again after Kill, and returns when it listens.
func (b *Bus) Run() {
	b.tb.Helper()
	os.Remove(b.socket())
	b.cmd = exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--nosyslog", "--print-address=1", "--config-file="+b.configFile())
	errs, err := os.Create(filepath.Join(b.dir, "errors"))
	if err != nil {
		b.tb.Fatal(err)
	}
	defer errs.Close()
	b.cmd.Stderr = errs
	out, err := b.cmd.StdoutPipe()
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		b.tb.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "unix:") {
		said, _ := os.ReadFile(errs.Name())
		b.tb.Fatalf("dbus-daemon says %q, %v, %s", line, err, said)
	}
	b.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(b.cmd, b.exited)
}

// Kill ends the bus at once and waits until it is gone.
func (b *Bus) Kill() {
	_ = b.cmd.Process.Signal(syscall.SIGKILL)
	<-b.exited
}

// Stop makes the bus hang; Continue lets it go on.
func (b *Bus) Stop() { b.signal(syscall.SIGSTOP) }

// Continue ends Stop.
func (b *Bus) Continue() { b.signal(syscall.SIGCONT) }

func (b *Bus) signal(sig syscall.Signal) {
	if err := b.cmd.Process.Signal(sig); err != nil {
		b.tb.Fatal(err)
	}
}

// Busctl runs busctl on the bus and gives what it prints. It skips the test where
// there is none.
func (b *Bus) Busctl(args ...string) string {
	b.tb.Helper()
	if _, err := exec.LookPath("busctl"); err != nil {
		b.tb.Skip("no busctl here")
	}
	cmd := exec.Command("busctl", append([]string{"--address=" + b.Address(), "--no-pager"}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		b.tb.Fatalf("busctl %q: %v: %s", args, err, errs.String())
	}
	return string(out)
}

// DialAs connects a socket to the bus as another user, which takes root. What the bus
// believes is the user of the thread that connects, so one thread is spent on it.
func (b *Bus) DialAs(uid int) *net.UnixConn {
	b.tb.Helper()
	if os.Geteuid() != 0 {
		b.tb.Skip("only root can be another user")
	}
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			done <- result{nil, errno}
			return
		}
		conn, err := net.DialTimeout("unix", b.socket(), 5*time.Second)
		done <- result{conn, err}
	}()
	r := <-done
	if r.err != nil {
		b.tb.Fatal(r.err)
	}
	return r.conn.(*net.UnixConn)
}
