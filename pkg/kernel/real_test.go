//go:build e2e

package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/netif"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
	"github.com/stas-go/stas/pkg/uevent"
	"github.com/stas-go/stas/test/fabric"
)

// These tests work on a real kernel, inside the VM of test/vm:
//
//	CGO_ENABLED=0 go test -c -tags e2e -o bin/kernel.test ./pkg/kernel
//	go run ./test/vm -put bin/kernel.test ./kernel.test -test.v -test.run Real

// realBench is a Worker and a Watcher of the machine.
type realBench struct {
	*Worker
	sysfs   Sysfs
	changes <-chan Change
	late    chan Late
	run     string
}

func newRealBench(t *testing.T) *realBench {
	t.Helper()
	if name, _ := os.Hostname(); name != "stas-vm" {
		t.Skip("not in the VM of test/vm")
	}
	fabric.Clean(t)
	monitor, err := uevent.Open(uevent.Options{Subsystems: Subsystems()})
	if err != nil {
		t.Fatal(err)
	}
	watcher := NewWatcher(Sysfs{}, monitor)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- watcher.Run(ctx) }()
	b := &realBench{changes: watcher.Changes(), late: make(chan Late, 10), run: t.TempDir()}
	b.Worker = b.another(t)
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	b.until(t, "the end of the first scan", func(c Change) bool { return c.ScanDone })
	return b
}

// another makes a Worker such as another daemon would.
func (b *realBench) another(t *testing.T) *Worker {
	w := NewWorker(WorkerOptions{Command: []string{"/proc/self/exe", realWorker}, RunDir: b.run, OnOrphan: func(l Late) { b.late <- l }})
	t.Cleanup(func() {
		w.mu.Lock()
		p := w.proc
		w.mu.Unlock()
		_ = w.Close()
		if p != nil {
			await(t, "the worker process to end", p.reaped)
		}
	})
	return w
}

// until takes changes until one is right.
func (b *realBench) until(t *testing.T, what string, right func(Change) bool) Change {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case c := <-b.changes:
			if right(c) {
				return c
			}
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func realRequest(t *testing.T, kind tid.Kind, port int, nqn string) ConnectRequest {
	t.Helper()
	nqnText, err := os.ReadFile("/etc/nvme/hostnqn")
	if err != nil {
		t.Fatal(err)
	}
	id, err := os.ReadFile("/etc/nvme/hostid")
	if err != nil {
		t.Fatal(err)
	}
	return ConnectRequest{Kind: kind, Host: tid.Host{NQN: strings.TrimSpace(string(nqnText)), ID: strings.TrimSpace(string(id))},
		TID: newTID(t, kind, tid.TID{Transport: nvme.TCP, Traddr: "127.0.0.1", Trsvcid: fmt.Sprint(port), NQN: nqn})}
}

func TestRealWholeWay(t *testing.T) {
	b := newRealBench(t)
	port := fabric.TCP(t, "127.0.0.1", 8009)
	subs := fabric.NewSubsystems(t, "nqn.2024-01.test:s", 40, fabric.Options{})
	port.Link(t, subs...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	options, err := b.Options(ctx)
	if err != nil || !options.Has("host_iface") || !options.Has("discovery") {
		t.Fatalf("Options = %v, %v", options, err)
	}
	dc, err := b.Connect(ctx, realRequest(t, tid.Discovery, 8009, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("discovery controller: %+v", dc)
	change := b.until(t, "connected", func(c Change) bool { return c.Connected })
	c := change.Controller
	t.Logf("as sysfs shows it: %+v", *c)
	if c.Name != dc.Name() || c.CntlID != dc.CntlID || !c.KindKnown || c.Kind != tid.Discovery || c.KATO != 30 || c.SrcAddr != "127.0.0.1" || c.QueueCount != 1 {
		t.Errorf("controller %+v", *c)
	}
	r := realRequest(t, tid.Discovery, 8009, "")
	table, err := netif.Read()
	if err != nil {
		t.Fatal(err)
	}
	if fit := c.FitTo(tid.Discovery, r.TID, table); fit != tid.Exact {
		t.Errorf("fit %v", fit)
	}
	if o := registry.Open("", "", "").Owner(c.Name); !o.Is(registry.Stas) {
		t.Errorf("owner %v", o)
	}

	id, err := b.Identify(ctx, c.Name)
	if err != nil || int(id.CNTLID) != c.CntlID {
		t.Errorf("Identify = %+v, %v", id, err)
	}
	if _, err := b.SupportedLogPages(ctx, c.Name); err != nil && !errors.As(err, new(nvme.Status)) {
		t.Errorf("SupportedLogPages = %v", err)
	}
	if err := b.Register(ctx, c.Name, make([]byte, 2076), 0); !errors.As(err, new(nvme.Status)) {
		t.Errorf("Register = %v, want a status", err)
	}
	start := time.Now()
	log, err := b.DiscoveryLog(ctx, c.Name, nvme.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d entries in %v", len(log.Entries), time.Since(start))
	found := 0
	for _, e := range log.Entries {
		if strings.HasPrefix(e.SubNQN, "nqn.2024-01.test:s") {
			found++
		}
	}
	if found != 40 {
		t.Errorf("%d subsystems listed", found)
	}

	start = time.Now()
	port.Unlink(t, subs[39])
	b.until(t, "the event of a changed page", func(c Change) bool { return c.AEN && c.Name == dc.Name() })
	t.Logf("event %v after the change", time.Since(start))
	if _, err := b.DiscoveryLog(ctx, c.Name, nvme.ReadOptions{ChunkSize: 1 << 20}); err != nil {
		t.Error(err)
	}

	ioRequest := realRequest(t, tid.IO, 8009, subs[0].NQN)
	ioc, err := b.Connect(ctx, ioRequest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Connect(ctx, ioRequest); !errors.Is(err, syscall.EALREADY) {
		t.Errorf("second Connect = %v", err)
	}
	await(t, "a namespace", func() bool {
		ns, err := b.sysfs.Namespaces(ioc.Name())
		return err == nil && len(ns) > 0 && ns[0].Size > 0
	})
	ns, _ := b.sysfs.Namespaces(ioc.Name())
	t.Logf("namespaces %+v", ns)
	// The path is there before the device of all paths.
	await(t, "its device", func() bool { _, err := os.Stat("/dev/" + ns[0].Device); return err == nil })

	for _, name := range []string{ioc.Name(), dc.Name()} {
		now, err := b.sysfs.Controller(name)
		if err != nil {
			t.Fatal(err)
		}
		wrong := now.Identity()
		wrong.CntlID++
		if err := b.Disconnect(ctx, DisconnectRequest{Name: name, Expect: wrong}); !errors.Is(err, ErrChanged) {
			t.Errorf("Disconnect = %v", err)
		}
		start := time.Now()
		if err := b.Disconnect(ctx, DisconnectRequest{Name: name, Expect: now.Identity()}); err != nil {
			t.Error(err)
		}
		t.Logf("%s disconnected in %v", name, time.Since(start))
		b.until(t, "gone", func(c Change) bool { return c.Name == name && c.Controller == nil })
		if o := registry.Open("", "", "").Owner(name); o.Kind() != registry.KindNone {
			t.Errorf("owner %v of what is gone", o)
		}
	}
}

func TestRealErrors(t *testing.T) {
	b := newRealBench(t)
	port := fabric.TCP(t, "127.0.0.1", 4420)
	port.Link(t, fabric.NewSubsystems(t, "nqn.2024-01.test:s", 1, fabric.Options{})...)
	for name, c := range map[string]struct {
		change func(*ConnectRequest)
		want   Class
	}{
		"nothing listens":   {func(r *ConnectRequest) { r.TID.Trsvcid = "4499" }, Refused},
		"unknown subsystem": {func(r *ConnectRequest) { r.TID.NQN = "nqn.2024-01.test:nobody" }, Rejected},
		"no such interface": {func(r *ConnectRequest) { r.TID.HostIface = "nosuch0" }, NoDevice},
		"no such source":    {func(r *ConnectRequest) { r.TID.HostTraddr = "192.0.2.1" }, Unreachable},
		"bad secret":        {func(r *ConnectRequest) { r.Params.DHCHAPSecret = tid.NewSecret("nonsense") }, InvalidOption},
		"no TLS key":        {func(r *ConnectRequest) { r.Params.TLS = tid.On }, Auth},
		"bad host ID":       {func(r *ConnectRequest) { r.Host.ID = "x" }, InvalidOption},
	} {
		r := realRequest(t, tid.IO, 4420, "nqn.2024-01.test:s0")
		c.change(&r)
		_, err := b.Connect(t.Context(), r)
		var e *ConnectError
		if !errors.As(err, &e) || e.Class != c.want {
			t.Errorf("%s: %v, want class %v", name, err, c.want)
		}
		t.Logf("%s: %v", name, err)
	}
	if left, err := Intents(b.run); err != nil || len(left) != 0 {
		t.Errorf("intents %v, %v", left, err)
	}
}

func TestRealSecretsAreShut(t *testing.T) {
	b := newRealBench(t)
	port := fabric.TCP(t, "127.0.0.1", 4420)
	subs := fabric.NewSubsystems(t, "nqn.2024-01.test:s", 1, fabric.Options{})
	port.Link(t, subs...)
	r := realRequest(t, tid.IO, 4420, subs[0].NQN)
	r.Params.DHCHAPSecret = tid.NewSecret("DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:")
	c, err := b.Connect(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, attr := range []string{"dhchap_secret", "dhchap_ctrl_secret"} {
		info, err := os.Stat(filepath.Join("/sys/class/nvme", c.Name(), attr))
		if err == nil && info.Mode().Perm() != 0o600 || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, %v", attr, info.Mode(), err)
		}
	}
}

// mute accepts NVMe/TCP connections, answers ICReq and nothing after it: what a connect waits
// for then it waits for uninterruptibly. asked tells that the first has come so far.
func mute(t *testing.T) (port int, asked <-chan struct{}) {
	t.Helper()
	first := make(chan struct{}, 1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go func() {
				request, answer := make([]byte, 128), make([]byte, 128)
				if _, err := io.ReadFull(conn, request); err != nil {
					return
				}
				answer[0], answer[2], answer[4] = 1, 128, 128
				binary.LittleEndian.PutUint32(answer[12:], 1<<17)
				_, _ = conn.Write(answer)
				if _, err := io.ReadFull(conn, request[:1]); err == nil {
					select {
					case first <- struct{}{}:
					default:
					}
				}
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port, first
}

// A killed worker is not gone before the kernel lets it go; its intent tells so.
func TestRealKilledWorker(t *testing.T) {
	b := newRealBench(t)
	const timeout = "/sys/module/nvme_core/parameters/admin_timeout"
	if err := os.WriteFile(timeout, []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(timeout, []byte("60"), 0) })
	port, asked := mute(t)
	r := realRequest(t, tid.IO, port, "nqn.2024-01.test:s0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := time.Now()
	result := make(chan error, 1)
	go func() { _, err := b.Connect(ctx, r); result <- err }()
	select {
	case <-asked: // until then a signal ends the connect
	case err := <-result:
		t.Fatalf("Connect = %v", err)
	case <-time.After(time.Minute):
		t.Fatal("the connect does not get to the target")
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Connect = %v", err)
	}
	t.Logf("Connect returned after %v", time.Since(start))
	b.mu.Lock()
	pid := b.proc.cmd.Process.Pid
	b.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if list, err := Intents(b.run); err != nil || len(list) != 1 || !list[0].Busy {
		t.Errorf("intents %+v, %v; want a busy one", list, err)
	}
	if l := <-b.late; !errors.Is(l.Err, ErrWorkerDied) {
		t.Errorf("late %+v", l)
	}
	t.Logf("the kernel let it go %v after the start", time.Since(start))
	if list, err := Intents(b.run); err != nil || len(list) != 0 {
		t.Errorf("intents %+v, %v", list, err)
	}
}

// Calls return with their contexts, a busy mutex or not, and a closed worker leaves nothing unowned.
func TestRealCloseInTheMiddle(t *testing.T) {
	b := newRealBench(t)
	hole := fabric.BlackHoles(t, 1)[0]
	port := fabric.TCP(t, "127.0.0.1", 4420)
	subs := fabric.NewSubsystems(t, "nqn.2024-01.test:s", 1, fabric.Options{})
	port.Link(t, subs...)
	if _, err := b.Options(t.Context()); err != nil { // which takes the mutex, too
		t.Fatal(err)
	}
	blocker := b.another(t)
	r := realRequest(t, tid.IO, 4420, "nqn.2024-01.test:s0")
	r.TID.Traddr = hole
	blocked := make(chan error, 1)
	go func() { _, err := blocker.Connect(t.Context(), r); blocked <- err }()
	b.until(t, "the connect to the hole", func(c Change) bool { return c.Controller != nil && c.Controller.Traddr == hole })

	good := make(chan error, 1)
	go func() { _, err := b.Connect(t.Context(), realRequest(t, tid.IO, 4420, subs[0].NQN)); good <- err }()
	await(t, "the intent of the second", func() bool { list, err := Intents(b.run); return err == nil && len(list) == 2 })
	start := time.Now()
	_ = b.Close()
	// A Close that waited for the kernel would take until the connect to the hole has ended.
	if err := <-good; !errors.Is(err, ErrClosed) || time.Since(start) > time.Second && len(blocked) > 0 {
		t.Errorf("Connect = %v after %v", err, time.Since(start))
	}
	var e *ConnectError
	if err := <-blocked; !errors.As(err, &e) || e.Class != Timeout || e.Took < 2*time.Second {
		t.Errorf("Connect to the hole = %v", err)
	}
	c := b.until(t, "the connection that was begun", func(c Change) bool { return c.Connected })
	await(t, "its owner", func() bool { return registry.Open("", "", "").Owner(c.Name).Is(registry.Stas) })
	await(t, "the end of its intent", func() bool { list, err := Intents(b.run); return err == nil && len(list) == 0 })
}

// Names are given anew at once; inodes are not.
func TestRealInodes(t *testing.T) {
	b := newRealBench(t)
	port := fabric.TCP(t, "127.0.0.1", 4420)
	subs := fabric.NewSubsystems(t, "nqn.2024-01.test:s", 1, fabric.Options{})
	port.Link(t, subs...)
	seen := map[uint64]bool{}
	for range 5 {
		c, err := b.Connect(t.Context(), realRequest(t, tid.IO, 4420, subs[0].NQN))
		if err != nil {
			t.Fatal(err)
		}
		now, err := b.sysfs.Controller(c.Name())
		if err != nil || seen[now.Inode] {
			t.Errorf("%s has inode %d, seen before: %v; %v", c.Name(), now.Inode, seen[now.Inode], err)
		}
		seen[now.Inode] = true
		if err := b.Disconnect(t.Context(), DisconnectRequest{Name: c.Name(), Expect: now.Identity()}); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkRealController(b *testing.B) {
	names, err := Sysfs{}.Names()
	if err != nil || len(names) == 0 {
		b.Skip("no controller here")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Sysfs{}).Controller(names[0]); err != nil {
			b.Fatal(err)
		}
	}
}
