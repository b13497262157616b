//go:build e2e

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// system is what is measured.
type system struct {
	name    string
	prepare func(t *testing.T)                                 // makes it the one that systemctl start starts
	connect func(t *testing.T, subsystems []*fabric.Subsystem) // begins; the end is when the kernel has connected everything
	ls      string                                             // its stafctl, empty where there is none
}

// systems are measured in this order, for each size one after the other.
var systems = []system{
	{name: "kernel floor", prepare: func(*testing.T) {}, connect: bare},
	{name: "nvme-stas", prepare: foreign, connect: daemons, ls: "/opt/nvme-stas/run/stafctl"},
	{name: "stas", prepare: ours, connect: daemons, ls: "stafctl"},
}

// bare writes what has to be written into /dev/nvme-fabrics, one after the other, which is all that the kernel takes.
func bare(t *testing.T, subsystems []*fabric.Subsystem) {
	t.Helper()
	identity := ",hostnqn=" + read(t, "/etc/nvme/hostnqn") + ",hostid=" + read(t, "/etc/nvme/hostid")
	for _, s := range subsystems {
		if _, err := fabric.Connect(fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=%s", address, service, s.NQN) + identity); err != nil {
			t.Fatal(err)
		}
	}
}

func daemons(t *testing.T, _ []*fabric.Subsystem) {
	t.Helper()
	fabric.Start(t, "stafd", "stacd")
}

// Units in /run go before those that are installed.
const units = "/run/systemd/system"

// foreign has systemctl start mean Debian's nvme-stas, as it lies below /opt.
func foreign(t *testing.T) {
	t.Helper()
	for _, name := range []string{"stafd", "stacd"} {
		unit := fmt.Sprintf(`[Unit]
Wants=modprobe@nvme_fabrics.service modprobe@nvme_tcp.service
After=modprobe@nvme_fabrics.service modprobe@nvme_tcp.service
[Service]
Type=dbus
BusName=org.nvmexpress.%.4s
Environment=PYTHONPATH=/opt/nvme-stas/usr/lib/python3/dist-packages
ExecStart=/usr/bin/python3 -u /opt/nvme-stas/usr/sbin/%[2]s --syslog
RuntimeDirectory=%[2]s
CacheDirectory=%[2]s
RuntimeDirectoryPreserve=yes
`, name, name)
		if err := os.MkdirAll(units, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(units+"/"+name+".service", []byte(unit), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fabric.Run(t, "systemctl", "daemon-reload")
}

func ours(t *testing.T) {
	t.Helper()
	for _, name := range []string{"stafd", "stacd"} {
		if err := os.Remove(units + "/" + name + ".service"); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	fabric.Run(t, "systemctl", "daemon-reload")
}

// cost is what a daemon has used up to now.
type cost struct {
	resident []int // KiB, of each of its processes, the daemon first
	cpu      time.Duration
}

func (c cost) String() string {
	var parts []string
	for _, kib := range c.resident {
		parts = append(parts, fmt.Sprintf("%.1f", float64(kib)/1024))
	}
	return strings.Join(parts, "+")
}

func costOf(t *testing.T, unit string) cost {
	t.Helper()
	var c cost
	nanoseconds, err := strconv.ParseInt(fabric.Property(t, unit, "CPUUsageNSec"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	c.cpu = time.Duration(nanoseconds)
	for _, pid := range strings.Fields(read(t, "/sys/fs/cgroup"+fabric.Property(t, unit, "ControlGroup")+"/cgroup.procs")) {
		for line := range strings.Lines(read(t, "/proc/"+pid+"/status")) {
			if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				kib, _ := strconv.Atoi(strings.Fields(value)[0])
				c.resident = append(c.resident, kib)
			}
		}
	}
	return c
}

// ownCPU is what this process has used, including what the kernel did for it.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// run is how long a command takes.
func run(t *testing.T, name string, args ...string) time.Duration {
	t.Helper()
	started := time.Now()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return time.Since(started)
}
