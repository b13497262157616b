package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/test/privatebus"
)

// dcs and iocs are the controllers of daemons that do at once what they are asked for.
type dcs struct {
	mu    sync.Mutex
	list  []bus.DiscoveryController
	asked []string
}

func (d *dcs) DiscoveryControllers(_ context.Context, keys []string) ([]bus.DiscoveryController, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return some(d.list, keys, func(c *bus.DiscoveryController) string { return c.Key }), nil
}

func some[T any](all []T, keys []string, key func(*T) string) []T {
	var list []T
	for _, c := range all {
		if keys == nil || slices.Contains(keys, key(&c)) {
			list = append(list, c)
		}
	}
	return list
}

func (d *dcs) Reconnect(_ context.Context, key string) error { return d.ask("reconnect " + key) }
func (d *dcs) Refresh(_ context.Context, key string) error   { return d.ask("refresh " + key) }

func (d *dcs) ask(what string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, what)
	return nil
}

type iocs struct {
	mu    sync.Mutex
	list  []bus.IOController
	asked []string
	fails error
	slow  bool // nothing is done yet when a request is answered
	tell  func(string)
}

func (d *iocs) IOControllers(_ context.Context, keys []string) ([]bus.IOController, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return some(d.list, keys, func(c *bus.IOController) string { return c.Key }), nil
}

func (d *iocs) Reconnect(_ context.Context, key string) error {
	return d.ask("reconnect", key, func(c *bus.IOController) { c.State, c.Device = "connected", "nvme9" })
}

func (d *iocs) Disconnect(_ context.Context, key string) error {
	return d.ask("disconnect", key, func(c *bus.IOController) { c.State, c.Device = "disconnected", "" })
}

func (d *iocs) ask(what, key string, change func(*bus.IOController)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, what+" "+key)
	for i := range d.list {
		if d.list[i].Key != key {
			continue
		}
		if d.slow {
			d.list[i].State = "disconnecting"
		} else if d.fails != nil {
			d.list[i].LastError, d.list[i].LastErrorTime = d.fails.Error(), time.Now().Add(time.Second)
		} else {
			change(&d.list[i])
		}
	}
	if d.tell != nil {
		d.tell(key)
	}
	return nil
}

func (d *iocs) requests() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := strings.Join(d.asked, ", ")
	d.asked = nil
	return all
}

// typedFabric serves both daemons with objects.
func typedFabric(t *testing.T) (bus.Options, *dcs, *iocs) {
	t.Helper()
	now := time.Now()
	f := newFabric()
	staf := &dcs{list: []bus.DiscoveryController{
		{
			Key: "d1", ID: f.controllers[0].ID, HostID: "h", Origins: []string{"configured stafd.conf:3", "mdns cdc"}, Device: "nvme0",
			KernelState: "live", SessionState: "held", Registration: "registered", PageGeneration: 12, Records: 2, PageReadTime: now, Disposition: bus.Active, Owner: "stas",
		},
		{
			Key: "d2", ID: f.controllers[1].ID, Origins: []string{"mdns far\x1b[2J"}, SessionState: "waiting", LastError: "connection refused\x1b[31m",
			LastErrorTime: now.Add(-26*time.Hour - 30*time.Second), NextRetry: now.Add(5*time.Hour + 30*time.Second), Disposition: bus.Active,
		},
	}}
	path := func(key, device, traddr, state string) bus.IOController {
		return bus.IOController{
			Key: key, ID: bus.ID{Transport: "tcp", Traddr: traddr, Trsvcid: "4420", SubsysNQN: "nqn.2026-01.test:a", HostIface: "eth0", HostNQN: hostNQN},
			Device: device, State: state, KernelState: "live", Owner: "stas", SrcAddr: "192.0.2.77", Reasons: []string{"listed by x"},
		}
	}
	a, b, c, twin := path("i1", "nvme1", "192.0.2.1", "connected"), path("i2", "nvme2", "2001:db8::2", "reconnecting"), path("i3", "", "192.0.2.3", "waiting"), path("i4", "", "192.0.2.1", "duplicate")
	twin.ID.HostIface = ""
	a.PendingChanges, a.BlockDevices = []string{"kato", "hdr-digest"}, []string{"nvme1n1"}
	c.Attempts, c.LastError, c.LastErrorTime, c.Owner, c.SrcAddr = 3, "cannot connect: timeout", now.Add(-2*time.Hour-30*time.Second), "", ""
	c.ID.SubsysNQN = "nqn.2026-01.test:b"
	stac := &iocs{list: []bus.IOController{a, b, c, twin}}
	busDaemon := privatebus.Start(t)
	opts := quiet(busDaemon)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	fs, cs := bus.NewFinderServer(opts, f, f, f), bus.NewConnectorServer(opts, f, f)
	fs.ServeControllers(staf)
	cs.ServeControllers(stac)
	stac.tell = cs.ControllerChanged
	wg.Go(func() { _ = fs.Run(ctx) })
	wg.Go(func() { _ = cs.Run(ctx) })
	<-fs.Settled()
	<-cs.Settled()
	return opts, staf, stac
}

func TestTypedOutput(t *testing.T) {
	opts, _, _ := typedFabric(t)
	for name, args := range map[string][]string{
		"staf-typed-ls": {"ls"}, "staf-typed-status": {"status"}, "stac-typed-ls": {"ls"}, "stac-typed-status": {"status"},
	} {
		root := Stafctl(opts)
		if strings.HasPrefix(name, "stac") {
			root = Stacctl(opts)
		}
		out, errs, status := run(t, root, args...)
		if status != 0 || errs != "" || strings.Contains(out, "\x1b") {
			t.Fatalf("%s: status %d, %s%s", name, status, errs, out)
		}
		golden(t, name, out)
	}
	out, _, _ := run(t, Stacctl(opts), "status", "-o", "json")
	var info struct {
		Objects []struct {
			Key, State string
			Reasons    []string
			Attempts   int
		}
	}
	if err := json.Unmarshal([]byte(out), &info); err != nil || len(info.Objects) != 4 || info.Objects[0].Reasons[0] != "listed by x" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestSelectors(t *testing.T) {
	opts, staf, stac := typedFabric(t)
	for _, c := range []struct {
		args   []string
		asked  string
		errs   string
		status int
	}{
		{[]string{"reconnect", "nvme1"}, "reconnect i1", "", 0},
		{[]string{"reconnect", "/dev/nvme9"}, "reconnect i1", "", 0},
		{[]string{"reconnect", "192.0.2.3"}, "reconnect i3", "", 0},
		{[]string{"disconnect", "[2001:DB8:0::2]:4420"}, "", "no controller has this", 1},
		{[]string{"disconnect", "2001:DB8:0::2"}, "disconnect i2", "", 0},
		{[]string{"disconnect", "nqn.2026-01.test:a"}, "", "several controllers are meant", 1},
		{[]string{"reconnect", "nqn.2026-01.test:b"}, "reconnect i3", "", 0},
		{[]string{"disconnect", "nqn.2026-01.test:a", "--all"}, "disconnect i1, disconnect i2", "", 0},
		{[]string{"disconnect"}, "", "say which controller", 2},
		{[]string{"reconnect", "192.0.2.3", "2001:db8::2", "192.0.2.3"}, "reconnect i3, reconnect i2", "", 0},
		{[]string{"reconnect", "2001:db8::2", "nobody"}, "", "no controller has this", 1},
	} {
		_, errs, status := run(t, Stacctl(opts), c.args...)
		if got := stac.requests(); got != c.asked || status != c.status || !strings.Contains(errs, c.errs) || c.errs == "" && errs != "" {
			t.Errorf("%v: asked %q, status %d, %s", c.args, got, status, errs)
		}
	}
	if out, _, status := run(t, Stafctl(opts), "refresh", "nvme0"); status != 0 || !strings.Contains(out, "reading its log page") || !slices.Equal(staf.asked, []string{"refresh d1"}) {
		t.Errorf("refresh: %d %s %v", status, out, staf.asked)
	}
	if out, _, _ := run(t, Stacctl(opts), "__complete", "disconnect", ""); !strings.Contains(out, "nqn.2026-01.test:a\n") || !strings.Contains(out, "2001:db8::2\n") {
		t.Errorf("completion: %s", out)
	}
	stac.fails = errors.New("out of order")
	if _, errs, status := run(t, Stacctl(opts), "reconnect", "192.0.2.3"); status != 0 && !strings.Contains(errs, "out of order") {
		t.Errorf("status %d, %s", status, errs)
	}
}

func TestRequestsOfAnOldDaemon(t *testing.T) {
	opts := quiet(privatebus.Start(t))
	serve(t, opts, newFabric())
	for _, args := range [][]string{{"reconnect", "nvme1"}, {"watch"}} {
		if _, errs, status := run(t, Stacctl(opts), args...); status != 1 || !strings.Contains(errs, "another version") {
			t.Errorf("%v: status %d, %s", args, status, errs)
		}
	}
}

func TestExcludeBeforeDisconnect(t *testing.T) {
	opts, _, stac := typedFabric(t)
	tool := newTool("stacd", bus.ConnectConnector, opts)
	tool.exclusions = filepath.Join(t.TempDir(), "exclusions.conf")
	out, errs, status := run(t, stacctl(tool), "disconnect", "nvme1", "--exclude")
	if status != 0 || errs != "" || stac.requests() != "disconnect i1" || !strings.Contains(out, "excluded in ") {
		t.Fatalf("status %d, %s%s", status, out, errs)
	}
	b, err := os.ReadFile(tool.exclusions)
	if err != nil || !strings.Contains(string(b), "transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.2026-01.test:a;host-iface=eth0") {
		t.Errorf("%v: %s", err, b)
	}
}

// An NQN comes from the fabric, and in an entry of a list a ";" would begin another field.
func TestExcludeWhatAnEntryCannotName(t *testing.T) {
	opts, _, stac := typedFabric(t)
	stac.mu.Lock()
	stac.list[0].ID.SubsysNQN = "nqn.2026-01.test:a;traddr=198.51.100.1"
	stac.mu.Unlock()
	tool := newTool("stacd", bus.ConnectConnector, opts)
	tool.exclusions = filepath.Join(t.TempDir(), "exclusions.conf")
	_, errs, status := run(t, stacctl(tool), "disconnect", "nvme1", "--exclude")
	b, _ := os.ReadFile(tool.exclusions)
	if status != 1 || stac.requests() != "" || !strings.Contains(errs, "cannot exclude") || len(b) > 0 {
		t.Errorf("status %d, %s; the list is %q", status, errs, b)
	}
}

// Who does not wait is not told that it has happened.
func TestNotWaiting(t *testing.T) {
	opts, _, stac := typedFabric(t)
	stac.mu.Lock()
	stac.slow = true
	stac.mu.Unlock()
	for args, want := range map[string]string{"reconnect": ": reconnecting\n", "disconnect": ": disconnecting\n"} {
		if out, errs, status := run(t, Stacctl(opts), args, "nvme1", "--wait", "0"); status != 0 || !strings.HasSuffix(out, want) {
			t.Errorf("%s: status %d, %s%s", args, status, errs, out)
		}
	}
}

func TestWatch(t *testing.T) {
	opts, _, stac := typedFabric(t)
	for _, output := range []string{"table", "json"} {
		ctx, cancel := context.WithCancel(t.Context())
		root := Stacctl(opts)
		r, w := io.Pipe()
		root.SetOut(w)
		root.SetArgs([]string{"watch", "-o", output})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := root.ExecuteContext(ctx); err != nil {
				t.Error(err)
			}
			w.Close()
		})
		lines := make(chan string, 100)
		go func() {
			var text strings.Builder
			buf := make([]byte, 4096)
			for {
				n, err := r.Read(buf)
				text.Write(buf[:n])
				if strings.HasSuffix(text.String(), "\n") {
					for line := range strings.Lines(text.String()) {
						lines <- line
					}
					text.Reset()
				}
				if err != nil {
					close(lines)
					return
				}
			}
		}()
		expect := func(parts ...string) {
			t.Helper()
			select {
			case line := <-lines:
				for _, p := range parts {
					if !strings.Contains(line, p) {
						t.Errorf("%q has no %q", line, p)
					}
				}
				if output == "json" && !json.Valid([]byte(line)) {
					t.Errorf("%s", line)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("nothing for 20 s")
			}
		}
		expect("up")
		for range 4 {
			expect("known", "nqn.2026-01.test:")
		}
		stac.mu.Lock()
		stac.list[0].State = "waiting " + output
		stac.mu.Unlock()
		stac.tell("i1")
		if output == "json" {
			expect(`"event": "changed"`, `"key": "i1"`, `"properties": {"State": "waiting json"}`)
		} else {
			expect("changed", "192.0.2.1", "-> waiting table")
		}
		cancel()
		wg.Wait()
		for range lines {
		}
	}
}

// What stacd has answered, or what never concerned it, is not that it cannot be asked.
func TestErrorsThatAreNotOfTheQuestion(t *testing.T) {
	opts, _, stac := typedFabric(t)
	tool := newTool("stacd", bus.ConnectConnector, opts)
	tool.exclusions = t.TempDir() // is no file
	_, errs, status := run(t, stacctl(tool), "disconnect", "nvme1", "--exclude")
	if status != 1 || stac.requests() != "" || strings.Contains(errs, "cannot ask") || !strings.Contains(errs, tool.exclusions) {
		t.Errorf("a list that cannot be written: status %d, %s", status, errs)
	}
	stac.mu.Lock()
	stac.list[0].ID.SubsysNQN = "nqn.2026-01.test:a;traddr=198.51.100.1"
	stac.mu.Unlock()
	if _, errs, status := run(t, stacctl(tool), "disconnect", "nvme1", "--exclude"); status != 1 || !strings.HasPrefix(errs, "stacctl: cannot exclude ") {
		t.Errorf("an entry that cannot be made: status %d, %s", status, errs)
	}
	stac.mu.Lock()
	stac.fails = errors.New("out of order")
	stac.mu.Unlock()
	if _, errs, status := run(t, Stacctl(opts), "reconnect", "192.0.2.3"); status != 1 || strings.Contains(errs, "cannot ask") || !strings.Contains(errs, "out of order") {
		t.Errorf("an attempt that fails: status %d, %s", status, errs)
	}
}

// full is an output that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// Lines that cannot be written are no reason to go on as if they had been, nor the fault of stacd.
func TestOutputThatTakesNothing(t *testing.T) {
	opts, _, _ := typedFabric(t)
	for _, args := range [][]string{{"watch"}, {"watch", "-o", "json"}, {"reconnect", "nvme1"}, {"reconnect", "nvme9", "-o", "json"}, {"ls"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		root := Stacctl(opts)
		root.SetOut(full{})
		root.SetArgs(args)
		err := root.ExecuteContext(ctx)
		if ctx.Err() != nil || err == nil || err.Error() != "no space left on device" {
			t.Errorf("%v: %v, %v", args, err, ctx.Err())
		}
		cancel()
	}
}

// What went wrong may quote what somebody on the network has said.
func TestErrorsAreHarmless(t *testing.T) {
	opts, _, stac := typedFabric(t)
	stac.mu.Lock()
	stac.fails = errors.New("refused\x1b[2J\u202e")
	stac.mu.Unlock()
	if _, errs, status := run(t, Stacctl(opts), "reconnect", "192.0.2.3"); status != 1 || !strings.Contains(errs, "refused?[2J?\n") {
		t.Errorf("status %d, %q", status, errs)
	}
	if _, errs, _ := run(t, Stacctl(opts), "reconnect", "nqn.2026-01.test:a"); strings.Count(errs, "\n") != 3 {
		t.Errorf("a list of two is\n%s", errs)
	}
}

// Two ways to one address differ in where they begin: without a device nothing else tells them apart.
func TestTwoWaysToOneAddress(t *testing.T) {
	opts, _, stac := typedFabric(t)
	stac.mu.Lock()
	other := stac.list[2]
	other.Key, other.ID.HostIface, other.ID.HostTraddr = "i5", "eth1", "192.0.2.78"
	stac.list = append(stac.list, other)
	stac.mu.Unlock()
	_, errs, _ := run(t, Stacctl(opts), "reconnect", "192.0.2.3")
	out, _, _ := run(t, Stacctl(opts), "status")
	_, trouble, _ := strings.Cut(out, "last errors")
	for _, text := range []string{errs, trouble} {
		if !strings.Contains(text, "nqn.2026-01.test:b  from eth0\n") || !strings.Contains(text, "nqn.2026-01.test:b  from 192.0.2.78 eth1\n") {
			t.Errorf("which is which:\n%s", text)
		}
	}
}

// Who interrupts a wait is not told that stacd could not be asked: it was, and is at it.
func TestInterruptedWait(t *testing.T) {
	opts, _, stac := typedFabric(t)
	stac.mu.Lock()
	stac.slow = true
	stac.mu.Unlock()
	for _, what := range []string{"reconnect", "disconnect"} {
		ctx, cancel := context.WithCancel(t.Context())
		root := Stacctl(opts)
		var errs strings.Builder
		root.SetErr(&errs)
		root.SetArgs([]string{what, "nvme1"})
		stac.mu.Lock()
		tell := stac.tell
		stac.tell = func(key string) { tell(key); time.AfterFunc(200*time.Millisecond, cancel) }
		stac.mu.Unlock()
		if status := Run(ctx, root); status != 1 || !strings.Contains(errs.String(), "interrupted; ") || strings.Contains(errs.String(), "cannot ask") {
			t.Errorf("%s: status %d, %s", what, status, errs.String())
		}
		cancel()
	}
}
