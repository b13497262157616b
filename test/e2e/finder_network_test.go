//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// TestFinderNameGone has the name server and the hosts file forget the name of a discovery controller: nothing ends, and the controller is
// connected again at its last good address, also by a stafd that starts anew.
func TestFinderNameGone(t *testing.T) {
	wide(t)
	port, subs := serve(t, 2)
	hosts := content(t, "/etc/hosts")
	fabric.Configure(t, "/etc/hosts", hosts+"\n127.0.0.1 dc.stas.test\n")
	startBoth(t, noMDNS+controllers("transport=tcp;traddr=dc.stas.test;trsvcid=8009"))
	awaitOwned(t, 15*time.Second, subs...)
	before, events := iocs(t), fabric.Record(t)

	fabric.Configure(t, "/etc/hosts", hosts+"\n")
	fabric.Configure(t, "/etc/resolv.conf", "nameserver "+fabric.BlackHoles(t, 1)[0]+"\n")
	fabric.Reload(t, "stafd")
	noneRemovedFor(t, 3*time.Second, events)
	for _, restart := range []bool{false, true} {
		if restart {
			fabric.Restart(t, "stafd")
		}
		c := awaitDC(t, reaction, "127.0.0.1:8009")
		fabric.Run(t, "nvme", "disconnect", "-d", c.Name)
		fabric.Never(t, 100*time.Millisecond, func() error { return nil })
		awaitDC(t, 10*time.Second, "127.0.0.1:8009")
	}
	nothingLost(t, before, events)
	extra := fabric.NewSubsystem(t, prefix+"extra", fabric.Options{})
	port.Link(t, extra)
	awaitOwned(t, reaction, append(subs, extra)...)
	nothingLost(t, before, events)
}

// playRemote plays a fabric at these addresses, behind the interface stas-v0, which has no address. It gives what controls it.
func playRemote(t *testing.T, text string, addresses ...string) (ctl func(args ...string) string) {
	t.Helper()
	const ns = "stas-sim"
	_ = fabric.Try("ip", "netns", "del", ns)
	fabric.Run(t, "ip", "netns", "add", ns)
	t.Cleanup(func() { _ = fabric.Try("ip", "netns", "del", ns) })
	fabric.Run(t, "ip", "link", "add", "stas-v0", "type", "veth", "peer", "name", "stas-v1", "netns", ns)
	fabric.Run(t, "ip", "link", "set", "stas-v0", "up")
	fabric.Run(t, "ip", "-n", ns, "link", "set", "lo", "up")
	for _, a := range addresses {
		fabric.Run(t, "ip", "-n", ns, "addr", "add", a, "dev", "stas-v1")
	}
	fabric.Run(t, "ip", "-n", ns, "link", "set", "stas-v1", "up")
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/remote.ini", []byte(text), 0o600))
	cmd := exec.Command("ip", "netns", "exec", ns, "fabricsim", "--quiet", "--control", dir+"/control", dir+"/remote.ini")
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = fabric.Try("nvme", "disconnect-all")
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ctl = func(args ...string) string {
		t.Helper()
		return fabric.Run(t, "fabricsim", append([]string{"ctl", "-s", dir + "/control"}, args...)...)
	}
	fabric.Eventually(t, 10*time.Second, func() error { return fabric.Try("fabricsim", "ctl", "-s", dir+"/control", "dc", "ls") })
	return ctl
}

// TestFinderInterface gives the interface to a discovery controller its address after attempts have begun to wait, and takes the link
// away until the kernel gives up: both times it is connected right after the change, not when the wait is over.
func TestFinderInterface(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	playRemote(t, "[port p]\naddress = 198.19.2.2\n[dc d]\nports = p\n", "198.19.2.2/24")
	const at, soon = "198.19.2.2:8009", 2 * time.Second
	startStafd(t, "[Global]\nkato=2\nctrl-loss-tmo=2\nreconnect-delay=1\n"+noMDNS+controllers("transport=tcp;traddr=198.19.2.2;host-iface=stas-v0"))
	fabric.Never(t, 9*time.Second, func() error { return nil }) // attempts at 0, 1, 3 and 7 s: the next is at 15 s
	fabric.Run(t, "ip", "addr", "add", "198.19.2.1/24", "dev", "stas-v0")
	began := time.Now()
	awaitDC(t, soon, at)
	t.Logf("connected %v after the interface has its address", time.Since(began).Round(time.Millisecond))

	events := fabric.Record(t)
	fabric.Run(t, "ip", "link", "set", "stas-v0", "down")
	events.Await(t, 30*time.Second, 1, "remove", "")
	fabric.Never(t, 9*time.Second, func() error { return nil })
	fabric.Run(t, "ip", "link", "set", "stas-v0", "up")
	began = time.Now()
	awaitDC(t, soon, at)
	t.Logf("connected %v after the link is up", time.Since(began).Round(time.Millisecond))
}

// withEnvironment has systemd start stafd with a variable.
func withEnvironment(t *testing.T, variable string) {
	t.Helper()
	const dir = "/run/systemd/system/stafd.service.d"
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(dir+"/test.conf", []byte("[Service]\nEnvironment="+variable+"\n"), 0o644))
	t.Cleanup(func() {
		_ = os.RemoveAll(dir)
		fabric.Run(t, "systemctl", "daemon-reload")
	})
	fabric.Run(t, "systemctl", "daemon-reload")
}

// netlinkDrops are the messages that the kernel had no room for, in all sockets that listen to its uevents.
func netlinkDrops(t *testing.T) int {
	t.Helper()
	sum := 0
	for line := range strings.Lines(content(t, "/proc/net/netlink")) {
		// sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode (net/netlink/af_netlink.c)
		if f := strings.Fields(line); len(f) == 10 && f[1] == "15" {
			n, err := strconv.Atoi(f[8])
			must(t, err)
			sum += n
		}
	}
	return sum
}

// cpuTime is what a process has used of the processors.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat := content(t, fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	must(t, err1)
	must(t, err2)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// TestFinderOverflow lets more events come than stafd's socket holds, among them that of a page that changed, and that of
// a discovery controller that is gone. stafd looks at everything again and then rests.
func TestFinderOverflow(t *testing.T) {
	wide(t)
	port, subs := serve(t, 2)
	withEnvironment(t, "STAS_TEST_UEVENT_BUFFER=4096")
	fabric.Start(t, "stafd", "stacd")
	awaitOwned(t, 20*time.Second, subs...)
	u := watchAll(t, subs...)
	flood := func() {
		for range 200 {
			must(t, os.WriteFile("/sys/class/nvme/"+u.before[0].Name+"/uevent", []byte("change"), 0))
		}
	}
	d := awaitDC(t, time.Second, "127.0.0.1:8009")
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"page", func() {}},
		{"controller", func() { fabric.Run(t, "nvme", "disconnect", "-d", d.Name) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			fabric.Signal(t, "stafd", "STOP")
			drops := netlinkDrops(t)
			flood()
			c.do()
			extra := fabric.NewSubsystem(t, prefix+c.name, fabric.Options{})
			port.Link(t, extra)
			subs = append(subs, extra)
			flood()
			lost := netlinkDrops(t) - drops
			if lost == 0 {
				t.Error("no event was lost")
			}
			began := time.Now()
			fabric.Signal(t, "stafd", "CONT")
			awaitOwned(t, 5*time.Second, subs...)
			awaitDC(t, 5*time.Second, "127.0.0.1:8009")
			t.Logf("%d events lost, all as it should be after %v", lost, time.Since(began).Round(time.Millisecond))
		})
	}
	pid := fabric.MainPID(t, "stafd")
	used := cpuTime(t, pid)
	fabric.Never(t, 3*time.Second, u.gone)
	// A slow machine needs more of it for the same; what looks at the sockets over and over takes all three seconds.
	if used = cpuTime(t, pid) - used; used > min(fabric.SlowNow(300*time.Millisecond), 2*time.Second) {
		t.Errorf("stafd used %v of the processor in 3 s in which nothing happened", used)
	}
	u.proven(t)
}

// TestFinderBusRestarted restarts the D-Bus daemon: nothing is disconnected, both daemons are on the bus again, and what the fabric changes is followed.
func TestFinderBusRestarted(t *testing.T) {
	wide(t)
	port, subs := connected(t, 2)
	u := watchAll(t, subs...)
	pids := [2]int{fabric.MainPID(t, "stafd"), fabric.MainPID(t, "stacd")}
	// Its unit leaves the process alone when it is stopped.
	fabric.Signal(t, "dbus.service", "KILL")
	fabric.Never(t, 500*time.Millisecond, u.gone)
	fabric.Run(t, "systemctl", "start", "dbus.service")
	fabric.Eventually(t, 20*time.Second, func() error {
		if err := fabric.Try("stafctl", "ls"); err != nil {
			return err
		}
		return fabric.Try("stacctl", "ls")
	})
	extra := fabric.NewSubsystem(t, prefix+"extra", fabric.Options{Hosts: []fabric.Host{{NQN: hostNQN(t)}}})
	port.Link(t, extra)
	awaitOwned(t, 10*time.Second, append(subs, extra)...)
	extra.Disallow(t, hostNQN(t))
	fabric.AwaitGone(t, 10*time.Second, extra.NQN)
	if now := [2]int{fabric.MainPID(t, "stafd"), fabric.MainPID(t, "stacd")}; now != pids {
		t.Errorf("the daemons were processes %v and are %v", pids, now)
	}
	u.proven(t)
}
