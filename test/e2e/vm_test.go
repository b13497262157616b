//go:build e2e

// Package e2e tests the installed programs on a real kernel, inside the VM of test/vm.
package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// TestMain refuses to run anywhere but in the VM: the tests disconnect every fabrics controller that they see.
func TestMain(m *testing.M) {
	if name, _ := os.Hostname(); name != "stas-vm" {
		println("e2e: not in the VM of test/vm; use make e2e")
		os.Exit(1)
	}
	fmt.Printf("a process takes %.1f times as long as it should\n", fabric.Slowness())
	os.Exit(m.Run())
}

// TestBed shows that the guest is what the other tests expect: real kernel, running systemd, target, host, discovery.
func TestBed(t *testing.T) {
	fabric.Clean(t)
	if err := fabric.Try("systemctl", "is-system-running"); err != nil {
		t.Errorf("%v\n%s", err, fabric.Run(t, "systemctl", "--failed", "--no-pager"))
	}
	if _, err := os.Stat("/dev/nvme-fabrics"); err != nil {
		t.Error(err)
	}
	for _, f := range []string{"/etc/nvme/hostnqn", "/etc/nvme/hostid"} {
		if b, err := os.ReadFile(f); err != nil || len(b) == 0 {
			t.Errorf("%s: empty or %v", f, err)
		}
	}
	if b, err := os.ReadFile("/proc/version"); err == nil {
		t.Logf("%s", b)
	}
}

// TestBedTarget connects by hand and proves that the proofs work: I/O, unharmed controllers, recorded removal.
func TestBedTarget(t *testing.T) {
	fabric.Clean(t)
	port := fabric.TCP(t, "127.0.0.1", 4420)
	sub := fabric.NewSubsystem(t, "nqn.2014-08.org.nvmexpress:test:bed", fabric.Options{})
	port.Link(t, sub)

	events := fabric.Record(t)
	name, err := fabric.Connect("transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=" + sub.NQN + ",hostnqn=" + hostNQN(t) + ",hostid=" + hostID(t))
	if err != nil {
		t.Fatal(err)
	}
	fabric.AwaitLive(t, 10*time.Second, sub.NQN)
	before := fabric.Controllers(t)
	if len(before) != 1 || before[0].Name != name || before[0].Field("trsvcid") != "4420" || before[0].Type != "io" {
		t.Fatalf("controllers: %+v", before)
	}
	traffic := fabric.StartIO(t, fabric.BlockDevice(t, 10*time.Second, sub.NQN, 1), 0)
	fabric.Eventually(t, 10*time.Second, func() error {
		if traffic.Blocks() < 20 {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
	traffic.Stop(t)
	fabric.Unharmed(t, before)
	events.NoneRemoved(t)

	fabric.Run(t, "nvme", "disconnect", "-n", sub.NQN)
	fabric.AwaitGone(t, 10*time.Second, sub.NQN)
	fabric.Eventually(t, 5*time.Second, func() error {
		if events.Count("remove", "") != 1 {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
}

// needKernel skips the test where the kernel was built with none of these options.
func needKernel(t *testing.T, options ...string) {
	t.Helper()
	release := content(t, "/proc/sys/kernel/osrelease")
	config := content(t, "/boot/config-"+release)
	for _, o := range options {
		if strings.Contains(config, o+"=y") || strings.Contains(config, o+"=m") {
			return
		}
	}
	t.Skipf("kernel %s was built without %s", release, strings.Join(options, " and "))
}

// kernelSince says whether the kernel is of this version or later.
func kernelSince(t *testing.T, major, minor int) bool {
	t.Helper()
	var a, b int
	if _, err := fmt.Sscanf(content(t, "/proc/sys/kernel/osrelease"), "%d.%d", &a, &b); err != nil {
		t.Fatal(err)
	}
	return a > major || a == major && b >= minor
}

func hostNQN(t *testing.T) string { return content(t, "/etc/nvme/hostnqn") }
func hostID(t *testing.T) string  { return content(t, "/etc/nvme/hostid") }

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// TestBedTransports connects over each transport that the guest can play.
func TestBedTransports(t *testing.T) {
	wide(t)
	for _, c := range []struct {
		name    string
		port    func(t *testing.T) *fabric.Port
		options string
	}{
		{"tcp6", func(t *testing.T) *fabric.Port { return fabric.TCP(t, "::1", 4420) }, "transport=tcp,traddr=::1,trsvcid=4420"},
		{"loop", func(t *testing.T) *fabric.Port { return fabric.Loop(t) }, "transport=loop"},
		{"rdma", func(t *testing.T) *fabric.Port { return fabric.RDMA(t, "4420") }, "transport=rdma,traddr=198.19.1.1,trsvcid=4420"},
		{"fc", func(t *testing.T) *fabric.Port { return fabric.FC(t) },
			"transport=fc,traddr=" + fabric.FCAddress + ",host_traddr=" + fabric.FCHostAddress},
	} {
		t.Run(c.name, func(t *testing.T) {
			fabric.Clean(t)
			sub := fabric.NewSubsystem(t, "nqn.2014-08.org.nvmexpress:test:"+c.name, fabric.Options{})
			c.port(t).Link(t, sub)
			if c.name == "fc" {
				fabric.FCLink(t)
			}
			// nvme-cli's rule may be faster on fc: then the connection is there already.
			_, err := fabric.Connect(c.options + ",nqn=" + sub.NQN + ",hostnqn=" + hostNQN(t) + ",hostid=" + hostID(t))
			if err != nil && len(fabric.Live(t, sub.NQN)) == 0 {
				t.Error(err)
			}
			fabric.AwaitLive(t, 20*time.Second, sub.NQN)
			fabric.BlockDevice(t, 20*time.Second, sub.NQN, 1)
		})
	}
}

// TestBedBlackHole shows that a black hole holds a connect until the kernel's own timeout, about three seconds.
func TestBedBlackHole(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	hole := fabric.BlackHoles(t, 1)[0]
	started := time.Now()
	if name, err := fabric.Connect("transport=tcp,traddr=" + hole + ",trsvcid=4420,nqn=nqn.2014-08.org.nvmexpress:test:hole"); err == nil {
		t.Fatalf("%s connected", name)
	}
	if took := time.Since(started); took < 2*time.Second {
		t.Errorf("answered after %v", took)
	}
}

// TestBedKeys shows that the target wants the host's secret where one is set.
func TestBedKeys(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	key := strings.TrimSpace(fabric.Run(t, "nvme", "gen-dhchap-key", "-n", hostNQN(t)))
	sub := fabric.NewSubsystem(t, "nqn.2014-08.org.nvmexpress:test:keys", fabric.Options{Hosts: []fabric.Host{{NQN: hostNQN(t), Key: key}}})
	fabric.TCP(t, "127.0.0.1", 4420).Link(t, sub)
	options := "transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=" + sub.NQN + ",hostnqn=" + hostNQN(t) + ",hostid=" + hostID(t)
	if name, err := fabric.Connect(options); err == nil {
		t.Errorf("%s connected without the secret", name)
	}
	if _, err := fabric.Connect(options + ",dhchap_secret=" + key); err != nil {
		t.Error(err)
	}
}
