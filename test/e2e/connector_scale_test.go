//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// bare writes what has to be written into /dev/nvme-fabrics, one after the other: the kernel takes no more, so this is the floor.
// Events are recorded as they are while the daemons are measured: that takes its part of the machine.
func bare(t *testing.T, subs []*fabric.Subsystem) time.Duration {
	t.Helper()
	events := fabric.Record(t)
	must(t, fabric.Settle())
	identity := ",hostnqn=" + hostNQN(t) + ",hostid=" + hostID(t)
	began := time.Now()
	for _, s := range subs {
		if _, err := fabric.Connect(fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=%s", address, service, s.NQN) + identity); err != nil {
			t.Fatal(err)
		}
	}
	events.Await(t, time.Minute, len(subs), "change", "connected")
	return time.Since(began)
}

// cpu is what all processes of a unit have used so far. It needs CPU accounting, which systemd has on.
func cpu(t *testing.T, unit string) time.Duration {
	t.Helper()
	ns, err := strconv.ParseInt(fabric.Property(t, unit, "CPUUsageNSec"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(ns)
}

// subsystemCounts are how many subsystems the test of many has; STAS_MANY makes them others.
func subsystemCounts(t *testing.T) []int {
	t.Helper()
	counts := []int{1, 32, 200, 500}
	if text := os.Getenv("STAS_MANY"); text != "" {
		counts = nil
		for part := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(part)
			must(t, err)
			counts = append(counts, n)
		}
	}
	return counts
}

// emptyStart is how long systemd takes for two units that are ours in everything but what they run, which is nothing: what no
// daemon can be faster than.
func emptyStart(t *testing.T) time.Duration {
	t.Helper()
	var names []string
	for _, unit := range []string{"stafd", "stacd"} {
		text, err := os.ReadFile("/usr/lib/systemd/system/" + unit + ".service")
		must(t, err)
		name := "empty-" + unit
		names = append(names, name)
		text = regexp.MustCompile(`(?m)^ExecStart=.*$`).ReplaceAll(text, []byte("ExecStart=/bin/true"))
		text = regexp.MustCompile(`(?m)^Type=.*$`).ReplaceAll(text, []byte("Type=oneshot"))
		text = regexp.MustCompile(`(?m)^(Restart|WatchdogSec|RuntimeDirectory|CacheDirectory|StateDirectory).*\n`).ReplaceAll(text, nil)
		must(t, os.WriteFile("/run/systemd/system/"+name+".service", text, 0o644))
	}
	t.Cleanup(func() {
		for _, name := range names {
			_ = os.Remove("/run/systemd/system/" + name + ".service")
		}
		fabric.Run(t, "systemctl", "daemon-reload")
	})
	fabric.Run(t, "systemctl", "daemon-reload")
	began := time.Now()
	fabric.Run(t, "systemctl", append([]string{"start"}, names...)...)
	return time.Since(began)
}

// TestMany starts in front of many subsystems, beside what the kernel itself takes for them, before and after, in the same run; loses all
// of the last and largest number at once, and has all of them back with the target.
func TestMany(t *testing.T) {
	long(t)
	counts := subsystemCounts(t)
	for i, n := range counts {
		t.Run(strconv.Itoa(n), func(t *testing.T) { startAmong(t, n, i == len(counts)-1) })
	}
}

func startAmong(t *testing.T, n int, lose bool) {
	measure := func() (took, used time.Duration) {
		_, subs := serve(t, n)
		before := ownCPU(t)
		took = bare(t, subs)
		return took, ownCPU(t) - before
	}
	first, used := measure()
	empty := emptyStart(t)

	port, subs := serve(t, n)
	const short = "[Global]\nctrl-loss-tmo=5\nreconnect-delay=1\n"
	fabric.Configure(t, "stafd.conf", short+noMDNS+controllers(dc))
	fabric.Configure(t, "stacd.conf", short)
	events := fabric.Record(t)
	must(t, fabric.Settle()) // what the floor's end has left to do is not ours to pay
	began := time.Now()
	fabric.Start(t, "stafd", "stacd")
	events.Await(t, 10*time.Minute, n+1, "change", "connected")
	took := time.Since(began)
	stafd, stacd := cpu(t, "stafd"), cpu(t, "stacd")
	awaitOwned(t, patience, subs...)
	registryRight(t, 10*time.Second)
	if lose {
		loseAll(t, port, events, subs)
	}

	second, _ := measure()
	floor := (first + second) / 2
	t.Logf("%d connects, written one after the other: %v before, %v after; %v CPU each", n, first.Round(10*time.Millisecond),
		second.Round(10*time.Millisecond), (used / time.Duration(n)).Round(10*time.Microsecond))
	t.Logf("%d live %v after systemctl start, %.2f of the floor; starting two units that do nothing takes %v: without that %.2f", n, took.Round(10*time.Millisecond),
		took.Seconds()/floor.Seconds(), empty.Round(10*time.Millisecond), (took-empty).Seconds()/floor.Seconds())
	t.Logf("CPU a controller, what the kernel does for a connect included: stafd %v, stacd with its worker %v",
		(stafd / time.Duration(n)).Round(10*time.Microsecond), (stacd / time.Duration(n)).Round(10*time.Microsecond))
}

// loseAll takes the target away until the kernel has given up everything, and brings it back.
func loseAll(t *testing.T, port *fabric.Port, events *fabric.Recorder, subs []*fabric.Subsystem) {
	n := len(subs)
	port.Down(t)
	down := time.Now()
	events.Await(t, 4*time.Minute, n+1, "remove", "")
	t.Logf("all gone %v after the target went", time.Since(down).Round(10*time.Millisecond))
	port.Up(t)
	up := time.Now()
	events.Await(t, 10*time.Minute, 2*(n+1), "change", "connected")
	t.Logf("all live again %v after the target was back", time.Since(up).Round(10*time.Millisecond))
	awaitOwned(t, patience, subs...)
	registryRight(t, 10*time.Second)
	if again := len(fabric.Controllers(t)); again != n+1 {
		t.Errorf("%d controllers for %d subsystems and one discovery controller", again, n)
	}
}

// ownCPU is what this process has used, including what the kernel did for it.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestDeadAddresses has 100 good I/O controllers among 50 dead addresses that log pages list, and 12 discovery controllers that are dead: the good
// ones are live as fast as without the dead.
func TestDeadAddresses(t *testing.T) {
	long(t)
	const good, deadDCs, deadIOCs = 100, 12, 50
	run := func(dead bool) time.Duration {
		_, subs := serve(t, good)
		lines := []string{dc}
		if dead {
			holes := fabric.BlackHoles(t, deadDCs+deadIOCs)
			lines = nil
			for _, h := range holes[:deadDCs] {
				lines = append(lines, "transport=tcp;traddr="+h)
			}
			// A discovery controller that lists the dead ones, before the one that lists the good.
			lines = append(lines, "transport=tcp;traddr=127.0.0.3;trsvcid=8009", dc)
			var text strings.Builder
			text.WriteString("[port p]\naddress = 127.0.0.3\n[dc d]\nports = p\n")
			for i, h := range holes[deadDCs:] {
				fmt.Fprintf(&text, "[entry e%d]\ndc = d\ntraddr = %s\ntrsvcid = 4420\nnqn = %sdead%d\n", i, h, simPrefix, i)
			}
			played(t, text.String())
		}
		fabric.Configure(t, "stafd.conf", noMDNS+controllers(lines...))
		must(t, fabric.Settle())
		events, want := fabric.Record(t), good+len(lines)
		if dead {
			want -= deadDCs
		}
		began := time.Now()
		fabric.Start(t, "stafd", "stacd")
		events.Await(t, 4*time.Minute, want, "change", "connected")
		took := time.Since(began)
		fabric.AwaitLive(t, time.Second, fabric.NQNs(subs)...)
		fabric.Stop(t, "stacd", "stafd")
		return took
	}
	run(false) // what is read and loaded only once does not count
	without := run(false)
	with := run(true)
	t.Logf("%d live %v after systemctl start, %v beside %d dead discovery controllers and %d dead addresses", good,
		without.Round(10*time.Millisecond), with.Round(10*time.Millisecond), deadDCs, deadIOCs)
	// Each dead address that reached the kernel would cost three seconds. How fast an emulated machine is differs within a run, too.
	if limit := 2*without + 5*time.Second; with > limit {
		t.Errorf("%v beside the dead, %v without", with, without)
	}
}

// TestLostForLonger leaves the target away for longer than ctrl-loss-tmo=20: the controller, given up by the kernel, is made again within
// five seconds of the target's return. So it is five times, as attempts are spread.
func TestLostForLonger(t *testing.T) {
	long(t)
	port, subs := serve(t, 1)
	const conf = "[Global]\nctrl-loss-tmo=20\nreconnect-delay=2\n"
	fabric.Configure(t, "stafd.conf", conf+noMDNS+controllers(dc))
	fabric.Configure(t, "stacd.conf", conf)
	fabric.Start(t, "stafd", "stacd")
	awaitOwned(t, patience, subs...)
	for round := range 5 {
		events := fabric.Record(t)
		port.Down(t)
		events.Await(t, time.Minute, 2, "remove", "")
		pause(t, 12*time.Second)
		port.Up(t)
		stalls, up := fabric.WatchStalls(t), time.Now()
		fabric.AwaitLive(t, patience, subs[0].NQN)
		took := time.Since(up)
		t.Logf("round %d: live %v after the target was back", round+1, took.Round(10*time.Millisecond))
		if fabric.TooLong(up, 5*time.Second, stalls) {
			t.Errorf("made again only %v after the target was back", took)
		}
		fabric.Eventually(t, 20*time.Second, func() error {
			if n := len(fabric.Controllers(t)); n != 2 {
				return fmt.Errorf("%d controllers", n)
			}
			return nil
		})
	}
}
