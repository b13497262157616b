package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

// await waits until cond holds; it looks often, and gives up loudly.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
		runtime.Gosched()
	}
}

func connectTo(addr string) ConnectRequest {
	return ConnectRequest{TID: tid.TID{Transport: nvme.TCP, Traddr: addr, Trsvcid: "4420", NQN: "nqn.2024-01.test:s1"}, Host: testHost,
		Params: tid.Params{DHCHAPSecret: tid.NewSecret("DHHC-1:00:sesame")}, Attributes: map[string]string{"stas-origin": "test"}}
}

func (b *bench) registry() *registry.Dir {
	return registry.Open(filepath.Join(b.root, "registry"), filepath.Join(b.root, "dev"), b.root)
}

func (b *bench) intents() []Intent {
	b.t.Helper()
	list, err := Intents(b.run)
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func TestConnect(t *testing.T) {
	b := newBench(t, nil)
	b.controller("nvme4", with(discoveryAttrs, "dhchap_secret", "DHHC-1:00:sesame\n", "dhchap_ctrl_secret", "none\n"))
	b.script("192.0.2.1", "ok 4 17")
	r := connectTo("192.0.2.1")
	r.Params.FastIOFailTmo = tid.SetInt(5)
	c, err := b.Connect(t.Context(), r)
	if err != nil || c.Instance != 4 || c.CntlID != 17 || c.Name() != "nvme4" || len(c.Warnings) != 0 {
		t.Fatalf("Connect = %+v, %v", c, err)
	}
	if o := b.registry().Owner("nvme4"); !o.Is(registry.Stas) {
		t.Errorf("owner %v", o)
	}
	if v, err := b.registry().Attr("nvme4", "stas-origin"); v != "test" || err != nil {
		t.Errorf("attribute %q, %v", v, err)
	}
	for _, attr := range []string{"dhchap_secret", "dhchap_ctrl_secret"} {
		if info, err := os.Stat(filepath.Join(b.root, "class/nvme/nvme4", attr)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", attr, info.Mode(), err)
		}
	}
	if left := b.intents(); len(left) != 0 {
		t.Errorf("intents left: %+v", left)
	}
}

// A connection counts for more than the note that it is being made.
func TestConnectWithoutIntent(t *testing.T) {
	b := newBench(t, nil)
	b.controller("nvme4", discoveryAttrs)
	b.script("192.0.2.1", "ok 4 17")
	if err := os.WriteFile(filepath.Join(b.run, "intents"), nil, 0o600); err != nil { // no directory can be there
		t.Fatal(err)
	}
	c, err := b.Connect(t.Context(), connectTo("192.0.2.1"))
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "intent") {
		t.Fatalf("Connect = %+v, %v", c, err)
	}
	if o := b.registry().Owner("nvme4"); !o.Is(registry.Stas) {
		t.Errorf("owner %v", o)
	}
}

// A controller that went while it was being registered leaves no entry behind.
func TestConnectOfWhatVanished(t *testing.T) {
	b := newBench(t, nil)
	b.script("192.0.2.1", "ok 4 17")
	if _, err := b.Connect(t.Context(), connectTo("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	if o := b.registry().Owner("nvme4"); o.Kind() != registry.KindNone {
		t.Errorf("owner %v of a controller that is not there", o)
	}
}

func TestConnectFails(t *testing.T) {
	b := newBench(t, nil)
	b.script("192.0.2.2", "errno 110")
	r := connectTo("192.0.2.2")
	r.TID.Transport = nvme.RDMA
	r.Params.HdrDigest = tid.On
	_, err := b.Connect(t.Context(), r)
	var e *ConnectError
	if !errors.As(err, &e) || e.Class != Timeout || e.Errno != syscall.ETIMEDOUT || e.TID != r.TID || len(e.Warnings) != 1 {
		t.Fatalf("Connect = %+v", err)
	}
	if strings.Contains(err.Error(), "sesame") {
		t.Errorf("the error tells the secret: %v", err)
	}
	if left := b.intents(); len(left) != 0 {
		t.Errorf("intents left: %+v", left)
	}
}

func TestNoFabrics(t *testing.T) {
	b := newBench(t, nil)
	b.script("no-fabrics", "")
	if _, err := b.Options(t.Context()); !errors.Is(err, ErrNoFabrics) {
		t.Errorf("Options = %v", err)
	}
	if _, err := b.Connect(t.Context(), connectTo("192.0.2.1")); !errors.Is(err, ErrNoFabrics) {
		t.Errorf("Connect = %v", err)
	}
	_ = os.Remove(filepath.Join(b.run, "script/no-fabrics"))
	if o, err := b.Options(t.Context()); err != nil || !o.Has("host_iface") || o.Release == "" {
		t.Errorf("Options = %v, %v", o, err)
	}
	if err := b.Kickstart(t.Context()); !errors.Is(err, ErrNoFC) {
		t.Errorf("Kickstart = %v", err)
	}
}

func TestKickstart(t *testing.T) {
	b := newBench(t, nil)
	b.write("class/fc/fc_udev_device/nvme_discovery", "")
	if err := b.Kickstart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(b.root, "class/fc/fc_udev_device/nvme_discovery")); len(text) == 0 {
		t.Error("nothing was written")
	}
}

// A call returns with its context; what the kernel had begun ends later and is told.
func TestContextEndsTheWaitOnly(t *testing.T) {
	b := newBench(t, nil)
	b.controller("nvme1", discoveryAttrs)
	b.script("192.0.2.1", "ok 1 1")
	b.script("192.0.2.2", "ok 2 2")
	wake := b.hang("192.0.2.1")
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 2)
	go func() { _, err := b.Connect(ctx, connectTo("192.0.2.1")); results <- err }()
	await(t, "the write", func() bool { return len(b.lines("writes")) == 1 })
	queued, giveUp := context.WithCancel(t.Context())
	go func() { _, err := b.Connect(queued, connectTo("192.0.2.2")); results <- err }()
	await(t, "two calls", func() bool { b.proc.mu.Lock(); defer b.proc.mu.Unlock(); return len(b.proc.calls) == 2 })

	giveUp()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Errorf("queued Connect = %v", err)
	}
	if l := <-b.late; !errors.Is(l.Err, ErrNotBegun) || l.Connect.TID.Traddr != "192.0.2.2" {
		t.Errorf("late %+v, want one that was not begun", l)
	}
	cancel()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Errorf("Connect = %v", err)
	}
	wake()
	if l := <-b.late; l.Err != nil || l.Connection.Instance != 1 || l.Connect.TID.Traddr != "192.0.2.1" {
		t.Errorf("late %+v", l)
	}
	if o := b.registry().Owner("nvme1"); !o.Is(registry.Stas) {
		t.Errorf("owner %v", o)
	}
	if w := b.lines("writes"); len(w) != 1 {
		t.Errorf("connected to %v", w)
	}
}

// Closing the pipe ends nothing that was begun and begins nothing that was queued.
func TestCloseLetsTheWorkerFinish(t *testing.T) {
	b := newBench(t, nil)
	b.controller("nvme6", discoveryAttrs)
	b.script("192.0.2.1", "ok 6 1")
	wake := b.hang("192.0.2.1")
	results := make(chan error, 2)
	go func() { _, err := b.Connect(t.Context(), connectTo("192.0.2.1")); results <- err }()
	await(t, "the write", func() bool { return len(b.lines("writes")) == 1 })
	go func() { _, err := b.Connect(t.Context(), connectTo("192.0.2.2")); results <- err }()
	await(t, "two calls", func() bool { b.proc.mu.Lock(); defer b.proc.mu.Unlock(); return len(b.proc.calls) == 2 })
	p := b.proc

	// What a service manager and a terminal may send does not matter.
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := syscall.Kill(p.cmd.Process.Pid, s); err != nil {
			t.Error(err)
		}
	}
	start := time.Now()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-results; !errors.Is(err, ErrClosed) {
			t.Errorf("Connect = %v, want ErrClosed", err)
		}
	}
	if d := time.Since(start); d > 20*time.Second { // the kernel would hold it for ever
		t.Errorf("Close took %v", d)
	}
	if _, err := b.Options(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Options = %v, want ErrClosed", err)
	}
	if b.registry().Owner("nvme6").Kind() != registry.KindNone || p.reaped() {
		t.Error("the worker did not wait for the kernel")
	}
	wake()
	await(t, "the process to end", p.reaped)
	if o := b.registry().Owner("nvme6"); !o.Is(registry.Stas) {
		t.Errorf("owner %v", o)
	}
	if w := b.lines("writes"); len(w) != 1 {
		t.Errorf("connected to %v", w)
	}
	if left := b.intents(); len(left) != 0 {
		t.Errorf("intents left: %+v", left)
	}
}

func TestIdleProcessGoes(t *testing.T) {
	b := newBench(t, func(o *WorkerOptions) { o.IdleExit = 30 * time.Millisecond })
	for range 2 {
		if _, err := b.Options(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		p := b.proc
		b.mu.Unlock()
		if p == nil {
			continue // gone already
		}
		await(t, "the idle process to go", p.reaped)
	}
}

// Every request is done once, also where one comes just as the one before it is through.
func TestEachConnectOnce(t *testing.T) {
	b := newBench(t, nil)
	const each, callers = 40, 4
	for i := range callers {
		b.script(fmt.Sprintf("192.0.2.%d", i), "errno 111")
	}
	failed := make(chan error, callers)
	for i := range callers {
		go func() {
			for range each {
				_, err := b.Connect(t.Context(), connectTo(fmt.Sprintf("192.0.2.%d", i)))
				if !errors.Is(err, syscall.ECONNREFUSED) {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range callers {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if n := len(b.lines("writes")); n != each*callers {
		t.Errorf("%d writes for %d requests", n, each*callers)
	}
}

func TestWarm(t *testing.T) {
	b := newBench(t, nil)
	running := func() *process { b.mu.Lock(); defer b.mu.Unlock(); return b.proc }
	b.Warm()
	await(t, "a process", func() bool { return running() != nil })
	p := running()
	b.Warm()
	if _, err := b.Options(t.Context()); err != nil || running() != p {
		t.Errorf("Options = %v, another process: %v", err, running() != p)
	}
	b.end(t, b.Worker)
	b.Warm()
	await(t, "the end of all goroutines", func() bool { return running() == nil })
}

func TestProcessStandsAlone(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	b := newBench(t, nil)
	b.script("192.0.2.1", "errno 5")
	_, _ = b.Connect(t.Context(), connectTo("192.0.2.1"))
	pid := b.pid()
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process group %d of %d, %v", group, pid, err)
	}
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "sesame") || strings.Contains(string(text), "NOTIFY_SOCKET") {
			t.Errorf("%s: %q", file, text)
		}
		if file == "cmdline" && !strings.Contains(string(text), "kernel worker") {
			t.Errorf("%s: %q", file, text)
		}
	}
}

func TestWorkerThatCannotStart(t *testing.T) {
	w := NewWorker(WorkerOptions{Command: []string{"/nonexistent/worker"}})
	if _, err := w.Options(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Options = %v", err)
	}
	w = NewWorker(WorkerOptions{Command: []string{"/bin/false"}})
	if _, err := w.Options(t.Context()); !errors.Is(err, ErrWorkerDied) {
		t.Errorf("Options = %v", err)
	}
}

func TestWorkerThatTalksNonsense(t *testing.T) {
	w := NewWorker(WorkerOptions{Command: []string{"/bin/sh", "-c", "echo 'this is no frame at all'; cat >/dev/null"}})
	if _, err := w.Options(t.Context()); !errors.Is(err, ErrWorkerDied) {
		t.Errorf("Options = %v", err)
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		run := b.TempDir()
		w := NewWorker(WorkerOptions{RunDir: run, RegistryRoot: run + "/registry", SysRoot: run, DevRoot: run})
		if err := w.Kickstart(b.Context()); !errors.Is(err, ErrNoFC) {
			b.Fatal(err)
		}
		_ = w.Close()
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	run := b.TempDir()
	w := NewWorker(WorkerOptions{RunDir: run, RegistryRoot: run + "/registry", SysRoot: run, DevRoot: run})
	defer w.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Kickstart(b.Context()); !errors.Is(err, ErrNoFC) {
			b.Fatal(err)
		}
	}
}
