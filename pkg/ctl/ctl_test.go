package ctl

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/test/privatebus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files")

// fabric is a daemon with a fixed view of a small fabric.
type fabric struct {
	controllers []bus.Controller
	logs        []bus.ControllerLog
	mu          sync.Mutex
	tron        bool
}

const hostNQN = "nqn.2014-08.org.nvmexpress:uuid:5968e61b-f0db-4af9-a329-ae9ba10166a2"

func newFabric() *fabric {
	dc := bus.Controller{
		ID:     bus.ID{Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "8009", SubsysNQN: nvme.DiscoveryNQN, HostNQN: hostNQN},
		Device: "nvme0", Tunables: []bus.Field{{Name: "kato", Value: "20"}, {Name: "dhchap-secret", Value: "DHHC-1:00:leak"}},
		Info: []bus.Field{
			{Name: "connect attempts", Value: "0"}, {Name: "retry connect timer", Value: "60.0s [off]"}, {Name: "origin", Value: "configured"},
		},
		Details: []bus.Field{{Name: "model", Value: "Linux"}, {Name: "connected", Value: "True"}},
	}
	far := bus.Controller{
		ID: bus.ID{
			Transport: "tcp", Traddr: "2001:db8:1:2:3:4:5:6", Trsvcid: "8009", SubsysNQN: "nqn.2014-08.com.example:dc:one",
			HostIface: "enp129s0f0", HostTraddr: "2001:db8:1:2:3:4:5:7", HostNQN: hostNQN,
		},
		Info: []bus.Field{
			{Name: "connect attempts", Value: "7"}, {Name: "retry connect timer", Value: "60.0s [12.5s]"}, {Name: "origin", Value: "discovered"},
		},
		Details: []bus.Field{{Name: "connected", Value: "False"}},
	}
	entries := []nvme.DiscoveryEntry{
		{
			Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4, Subtype: nvme.SubtypeDiscovery, TReq: 4, PortID: 1,
			CntlID: 0xffff, ASQSize: 32, EFlags: nvme.EPCSD, Traddr: "192.0.2.10", Trsvcid: "8009", SubNQN: nvme.DiscoveryNQN,
		},
		{
			Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv6, Subtype: nvme.SubtypeNVMe, PortID: 2,
			CntlID: 0xffff, ASQSize: 32, Traddr: "2001:db8::1", Trsvcid: "4420", SubNQN: "nqn.2026-01.test:\x1b[31ma",
		},
	}
	return &fabric{
		controllers: []bus.Controller{dc, far},
		logs:        []bus.ControllerLog{{Controller: dc, Entries: entries}, {Controller: far}},
	}
}

func (f *fabric) Controllers(context.Context, bool) ([]bus.Controller, error) {
	return f.controllers, nil
}

func (f *fabric) AllLogPages(context.Context, bool) ([]bus.ControllerLog, error) { return f.logs, nil }

func (f *fabric) LogPage(_ context.Context, id bus.ID) ([]nvme.DiscoveryEntry, error) {
	for _, l := range f.logs {
		if l.Controller.ID == id {
			return l.Entries, nil
		}
	}
	return nil, nil
}

func (f *fabric) Pages(context.Context) ([]bus.Page, error) {
	now := time.Now()
	return []bus.Page{
		{
			Key: "1", ID: f.controllers[0].ID, Disposition: bus.Active, Complete: true, Revision: 3, GenCtr: 12,
			ReadAt: now.Add(-26*time.Hour - 30*time.Second), Records: 2,
		},
		{Key: "2", ID: f.controllers[1].ID, Disposition: bus.Active},
	}, nil
}

func (f *fabric) PageEntries(context.Context, string) (bus.Page, []nvme.DiscoveryEntry, bool, error) {
	return bus.Page{}, nil, false, nil
}

func (f *fabric) ProcessInfo(context.Context) (bus.Object, error) {
	return bus.Object{
		{Name: "tron", Value: f.Tron()},
		{Name: "log-level", Value: f.LogLevel()},
		{Name: "hostnqn", Value: hostNQN},
		{Name: "hostkey", Value: "DHHC-1:00:leak"},
		{Name: "symname", Value: nil},
		{Name: "config soak timer", Value: "1.5s [off]"},
		{Name: "avahi", Value: bus.Object{
			{Name: "service types", Value: []string{"_nvme-disc._tcp"}},
			{Name: "services", Value: bus.Object{}},
		}},
	}, nil
}

func (f *fabric) ControllerInfo(context.Context, bus.ID) (bus.Controller, bool, error) {
	return f.controllers[0], true, nil
}

func (f *fabric) Tron() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tron
}

func (f *fabric) SetTron(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tron = on
}

func (f *fabric) LogLevel() string {
	if f.Tron() {
		return "DEBUG"
	}
	return "INFO"
}

func run(t *testing.T, root *cobra.Command, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	status = Run(t.Context(), root)
	return out.String(), errs.String(), status
}

func quiet(b *privatebus.Bus) bus.Options {
	return bus.Options{Address: b.Address(), ConnectTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, CallTimeout: 30 * time.Second, Log: slog.New(slog.DiscardHandler)}
}

// serve runs both daemons' servers over f until the test ends.
func serve(t *testing.T, opts bus.Options, f *fabric) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	staf := bus.NewFinderServer(opts, f, f, f)
	stac := bus.NewConnectorServer(opts, f, f)
	wg.Go(func() { _ = staf.Run(ctx) })
	wg.Go(func() { _ = stac.Run(ctx) })
	<-staf.Settled()
	<-stac.Settled()
	if !staf.Connected() || !stac.Connected() {
		t.Fatal("the servers are not on the bus")
	}
}

func TestOutput(t *testing.T) {
	opts := quiet(privatebus.Start(t))
	serve(t, opts, newFabric())
	for name, args := range map[string][]string{
		"staf-ls":          {"ls"},
		"staf-ls-json":     {"ls", "-o", "json"},
		"staf-ls-d":        {"ls", "-d"},
		"staf-ls-d-json":   {"ls", "-d", "-o", "json"},
		"staf-status":      {"status"},
		"staf-status-json": {"status", "--output", "json"},
		"staf-dlp":         {"dlp", "-t", "tcp", "-a", "192.0.2.10", "-s", "8009", "-n", nvme.DiscoveryNQN, "-q", hostNQN},
		"staf-dlp-v6":      {"dlp", "-a", "2001:DB8:1:2:3:4:5:0006", "-f", "enp129s0f0", "-w", "2001:db8:1:2:3:4:5:7"},
		"staf-dlp-json":    {"dlp", "-a", "192.0.2.10", "-o", "json"},
		"staf-adlp":        {"adlp"},
		"staf-adlp-d":      {"adlp", "-d"},
		"staf-adlp-json":   {"adlp", "-o", "json"},
		"stac-ls":          {"ls"},
		"stac-status":      {"status"},
		"stac-status-json": {"status", "-o", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			root := Stafctl(opts)
			if strings.HasPrefix(name, "stac") {
				root = Stacctl(opts)
			}
			out, errs, status := run(t, root, args...)
			if status != 0 || errs != "" {
				t.Fatalf("status %d, %s", status, errs)
			}
			if strings.Contains(out, "leak") {
				t.Errorf("a secret is printed:\n%s", out)
			}
			golden(t, name, out)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (go test -update writes it):\n%s", file, d)
	}
}

func TestTracing(t *testing.T) {
	opts := quiet(privatebus.Start(t))
	f := newFabric()
	serve(t, opts, f)
	for _, step := range []struct {
		args []string
		want string
		tron bool
	}{
		{[]string{"tron"}, "tracing is on\n", true},
		{[]string{"tron", "-o", "json"}, "{\n  \"tron\": true\n}\n", true},
		{[]string{"troff"}, "tracing is off\n", false},
	} {
		out, errs, status := run(t, Stafctl(opts), step.args...)
		if out != step.want || status != 0 || f.Tron() != step.tron {
			t.Errorf("%v: %q %q, status %d, tron %v", step.args, out, errs, status, f.Tron())
		}
	}
}

func TestFailures(t *testing.T) {
	b := privatebus.Start(t)
	opts := quiet(b)
	nowhere := bus.Options{Address: "unix:path=/nonexistent/socket"}
	for _, c := range []struct {
		root   *cobra.Command
		args   []string
		want   string
		status int
	}{
		{Stafctl(opts), []string{"ls"}, "stafctl: stafd is not running: systemctl start stafd\n", 1},
		{Stacctl(opts), []string{"status"}, "stacctl: stacd is not running: systemctl start stacd\n", 1},
		{Stafctl(nowhere), []string{"ls"}, "systemctl start dbus", 1},
		{Stafctl(opts), []string{"ls", "-o", "xml"}, `--output is table or json, not "xml"`, 2},
		{Stafctl(opts), []string{"ls", "--nonsense"}, "unknown flag: --nonsense", 2},
		{Stafctl(opts), []string{"frob"}, `there is no command "frob"`, 2},
		{Stafctl(opts), []string{"ls", "all"}, `"all" is one argument too many`, 2},
	} {
		out, errs, status := run(t, c.root, c.args...)
		if out != "" || !strings.Contains(errs, c.want) || status != c.status {
			t.Errorf("%v: stdout %q, stderr %q, status %d", c.args, out, errs, status)
		}
	}
	serve(t, opts, newFabric())
	for want, args := range map[string][]string{
		"no discovery controller is like that": {"dlp", "-a", "192.0.2.99"},
		"several discovery controllers":        {"dlp", "-t", "tcp"},
	} {
		if _, errs, status := run(t, Stafctl(opts), args...); !strings.Contains(errs, want) || status != 1 {
			t.Errorf("%v: %q, status %d", args, errs, status)
		}
	}
}

func TestVersionAndCompletion(t *testing.T) {
	opts := quiet(privatebus.Start(t))
	serve(t, opts, newFabric())
	for want, args := range map[string][]string{
		"stafctl devel\n": {"--version"},
		"table\njson\n":   {"__complete", "ls", "-o", ""},
		"192.0.2.10\n":    {"__complete", "dlp", "-a", ""},
		"complete -o":     {"completion", "bash"},
	} {
		if out, errs, status := run(t, Stafctl(opts), args...); !strings.Contains(out, want) || status != 0 {
			t.Errorf("%v: %q %q, status %d", args, out, errs, status)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s",
		3*time.Hour + 5*time.Minute: "3h05m", 50 * time.Hour: "2d02h",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) is %q, want %q", d, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"a": [1, {"b": null}], "c": "\u001b"}`)
	f.Add(`[[[[`)
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parse(s)
		if err != nil {
			return
		}
		b, err := bus.JSON(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(string(b)); err != nil {
			t.Errorf("%q became %q: %v", s, b, err)
		}
	})
}

// TestStatusPages: what stafd says of sources that have not reported is no row of the table.
func TestStatusPages(t *testing.T) {
	page := bus.Page{Key: "a", ID: bus.ID{Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "8009"}, Disposition: bus.Active}
	silent := bus.Page{Key: "sources", Disposition: bus.Active}
	const hint = "has not reported"
	for _, tt := range []struct {
		pages []bus.Page
		lines int
		hint  bool
	}{
		{nil, 2, false}, {[]bus.Page{page}, 4, false}, {[]bus.Page{page, silent}, 5, true}, {[]bus.Page{silent}, 3, true},
	} {
		var b strings.Builder
		(&tool{daemon: "stafd"}).statusPages(&b, tt.pages)
		if got := b.String(); strings.Count(got, "\n") != tt.lines || strings.Contains(got, hint) != tt.hint {
			t.Errorf("%v:%s", tt.pages, got)
		}
	}
}
