package ctl

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

// machine is a Kernel in memory.
type machine struct {
	mu     sync.Mutex
	list   []kernel.Controller
	owners map[string]registry.Owner
	gone   []string
	refuse string
	as     string // whose connections its worker may end
	claims string // a controller that stacd claims once the list was made
}

func (m *machine) Controllers() ([]kernel.Controller, error) { return m.list, nil }

func (m *machine) Owner(name string) registry.Owner {
	if o, ok := m.owners[name]; ok {
		return o
	}
	return registry.NoOwner()
}

func (m *machine) Disconnect(_ context.Context, r kernel.DisconnectRequest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Name == m.refuse {
		return kernel.ErrBusy
	}
	if r.Expect.Inode == 0 {
		return errors.New("the identity is missing")
	}
	if r.Name == m.claims {
		m.owners = map[string]registry.Owner{m.claims: registry.OwnedBy(registry.Stas)}
	}
	// The rule of the worker process.
	owner := m.Owner(r.Name)
	ours := owner.Is(m.as) && !r.OnlyUnowned
	if !r.AnyOwner && !ours && (owner.Kind() != registry.KindNone || !r.AllowUnowned && !r.OnlyUnowned) {
		return kernel.ErrNotOurs
	}
	m.gone = append(m.gone, r.Name)
	return nil
}

func TestDisconnectAll(t *testing.T) {
	controller := func(name string, transport nvme.Transport) kernel.Controller {
		return kernel.Controller{Name: name, Inode: 7, Live: tid.Live{Transport: transport, Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.x"}}
	}
	for _, c := range []struct {
		args   []string
		answer string // "" stands for no terminal
		gone   string
		errs   string
		status int
		as     string
	}{
		{nil, "", "nvme1", "", 0, "stas"},
		{[]string{"--owner", "discoverd"}, "", "nvme3", "", 0, "discoverd"},
		{[]string{"--owner", "stas"}, "yes\n", "nvme2", "connect again", 0, "stas"},
		{[]string{"--owner", "stas"}, "y\n", "", "nothing was disconnected", 1, "stas"},
		{[]string{"--owner", "nobody"}, "no terminal was asked", "", "", 0, "nobody"},
		{[]string{"--force"}, "", "nvme1 nvme2 nvme3 nvme4", "connect again", 0, "stas"},
		{[]string{"--force"}, "\n", "", "nothing was disconnected", 1, "stas"},
		{[]string{"--force", "--owner", "stas"}, "", "", "exclude each other", 2, ""},
		{[]string{"--owner", ""}, "", "", "no name", 2, ""},
	} {
		m := &machine{
			list: []kernel.Controller{controller("nvme0", nvme.PCIe), controller("nvme1", nvme.TCP), controller("nvme2", nvme.TCP),
				controller("nvme3", nvme.RDMA), controller("nvme4", nvme.FC)},
			owners: map[string]registry.Owner{"nvme2": registry.OwnedBy("stas"), "nvme3": registry.OwnedBy("discoverd"), "nvme4": registry.UnknownOwner(errors.New("unreadable"))},
		}
		as := ""
		tool := newTool("stacd", bus.ConnectConnector, bus.Options{Address: "unix:path=/nonexistent"})
		tool.uid = 0
		tool.kernel = func(owner string) (Kernel, func()) { as, m.as = owner, owner; return m, func() {} }
		tool.terminal = func(io.Reader) bool { return c.answer != "" }
		root := stacctl(tool)
		root.SetIn(strings.NewReader(c.answer))
		_, errs, status := run(t, root, append([]string{"disconnect-all"}, c.args...)...)
		slices.Sort(m.gone)
		if got := strings.Join(m.gone, " "); got != c.gone || status != c.status || !strings.Contains(errs, c.errs) || as != c.as {
			t.Errorf("%v answered %q: gone %q as %q, status %d, %s", c.args, c.answer, got, as, status, errs)
		}
	}
}

// What stafd or stacd claim between the look and the disconnect is not unowned any more.
func TestDisconnectAllLeavesWhatIsClaimedMeanwhile(t *testing.T) {
	m := &machine{claims: "nvme1", list: []kernel.Controller{{Name: "nvme1", Inode: 1, Live: tid.Live{Transport: nvme.TCP}}, {Name: "nvme2", Inode: 1, Live: tid.Live{Transport: nvme.TCP}}}}
	tool := newTool("stacd", bus.ConnectConnector, bus.Options{})
	tool.uid, tool.kernel = 0, func(owner string) (Kernel, func()) { m.as = owner; return m, func() {} }
	_, errs, status := run(t, stacctl(tool), "disconnect-all")
	if !slices.Equal(m.gone, []string{"nvme2"}) || status != 1 || !strings.Contains(errs, "not") {
		t.Errorf("gone %v, status %d, %s", m.gone, status, errs)
	}
}

func TestDisconnectAllThatFails(t *testing.T) {
	m := &machine{refuse: "nvme1", list: []kernel.Controller{{Name: "nvme1", Inode: 1, Live: tid.Live{Transport: nvme.TCP}}, {Name: "nvme2", Inode: 1, Live: tid.Live{Transport: nvme.TCP}}}}
	tool := newTool("stacd", bus.ConnectConnector, bus.Options{})
	tool.uid, tool.kernel = 0, func(string) (Kernel, func()) { return m, func() {} }
	out, errs, status := run(t, stacctl(tool), "disconnect-all")
	if status != 1 || !strings.Contains(out, "nvme2") || !strings.Contains(errs, "busy") {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
	tool.uid = 1000
	if _, errs, status := run(t, stacctl(tool), "disconnect-all"); status != 1 || !strings.Contains(errs, "only root") {
		t.Errorf("status %d, %s", status, errs)
	}
}

// An interrupt answers the question, which no line follows then.
func TestDisconnectAllInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{list: []kernel.Controller{{Name: "nvme1", Inode: 1, Live: tid.Live{Transport: nvme.TCP}}}}
		tool := newTool("stacd", bus.ConnectConnector, bus.Options{})
		tool.uid, tool.kernel = 0, func(string) (Kernel, func()) { return m, func() {} }
		tool.terminal = func(io.Reader) bool { return true }
		keyboard, keys := io.Pipe()
		root := stacctl(tool)
		root.SetIn(keyboard)
		root.SetErr(io.Discard)
		root.SetArgs([]string{"disconnect-all", "--force"})
		ctx, interrupt := context.WithCancel(t.Context())
		done := make(chan int, 1)
		go func() { done <- Run(ctx, root) }()
		synctest.Wait()
		interrupt()
		synctest.Wait()
		select {
		case status := <-done:
			if status != 1 || len(m.gone) > 0 {
				t.Errorf("status %d, gone %v", status, m.gone)
			}
		default:
			t.Error("still asking")
		}
		_ = keys.Close()
	})
}

func TestIsTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for what, r := range map[string]io.Reader{"/dev/null": null, "text": strings.NewReader("yes")} {
		if isTerminal(r) {
			t.Errorf("%s is a terminal", what)
		}
	}
	if p, err := os.Open("/dev/ptmx"); err == nil {
		defer p.Close()
		if !isTerminal(p) {
			t.Error("a pseudo terminal is none")
		}
	}
}
