package fabric

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// spawned is how long a process takes to start and end in the VM of an unloaded build machine.
const spawned = 30 * time.Millisecond

// Slowness says how many times slower than that this machine was when it was asked first, between 1 and 10: an emulated one can
// share its processors with anybody, and a bound on time would say nothing about the program under test.
var Slowness = sync.OnceValue(slowness)

// slowness measures it.
func slowness() float64 {
	var all [9]time.Duration
	for i := range all {
		start := time.Now()
		_ = exec.Command("/bin/true").Run()
		all[i] = time.Since(start)
	}
	slices.Sort(all[:])
	return min(max(float64(all[len(all)/2])/float64(spawned), 1), 10)
}

// Slow is d as this machine needs it.
func Slow(d time.Duration) time.Duration { return time.Duration(float64(d) * Slowness()) }

// SlowNow is d as this machine needs it now, measured anew; not less than Slow.
func SlowNow(d time.Duration) time.Duration {
	return max(Slow(d), time.Duration(float64(d)*slowness()))
}

// TooLong says whether more time than bound has passed since start, which is more where the machine is slow: it was when it was
// measured first, or it is now. The time in which it stood still does not count.
func TooLong(start time.Time, bound time.Duration, stalls *Stalls) bool {
	now := time.Now()
	if now.Sub(start) <= Slow(bound) {
		return false
	}
	most := SlowNow(bound)
	return now.Sub(start)-stalls.Between(start, now) > most
}

// Eventually calls check every 10 ms until it returns nil; the test ends when it has not done so in time, as TooLong has it. A check that takes
// longer than that is called less often: looking must not keep an emulated machine from what is waited for.
func Eventually(t testing.TB, within time.Duration, check func() error) time.Duration {
	t.Helper()
	stalls, end := watch(20 * time.Millisecond)
	defer end()
	start := time.Now()
	for {
		began := time.Now()
		err := check()
		if err == nil {
			return time.Since(start)
		}
		if TooLong(start, within, stalls) {
			t.Fatalf("not within %v: %v", Slow(within), err)
		}
		time.Sleep(max(10*time.Millisecond, time.Since(began)))
	}
}

// Never calls check every 10 ms for as long as it says and ends the test when it returns an error.
func Never(t testing.TB, during time.Duration, check func() error) {
	t.Helper()
	for start := time.Now(); time.Since(start) < during; time.Sleep(10 * time.Millisecond) {
		if err := check(); err != nil {
			t.Fatalf("after %v: %v", time.Since(start).Round(time.Millisecond), err)
		}
	}
}

// Run runs a program and returns what it wrote; the test ends when its exit code is not 0.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := output(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try is Run for what may fail.
func Try(name string, args ...string) error {
	_, err := output(name, args...)
	return err
}

// output gives standard output; the error has the command and its standard error.
func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	cmd.WaitDelay = time.Second // children that keep the pipes
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s%s", name, strings.Join(args, " "), err, out.String(), messages.String())
	}
	return out.String(), nil
}

// modprobe loads modules; a test that needs one which this kernel does not have is skipped.
func modprobe(t testing.TB, modules ...string) {
	t.Helper()
	for _, m := range modules {
		if _, err := output("modinfo", m); err != nil {
			t.Skipf("this kernel has no %s", m)
		}
	}
	Run(t, "modprobe", append([]string{"-a"}, modules...)...)
}

// Start starts units; it returns when they say that they are ready.
func Start(t testing.TB, units ...string) { systemctl(t, "start", units) }

// Stop stops units.
func Stop(t testing.TB, units ...string) { systemctl(t, "stop", units) }

// Restart restarts units.
func Restart(t testing.TB, units ...string) { systemctl(t, "restart", units) }

// Reload makes units read their configuration again.
func Reload(t testing.TB, units ...string) { systemctl(t, "reload", units) }

func systemctl(t testing.TB, verb string, units []string) {
	t.Helper()
	if _, err := output("systemctl", append([]string{verb, "--"}, units...)...); err != nil {
		t.Fatalf("%v\n%s", err, lastOf(journal(time.Now().Add(-time.Minute), units...), 40))
	}
}

// Signal sends a signal (KILL, STOP, CONT, …) to the main process of a unit.
func Signal(t testing.TB, unit, signal string) {
	t.Helper()
	Run(t, "systemctl", "kill", "--kill-whom=main", "--signal="+signal, unit)
}

// Property is a property of a unit: ActiveState, SubState, Result, NRestarts, MainPID, …
func Property(t testing.TB, unit, name string) string {
	t.Helper()
	return strings.TrimSpace(Run(t, "systemctl", "show", "--value", "-p", name, unit))
}

// MainPID is the process of a unit, 0 when it does not run.
func MainPID(t testing.TB, unit string) int {
	t.Helper()
	pid, err := strconv.Atoi(Property(t, unit, "MainPID"))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// Journal is what the units have said since then, one line per message.
func Journal(t testing.TB, since time.Time, units ...string) string {
	t.Helper()
	return journal(since, units...)
}

func journal(since time.Time, units ...string) string {
	_, _ = output("journalctl", "--sync")
	args := []string{"-o", "short-precise", "--no-pager", "-q", "--since", "@" + strconv.FormatFloat(float64(since.UnixMicro())/1e6, 'f', 6, 64)}
	for _, u := range units {
		args = append(args, "-u", u)
	}
	out, err := output("journalctl", args...)
	if err != nil {
		return err.Error()
	}
	return out
}

// lastOf are the last n lines of s.
func lastOf(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
