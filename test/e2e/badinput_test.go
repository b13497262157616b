//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// says waits until a unit has said something since then.
func says(t *testing.T, since time.Time, unit string, all ...string) {
	t.Helper()
	fabric.Eventually(t, 5*time.Second, func() error {
		journal := fabric.Journal(t, since, unit)
		for _, want := range all {
			if !strings.Contains(journal, want) {
				return fmt.Errorf("%s has not said %q:\n%s", unit, want, journal)
			}
		}
		return nil
	})
}

// running fails the test when a unit does not run, or runs as another process.
func running(t *testing.T, unit string, pid int) {
	t.Helper()
	if state := fabric.Property(t, unit, "ActiveState"); state != "active" {
		t.Errorf("%s is %s", unit, state)
	}
	if now := fabric.MainPID(t, unit); now != pid {
		t.Errorf("%s was process %d, is %d", unit, pid, now)
	}
}

// TestMalformedConfiguration starts stafd with mistakes in its file: it names each with its line and runs with the rest. Then
// the file gets worse at a reload.
func TestMalformedConfiguration(t *testing.T) {
	wide(t)
	_, subs := serve(t, 2)
	since := time.Now()
	fabric.Configure(t, "stafd.conf", "[Global]\nkato=soon\nnonsense=1\nthis is no setting\n"+noMDNS+controllers(dc, "transport=tcp;traddr", "transport=carrier-pigeon;traddr=127.0.0.1"))
	fabric.Start(t, "stafd", "stacd")
	awaitOwned(t, 10*time.Second, subs...)
	says(t, since, "stafd", "/etc/stas/stafd.conf:2:", "/etc/stas/stafd.conf:3:", "/etc/stas/stafd.conf:4:", "/etc/stas/stafd.conf:9:", "/etc/stas/stafd.conf:10:")

	u := watchAll(t, subs...)
	stafd, stacd := fabric.MainPID(t, "stafd"), fabric.MainPID(t, "stacd")
	since = time.Now()
	// The only controller has a typing error now: what it was is not known, so nothing may go.
	fabric.Configure(t, "stafd.conf", noMDNS+controllers("transport=tpc;traddr=127.0.0.1;trsvcid=8009"))
	fabric.Configure(t, "stacd.conf", "[I/O controller connection management]\ndisconnect-scope=all\n[Glob\nx\x00\xff")
	for range 10 {
		fabric.Reload(t, "stafd", "stacd")
	}
	says(t, since, "stafd", "/etc/stas/stafd.conf:4:")
	says(t, since, "stacd", "/etc/stas/stacd.conf:4:")
	fabric.Never(t, quiet, u.gone)
	running(t, "stafd", stafd)
	running(t, "stacd", stacd)
	u.proven(t)
}

// TestUnreadableConfiguration has a directory where the file should be, which not even root can read: at a reload the last good
// configuration stays in force, at a start nothing is removed.
func TestUnreadableConfiguration(t *testing.T) {
	wide(t)
	_, subs := connected(t, 2)
	u := watchAll(t, subs...)
	for _, name := range []string{"stafd", "stacd"} {
		path := "/etc/stas/" + name + ".conf"
		if err := os.Rename(path, path+".good"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(os.Remove(path), os.Rename(path+".good", path)); err != nil {
				t.Error(err)
			}
		})
	}
	since := time.Now()
	stafd, stacd := fabric.MainPID(t, "stafd"), fabric.MainPID(t, "stacd")
	fabric.Reload(t, "stafd", "stacd")
	says(t, since, "stafd", "/etc/stas/stafd.conf")
	says(t, since, "stacd", "/etc/stas/stacd.conf")
	fabric.Never(t, quiet, u.gone)
	running(t, "stafd", stafd)
	running(t, "stacd", stacd)

	fabric.Restart(t, "stafd", "stacd")
	fabric.Never(t, quiet, u.gone)
	u.proven(t)
}

// TestNoFabricsDevice starts the daemons without the kernel's modules: they say so, and connect when the modules come.
func TestNoFabricsDevice(t *testing.T) {
	wide(t)
	_, subs := serve(t, 2)
	units := []string{"modprobe@nvme_fabrics.service", "modprobe@nvme_tcp.service"}
	fabric.Run(t, "systemctl", append([]string{"mask", "--runtime", "--quiet"}, units...)...)
	t.Cleanup(func() { fabric.Run(t, "systemctl", append([]string{"unmask", "--runtime", "--quiet"}, units...)...) })
	t.Cleanup(func() { fabric.Run(t, "modprobe", "-a", "nvme-fabrics", "nvme-tcp") })
	for _, m := range []string{"nvme_fcloop", "nvme_fc", "nvme_rdma", "nvme_loop", "nvme_tcp", "nvme_fabrics"} {
		if _, err := os.Stat("/sys/module/" + m); err == nil {
			fabric.Run(t, "modprobe", "-r", m)
		}
	}
	since := time.Now()
	fabric.Start(t, "stafd", "stacd")
	says(t, since, "stafd", "/dev/nvme-fabrics")
	running(t, "stafd", fabric.MainPID(t, "stafd"))
	fabric.Run(t, "modprobe", "nvme-tcp")
	took := awaitOwned(t, 20*time.Second, subs...)
	t.Logf("all live %v after the modules came", took.Round(10*time.Millisecond))
}

// TestNoHostIdentity starts the daemons on a host without a name: they stay up, say what to run, and connect when it has one.
func TestNoHostIdentity(t *testing.T) {
	_, subs := serve(t, 2)
	nqn, id := hostNQN(t)+"\n", hostID(t)+"\n"
	put := func() {
		for path, text := range map[string]string{"/etc/nvme/hostid": id, "/etc/nvme/hostnqn": nqn} {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(put)
	for _, path := range []string{"/etc/nvme/hostid", "/etc/nvme/hostnqn"} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	since := time.Now()
	fabric.Start(t, "stafd", "stacd")
	says(t, since, "stafd", "stasadm hostnqn")
	says(t, since, "stacd", "stasadm hostnqn")
	if status := fabric.Property(t, "stafd", "StatusText"); !strings.Contains(status, "stasadm hostnqn") {
		t.Errorf("status is %q", status)
	}
	stafd := fabric.MainPID(t, "stafd")
	if all := fabric.Controllers(t); len(all) != 0 {
		t.Errorf("connected without a host NQN: %+v", all)
	}
	events := fabric.Record(t)
	put()
	took := fabric.Eventually(t, 2*time.Second, func() error {
		if n := events.Count("change", "connected"); n < 1 {
			return errors.New("nothing is connected")
		}
		return nil
	})
	t.Logf("connected %v after the files appeared", took.Round(10*time.Millisecond))
	awaitOwned(t, reaction, subs...)
	running(t, "stafd", stafd)
}

// TestBusRestarted restarts D-Bus under the daemons: both come back on it, and a change of the fabric arrives.
func TestBusRestarted(t *testing.T) {
	wide(t)
	port, subs := connected(t, 2)
	u := watchAll(t, subs...)
	stafd, stacd := fabric.MainPID(t, "stafd"), fabric.MainPID(t, "stacd")
	fabric.Run(t, "systemctl", "restart", "dbus.service")
	extra := fabric.NewSubsystem(t, prefix+"extra", fabric.Options{})
	port.Link(t, extra)
	awaitOwned(t, 20*time.Second, append(subs, extra)...)
	for _, tool := range []string{"stafctl", "stacctl"} {
		fabric.Eventually(t, 10*time.Second, func() error { return fabric.Try(tool, "ls") })
	}
	running(t, "stafd", stafd)
	running(t, "stacd", stacd)
	u.proven(t)
}

// TestNoBus starts the daemons where D-Bus does not run: the discovery controller is connected all the same, and the rest
// when D-Bus comes.
func TestNoBus(t *testing.T) {
	wide(t)
	_, subs := serve(t, 2)
	bus := []string{"dbus.socket", "dbus.service"}
	fabric.Stop(t, bus...)
	t.Cleanup(func() { fabric.Start(t, bus...) })
	events := fabric.Record(t)
	fabric.Start(t, "stafd", "stacd")
	events.Await(t, 10*time.Second, 1, "change", "connected")
	fabric.Start(t, bus...)
	took := awaitOwned(t, 20*time.Second, subs...)
	t.Logf("all live %v after D-Bus came", took.Round(10*time.Millisecond))
}
