package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
	"go.uber.org/goleak"
)

// realWorker as argument makes a worker of this binary work on the machine's own kernel.
const realWorker = "-real"

func TestMain(m *testing.M) {
	if slices.Contains(os.Args, realWorker) {
		RunWorkerIfAsked()
	}
	if os.Getenv(workerEnv) != "" {
		// Not os.Exit, with which the race detector waits a second.
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(scriptedWorker()), 0, 0)
	}
	goleak.VerifyTestMain(m)
}

// tree builds a /sys with the given files in a directory of its own: a fabrics controller lies
// in devices/virtual/nvme-fabrics/ctl and has a link in class/nvme.
type tree struct {
	t    testing.TB
	root string
}

func newTree(t testing.TB) tree {
	t.Helper()
	tr := tree{t, t.TempDir()}
	tr.mkdir("class/nvme")
	return tr
}

func (tr tree) mkdir(path string) {
	tr.t.Helper()
	if err := os.MkdirAll(filepath.Join(tr.root, path), 0o755); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr tree) write(path, text string) {
	tr.t.Helper()
	tr.mkdir(filepath.Dir(path))
	if err := os.WriteFile(filepath.Join(tr.root, path), []byte(text), 0o644); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr tree) controller(name string, attrs map[string]string) {
	tr.t.Helper()
	dir := "devices/virtual/nvme-fabrics/ctl/" + name
	for attr, value := range attrs {
		tr.write(dir+"/"+attr, value)
	}
	if err := os.Symlink("../../"+dir, filepath.Join(tr.root, "class/nvme", name)); err != nil {
		tr.t.Fatal(err)
	}
}

// discoveryAttrs are those of a discovery controller on Linux 6.12, reached by the well-known NQN.
var discoveryAttrs = map[string]string{
	"transport": "tcp\n", "address": "traddr=192.0.2.1,trsvcid=8009,host_iface=eth0,src_addr=192.0.2.77\n", "state": "live\n",
	"subsysnqn": "nqn.2024-01.test:dc\n", "hostnqn": "nqn.2014-08.org.nvmexpress:uuid:1\n", "hostid": "11111111-2222-3333-4444-555555555555\n",
	"cntrltype": "discovery\n", "dctype": "cdc\n", "cntlid": "7\n", "kato": "30\n", "reconnect_delay": "10\n", "ctrl_loss_tmo": "off\n",
	"queue_count": "1\n", "model": "Linux                                   \n", "serial": "abc                 \n", "firmware_rev": "6.12.107\n",
}

func with(attrs map[string]string, changes ...string) map[string]string {
	out := map[string]string{}
	for k, v := range attrs {
		out[k] = v
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			delete(out, changes[i])
		} else {
			out[changes[i]] = changes[i+1]
		}
	}
	return out
}

func TestReadController(t *testing.T) {
	tr := newTree(t)
	tr.controller("nvme3", discoveryAttrs)
	c, err := Sysfs{tr.root}.Controller("nvme3")
	if err != nil {
		t.Fatal(err)
	}
	want := Controller{Name: "nvme3", Instance: 3, Inode: c.Inode,
		Live: tid.Live{Transport: nvme.TCP, Traddr: "192.0.2.1", Trsvcid: "8009", HostIface: "eth0", SrcAddr: "192.0.2.77",
			NQN: "nqn.2024-01.test:dc", HostNQN: "nqn.2014-08.org.nvmexpress:uuid:1", Kind: tid.Discovery, KindKnown: true},
		HostID: "11111111-2222-3333-4444-555555555555", CntrlType: "discovery", DCType: "cdc", State: "live",
		CntlID: 7, KATO: 30, ReconnectDelay: 10, CtrlLossTmo: -1, QueueCount: 1, Model: "Linux", Serial: "abc", Firmware: "6.12.107"}
	if c != want {
		t.Errorf("Controller =\n%+v, want\n%+v", c, want)
	}
	if c.Inode == 0 {
		t.Error("no inode")
	}
}

func TestReadControllerVariants(t *testing.T) {
	for name, c := range map[string]struct {
		change []string
		check  func(*Controller) bool
	}{
		"at add": {[]string{"state", "connecting\n", "subsysnqn", "(efault)\n", "model", "(efault)\n", "cntrltype", "reserved\n", "dctype", "none\n", "cntlid", "0\n"},
			func(c *Controller) bool {
				return !c.KindKnown && c.NQN == "" && c.Model == "" && c.CntrlType == "" && c.State == StateConnecting
			}},
		"5.14, well-known NQN": {[]string{"cntrltype", "", "dctype", "", "subsysnqn", nvme.DiscoveryNQN + "\n"},
			func(c *Controller) bool { return c.KindKnown && c.Kind == tid.Discovery }},
		"5.14, other NQN": {[]string{"cntrltype", "", "dctype", ""}, func(c *Controller) bool { return c.KindKnown && c.Kind == tid.Discovery }},
		"5.14, I/O controller": {[]string{"cntrltype", "", "dctype", "", "queue_count", "5\n"},
			func(c *Controller) bool { return c.KindKnown && c.Kind == tid.IO }},
		"5.14, I/O controller without connection": {[]string{"cntrltype", "", "dctype", "", "queue_count", "5\n", "state", "connecting\n"},
			func(c *Controller) bool { return c.KindKnown && c.Kind == tid.IO }},
		"5.14, at add": {[]string{"cntrltype", "", "dctype", "", "queue_count", "5\n", "state", "connecting\n", "subsysnqn", "(efault)\n"},
			func(c *Controller) bool { return !c.KindKnown }},
		"5.14, queues being made": {[]string{"cntrltype", "", "dctype", "", "state", "resetting\n"}, func(c *Controller) bool { return !c.KindKnown }},
		"loop":                    {[]string{"transport", "loop\n", "address", "\n"}, func(c *Controller) bool { return c.Transport == nvme.Loop && c.Traddr == "" }},
		"fc with comma": {[]string{"transport", "fc\n", "address", "traddr=nn-0x1:pn-0x2,host_traddr=nn-0x3,pn-0x4\n"},
			func(c *Controller) bool { return c.Traddr == "nn-0x1:pn-0x2" && c.HostTraddr == "nn-0x3,pn-0x4" }},
		"literal none":  {[]string{"address", "traddr=1.2.3.4,trsvcid=none,host_traddr=(null)\n"}, func(c *Controller) bool { return c.Trsvcid == "" && c.HostTraddr == "" }},
		"v6 with scope": {[]string{"address", "traddr=fe80::1%eth0,trsvcid=8009\n"}, func(c *Controller) bool { return c.Traddr == "fe80::1%eth0" }},
		"deleting":      {[]string{"state", "deleting (no IO)\n"}, func(c *Controller) bool { return c.State == StateDeletingIO }},
		"no host":       {[]string{"hostnqn", "", "hostid", ""}, func(c *Controller) bool { return c.HostNQN == "" && c.State == StateLive }},
		"pcie": {[]string{"transport", "pcie\n", "address", "0000:00:03.0\n", "cntrltype", "io\n", "hostnqn", ""},
			func(c *Controller) bool { return c.Transport == nvme.PCIe && c.Traddr == "0000:00:03.0" }},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t)
			tr.controller("nvme0", with(discoveryAttrs, c.change...))
			got, err := Sysfs{tr.root}.Controller("nvme0")
			if err != nil || !c.check(&got) {
				t.Errorf("Controller = %+v, %v", got, err)
			}
			var k Kind
			_, ok, err := Sysfs{tr.root}.ControllerIf("nvme0", func(is Kind) bool { k = is; return false })
			if err != nil || ok || k.Known != got.KindKnown || k.Kind != got.Kind {
				t.Errorf("kind %+v, %v, %v; Controller says %v, %v", k, ok, err, got.Kind, got.KindKnown)
			}
			same, ok, err := Sysfs{tr.root}.ControllerIf("nvme0", func(Kind) bool { return true })
			if err != nil || !ok || same != got {
				t.Errorf("ControllerIf = %+v, %v, %v; Controller says %+v", same, ok, err, got)
			}
		})
	}
}

func TestGone(t *testing.T) {
	tr := newTree(t)
	tr.controller("nvme1", map[string]string{"hostnqn": "x\n"})
	s := Sysfs{tr.root}
	for _, name := range []string{"nvme0", "nvme1"} {
		if _, err := s.Controller(name); !errors.Is(err, ErrGone) {
			t.Errorf("Controller(%s) = %v, want ErrGone", name, err)
		}
		_, ok, err := s.ControllerIf(name, func(k Kind) bool { return k.Known })
		if ok || name == "nvme0" && !errors.Is(err, ErrGone) {
			t.Errorf("ControllerIf(%s): %v, %v", name, ok, err)
		}
	}
	for _, name := range []string{"", "nvme", "nvme0n1", "nvme-subsys0", "../nvme0", "nvme00", "nvme99999999999999999999"} {
		if _, err := s.Controller(name); err == nil || errors.Is(err, ErrGone) {
			t.Errorf("Controller(%q) = %v, want an error about the name", name, err)
		}
	}
	if _, err := s.Namespaces("nvme0"); !errors.Is(err, ErrGone) {
		t.Errorf("Namespaces = %v, want ErrGone", err)
	}
}

// What cannot be looked at for want of descriptors must not pass for gone.
func TestShortageIsNotGone(t *testing.T) {
	tr := newTree(t)
	tr.controller("nvme1", discoveryAttrs)
	var held []*os.File
	defer func() {
		for _, f := range held {
			_ = f.Close()
		}
	}()
	restore := limitDescriptors(t)
	defer restore()
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		held = append(held, f)
	}
	for range 3 { // with no, one and two descriptors left
		_, err := Sysfs{tr.root}.Controller("nvme1")
		if errors.Is(err, ErrGone) {
			t.Fatalf("Controller = %v", err)
		}
		if _, ok, err := (Sysfs{tr.root}).ControllerIf("nvme1", func(k Kind) bool { return k.Known }); errors.Is(err, ErrGone) || err == nil && !ok {
			t.Fatalf("ControllerIf = %v, %v", ok, err)
		}
		_ = held[len(held)-1].Close()
		held = held[:len(held)-1]
	}
}

func TestControllers(t *testing.T) {
	tr := newTree(t)
	for _, n := range []string{"nvme10", "nvme2", "nvme0"} {
		tr.controller(n, discoveryAttrs)
	}
	tr.controller("nvme1", with(discoveryAttrs, "transport", "pcie\n"))
	tr.controller("nvme3", map[string]string{"hostnqn": "going\n"})
	tr.mkdir("class/nvme/nvme-subsys0")
	list, err := Sysfs{tr.root}.Controllers()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range list {
		names = append(names, c.Name)
	}
	if !slices.Equal(names, []string{"nvme0", "nvme2", "nvme10"}) {
		t.Errorf("Controllers = %v", names)
	}
	if list, err := (Sysfs{t.TempDir()}).Controllers(); err != nil || len(list) != 0 {
		t.Errorf("without nvme: %v, %v", list, err)
	}
}

func TestNamespaces(t *testing.T) {
	tr := newTree(t)
	tr.controller("nvme2", discoveryAttrs)
	at := "devices/virtual/nvme-fabrics/ctl/nvme2/"
	ns := func(dir, nsid string) {
		tr.write(at+dir+"/nsid", nsid+"\n")
		tr.write(at+dir+"/size", "131072\n")
		tr.write(at+dir+"/uuid", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee\n")
		tr.write(at+dir+"/nguid", "00000000-0000-0000-0000-000000000000\n")
		tr.write(at+dir+"/ana_state", "optimized\n")
	}
	ns("nvme1c2n10", "4")
	ns("nvme1c2n2", "17")
	ns("nvme5n1", "1")
	tr.mkdir(at + "nvme1c2n3") // going: it has no size any more
	tr.mkdir(at + "ng1n2")
	tr.mkdir(at + "hwmon4")
	got, err := Sysfs{tr.root}.Namespaces("nvme2")
	if err != nil {
		t.Fatal(err)
	}
	want := []Namespace{}
	for _, w := range []struct {
		device, path string
		nsid         uint32
	}{{"nvme1n2", "nvme1c2n2", 17}, {"nvme5n1", "nvme5n1", 1}, {"nvme1n10", "nvme1c2n10", 4}} {
		want = append(want, Namespace{Device: w.device, Path: w.path, NSID: w.nsid, UUID: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", Size: 64 << 20, ANA: "optimized"})
	}
	if !slices.Equal(got, want) {
		t.Errorf("Namespaces =\n%+v, want\n%+v", got, want)
	}
}

func TestControllerAllocations(t *testing.T) {
	tr := newTree(t)
	tr.controller("nvme3", discoveryAttrs)
	s := Sysfs{tr.root}
	if n := testing.AllocsPerRun(50, func() {
		if _, err := s.Controller("nvme3"); err != nil {
			t.Fatal(err)
		}
	}); n > 8 {
		t.Errorf("one controller takes %v allocations", n)
	}
}

func BenchmarkController(b *testing.B) {
	tr := newTree(b)
	tr.controller("nvme3", discoveryAttrs)
	s := Sysfs{tr.root}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Controller("nvme3"); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("traddr=192.0.2.1,trsvcid=8009,host_traddr=10.0.0.1,host_iface=eth0,src_addr=10.0.0.1")
	f.Add("traddr=nn-0x1,pn-0x2,host_traddr=nn-0x3:pn-0x4")
	f.Add(",,=,a=,=b")
	f.Fuzz(func(t *testing.T, s string) {
		var c Controller
		c.address(s)
		for _, v := range []string{c.Traddr, c.Trsvcid, c.HostTraddr, c.HostIface, c.SrcAddr} {
			if len(v) > len(s) || v == "none" || v == "(null)" {
				t.Errorf("address(%q) gives %q", s, v)
			}
		}
	})
}
