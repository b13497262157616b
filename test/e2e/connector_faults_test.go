//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/pkg/nvmetcp"
	"github.com/stas-go/stas/test/fabric"
)

// patience is how long these tests wait for what has to come; where it is about when it comes they measure.
const patience = 2 * time.Minute

// slowly has each connect to one of the simulated subsystems take this long, inside the kernel.
func slowly(t *testing.T, f *fabricsim.Fabric, name string, takes time.Duration) {
	t.Helper()
	slowlyAt(t, f, name, nvmetcp.StepConnect, takes)
}

func slowlyAt(t *testing.T, f *fabricsim.Fabric, name, step string, takes time.Duration) {
	t.Helper()
	must(t, f.AddFault(fabricsim.FaultConfig{Name: "slow", Subsystem: name, Step: step, Action: "delay=" + takes.String()}))
}

// awaitConnecting waits until a connect to the subsystem hangs in what slowly has put there, after event number seq.
func awaitConnecting(t *testing.T, f *fabricsim.Fabric, seq uint64, name string) time.Time {
	t.Helper()
	return awaitStep(t, f, seq, name, nvmetcp.StepConnect)
}

func awaitStep(t *testing.T, f *fabricsim.Fabric, seq uint64, name, step string) time.Time {
	t.Helper()
	fabric.Eventually(t, patience, func() error {
		for _, e := range f.Events(seq) {
			if e.Kind == "fault" && e.Subsystem == simPrefix+name && strings.HasSuffix(e.Detail, "at "+step) {
				return nil
			}
		}
		return fmt.Errorf("%s is not being connected", name)
	})
	return time.Now()
}

// TestUnwantedDuringConnect takes a subsystem out of the zones while the kernel is busy with a connect to it that takes ten seconds:
// once that is through the controller goes. What else is to be disconnected meanwhile does not wait for it.
func TestUnwantedDuringConnect(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := simulate(t, strings.Replace(zoned, "ports = p1 p2", "ports = p1", 1))
	const takes = 10 * time.Second
	slowly(t, f, "sim3", takes)
	startBoth(t, noMDNS+controllers("transport=tcp;traddr=127.0.0.1;trsvcid=4500"))
	simOnce(t, patience, "sim1", "sim2")
	before, events := fabric.Live(t, simPrefix+"sim1"), fabric.Record(t)

	seq := lastEvent(f)
	must(t, f.AddToZone("here", "sim3"))
	began := awaitConnecting(t, f, seq, "sim3")
	must(t, f.RemoveFromZone("here", "sim2", "sim3"))
	fabric.AwaitGone(t, patience, simPrefix+"sim2")
	other := time.Since(began)
	events.Await(t, takes+patience, 1, "change", "connected")
	through := time.Since(began)
	if other > through || through < takes/2 {
		t.Fatalf("sim2 was gone after %v, the connect was through after %v: the test proves nothing", other, through)
	}
	fabric.AwaitGone(t, patience, simPrefix+"sim3")
	t.Logf("the connect took %v; its controller was gone %v later, another one %v after it was zoned out", through.Round(time.Millisecond),
		(time.Since(began) - through).Round(time.Millisecond), other.Round(time.Millisecond))
	simOnce(t, quiet, "sim1")
	registryRight(t, patience)
	nothingLost(t, before, events)

	// Unwanted and wanted again while it is being connected: it stays.
	must(t, f.RemoveFault("slow"))
	slowly(t, f, "sim3", 4*time.Second)
	seq = lastEvent(f)
	must(t, f.AddToZone("here", "sim3"))
	awaitConnecting(t, f, seq, "sim3")
	must(t, f.RemoveFromZone("here", "sim3"))
	fabric.Never(t, time.Second, func() error { return nil }) // so that it is seen
	must(t, f.AddToZone("here", "sim3"))
	simOnce(t, takes+patience, "sim1", "sim3")
	nothingLost(t, before, events)
}

// worker is the process of a unit that works inside the kernel.
func worker(t *testing.T, unit string) int {
	t.Helper()
	main, found := fabric.MainPID(t, unit), 0
	fabric.Eventually(t, patience, func() error {
		for _, text := range strings.Fields(content(t, "/sys/fs/cgroup"+fabric.Property(t, unit, "ControlGroup")+"/cgroup.procs")) {
			if pid, _ := strconv.Atoi(text); pid != main {
				found = pid
				return nil
			}
		}
		return fmt.Errorf("%s has no worker", unit)
	})
	return found
}

// halt stops a process until the function that it gives is called, or the test ends.
func halt(t *testing.T, pid int) (release func()) {
	t.Helper()
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	done := false
	release = func() {
		if !done {
			done = true
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
	t.Cleanup(release)
	fabric.Eventually(t, 30*time.Second, func() error {
		// The state follows the name, which is in parentheses.
		stat := content(t, fmt.Sprintf("/proc/%d/stat", pid))
		if state := stat[strings.LastIndex(stat, ")")+2:][:1]; state != "T" {
			return fmt.Errorf("process %d is in state %s", pid, state)
		}
		return nil
	})
	return release
}

// nextName is the device name that the kernel gives next: the lowest number that is free.
func nextName(t *testing.T) string {
	t.Helper()
	for n := 0; ; n++ {
		name := fmt.Sprintf("nvme%d", n)
		if _, err := os.Stat("/sys/class/nvme/" + name); err != nil {
			return name
		}
	}
}

// TestOwnerAppearsBeforeTheAction has another orchestrator write its name between stacd's decision and the act: what was to be
// disconnected stays, what was to be connected is left to the other, and neither owner changes.
func TestOwnerAppearsBeforeTheAction(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := simulate(t, strings.Replace(zoned, "ports = p1 p2", "ports = p1", 1))
	startBoth(t, noMDNS+controllers("transport=tcp;traddr=127.0.0.1;trsvcid=4500"))
	simOnce(t, patience, "sim1", "sim2")
	events, since := fabric.Record(t), time.Now()
	own := func(name string) {
		t.Helper()
		fabric.Run(t, "mkdir", "-p", "/run/nvme/registry/"+name)
		must(t, os.WriteFile("/run/nvme/registry/"+name+"/owner", []byte("discoverd\n"), 0o644))
	}
	kept := fabric.Live(t, simPrefix+"sim2")[0]

	// The worker is stopped in the middle of a connect: what it is asked for from now on waits. By then the kernel must have
	// opened all its sockets, which the signal would keep it from.
	slowlyAt(t, f, "sim3", nvmetcp.StepIOConnect, 3*time.Second)
	seq := lastEvent(f)
	must(t, f.AddToZone("here", "sim3"))
	awaitStep(t, f, seq, "sim3", nvmetcp.StepIOConnect)
	release := halt(t, worker(t, "stacd"))          // not the one of before, which goes after ten seconds without work
	fabric.AwaitLive(t, patience, simPrefix+"sim3") // the kernel is through
	must(t, f.RemoveFromZone("here", "sim2"))
	fabric.Eventually(t, patience, func() error {
		if !strings.Contains(fabric.Journal(t, since, "stacd"), "disconnecting, as nothing lists it any more") {
			return fmt.Errorf("stacd has not decided to disconnect sim2")
		}
		return nil
	})
	own(kept.Name)
	must(t, f.AddToZone("here", "sim4"))
	fabric.Eventually(t, patience, func() error {
		if out := fabric.Run(t, "stacctl", "status"); !strings.Contains(out, "sim4") {
			return fmt.Errorf("stacd is not about to connect sim4: %s", out)
		}
		return nil
	})
	theirs := nextName(t)
	own(theirs) // as early as may be
	if name := mustAttach(t, "p1", simPrefix+"sim4", ""); name != theirs {
		t.Fatalf("the kernel made %s, not %s", name, theirs)
	}
	release()
	fabric.Never(t, quiet, func() error {
		for _, name := range []string{kept.Name, theirs} {
			if c := (fabric.Controller{Name: name}); c.Owner() != "discoverd" {
				return fmt.Errorf("the owner of %s is %q", name, c.Owner())
			}
		}
		if n := len(fabric.Live(t, simPrefix+"sim4")); n != 1 {
			return fmt.Errorf("sim4 has %d controllers", n)
		}
		return nil
	})
	// Zoned out, and stacd started anew: both are somebody else's.
	must(t, f.RemoveFromZone("here", "sim4"))
	interrupt(t, "stacd", "kill")
	fabric.Never(t, quiet, func() error { return nil })
	nothingLost(t, []fabric.Controller{kept}, events)
	if n := events.Count("remove", ""); n != 0 {
		t.Errorf("%d controllers were removed", n)
	}
}

// TestRunFull has no byte left in /run: what is to be connected is connected, nothing goes, and the owner is registered once there is room.
func TestRunFull(t *testing.T) {
	port, subs := connected(t, 2)
	before, events := iocs(t), fabric.Record(t)
	extra := fabric.NewSubsystems(t, prefix+"extra", 3, fabric.Options{Hosts: []fabric.Host{{NQN: hostNQN(t)}}})
	since := time.Now()
	free := fabric.FillRun(t)
	port.Link(t, extra...)
	fabric.AwaitLive(t, patience, fabric.NQNs(extra)...)
	fabric.Signal(t, "stacd", "HUP") // and while at it, a reload
	fabric.Never(t, quiet, func() error { return nil })
	for _, s := range extra {
		if c := fabric.Live(t, s.NQN); len(c) != 1 || c[0].Owner() != "" {
			t.Errorf("%s: not one connection without an owner: %+v", s.NQN, c)
		}
	}
	text := fabric.Journal(t, since, "stacd")
	if !strings.Contains(text, "cannot register ownership") {
		t.Errorf("stacd says nothing of it:\n%s", text)
	}
	free()
	freed := time.Now()
	awaitOwned(t, patience, slices.Concat(subs, extra)...)
	t.Logf("registered %v after there was room", time.Since(freed).Round(time.Millisecond))
	nothingLost(t, before, events)
	if n := strings.Count(text, "\n"); n > 20 {
		t.Errorf("%d lines in the journal:\n%s", n, text)
	}
	// They are ours in every respect.
	for _, s := range extra {
		s.Disallow(t, hostNQN(t))
	}
	fabric.AwaitGone(t, patience, fabric.NQNs(extra)...)
	nothingLost(t, before, events)
}

// TestEtcReadOnly runs everything beside a read-only /etc.
func TestEtcReadOnly(t *testing.T) {
	wide(t)
	port, subs := serve(t, 2)
	end := fabric.ReadOnly(t, "/etc")
	if err := os.WriteFile("/etc/stas-test", nil, 0o600); err == nil {
		t.Fatal("/etc can be written")
	}
	fabric.Start(t, "stafd", "stacd")
	awaitOwned(t, patience, subs...)
	before, events := iocs(t), fabric.Record(t)
	extra := fabric.NewSubsystem(t, prefix+"extra", fabric.Options{})
	port.Link(t, extra)
	awaitOwned(t, patience, append(subs, extra)...)
	for _, unit := range []string{"stafd", "stacd"} {
		fabric.Reload(t, unit)
		interrupt(t, unit, "kill")
	}
	port.Unlink(t, extra)
	fabric.AwaitGone(t, patience, extra.NQN)
	fabric.Never(t, quiet, func() error { return nil })
	nothingLost(t, before, events)
	awaitOwned(t, time.Second, subs...)
	end()
}
