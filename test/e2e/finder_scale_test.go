//go:build e2e

package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/test/fabric"
)

// many is a discovery controller at n ports: for a host n of them.
func many(n int, more string) string {
	var b strings.Builder
	names := make([]string, 0, n)
	for i := range n {
		fmt.Fprintf(&b, "[port p%d]\naddress = 127.0.1.%d\n", i+1, i+1)
		names = append(names, fmt.Sprintf("p%d", i+1))
	}
	return b.String() + "[dc many]\nports = " + strings.Join(names, " ") + "\n" + more
}

// TestFinderDeadAddresses has 50 discovery controllers among 60 addresses that are none: 50 swallow SYNs, 10 accept and
// stay silent. The 50 come up as fast as without the others. (That many because twice as many take an emulated machine
// minutes; TestFinderAllDeadAddresses has them. On a host in memory pkg/finder shows that none of 220 is late.)
func TestFinderDeadAddresses(t *testing.T) {
	wide(t)
	deadAddresses(t, 50, 50, 10, time.Minute)
}

// TestFinderAllDeadAddresses is the same with 100 that swallow SYNs, 20 that are silent, and 100 good ones.
func TestFinderAllDeadAddresses(t *testing.T) {
	long(t)
	deadAddresses(t, 100, 100, 20, 5*time.Minute)
}

func deadAddresses(t *testing.T, good, holes, silent int, within time.Duration) {
	var lines []string
	for i := range good {
		lines = append(lines, fmt.Sprintf("transport=tcp;traddr=127.0.1.%d", i+1))
	}
	run := func(dead bool) time.Duration {
		fabric.Clean(t)
		all := append([]string(nil), lines...)
		text := many(good, "")
		if dead {
			// They come first in the file.
			var bad []string
			for _, h := range fabric.BlackHoles(t, holes) {
				bad = append(bad, "transport=tcp;traddr="+h)
			}
			for i := range silent {
				text += fmt.Sprintf("[port q%d]\naddress = 127.0.2.%d\n[fault f%d]\nport = q%d\nstep = icreq\naction = silent\n", i, i+1, i, i)
				bad = append(bad, fmt.Sprintf("transport=tcp;traddr=127.0.2.%d", i+1))
			}
			all = append(bad, all...)
		}
		f := played(t, text)
		fabric.Configure(t, "stafd.conf", noMDNS+controllers(all...))
		events := fabric.Record(t)
		began := time.Now()
		fabric.Start(t, "stafd")
		events.Await(t, within, good, "change", "connected")
		took := events.Events()[len(events.Events())-1].Time.Sub(began)
		if n := len(liveDCs(t)); n != good {
			t.Errorf("%d discovery controllers are live, not %d", n, good)
		}
		fabric.Stop(t, "stafd")
		fabric.Run(t, "nvme", "disconnect-all")
		f.Close()
		return took
	}
	run(false) // what is read and loaded only once does not count
	without := run(false)
	with := run(true)
	t.Logf("%d up %v after systemctl start, %v beside %d dead addresses: %.2f times as long", good, without.Round(10*time.Millisecond), with.Round(10*time.Millisecond), holes+silent, with.Seconds()/without.Seconds())
	// The aim is a second more. What must hold on any machine, emulated and busy: each dead address that reached
	// the kernel would cost three seconds.
	if limit := 2*without + 5*time.Second; with > limit {
		t.Errorf("%v beside dead addresses, %v without", with, without)
	}
}

// privateDirty is the memory of a process that is its own and written to, in bytes.
func privateDirty(t *testing.T, pid int) int {
	t.Helper()
	for line := range strings.Lines(content(t, fmt.Sprintf("/proc/%d/smaps_rollup", pid))) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Private_Dirty:" {
			kib, err := strconv.Atoi(f[1])
			must(t, err)
			return kib << 10
		}
	}
	t.Fatal("smaps_rollup has no Private_Dirty")
	return 0
}

// TestFinderBigPage reads pages of 10 000 entries: published whole, and the eleventh takes no more memory than the first.
func TestFinderBigPage(t *testing.T) {
	long(t)
	fabric.Clean(t)
	f := played(t, "[port p]\naddress = 127.0.0.1\n[port q]\naddress = 127.0.0.1\nservice = 8010\n[dc small]\nports = q\nsubsystems = s1\n"+
		"[dc big]\nports = p\n[subsystem s]\nnqn = "+simPrefix+"s%d\ncount = 10000\nports = p\nnamespace = 1T\n")
	startStafd(t, noMDNS+controllers("transport=tcp;traddr=127.0.0.1;trsvcid=8010"))
	awaitDC(t, 10*time.Second, "127.0.0.1:8010")
	pid := fabric.MainPID(t, "stafd")
	seenDCs(t)
	before := privateDirty(t, pid)
	fabric.Configure(t, "stafd.conf", noMDNS+controllers("transport=tcp;traddr=127.0.0.1;trsvcid=8010", dc))
	began := time.Now()
	fabric.Reload(t, "stafd")
	// stafctl status -o json would have all entries told, as 2.x does, and measure that.
	client, err := bus.ConnectFinder(t.Context(), bus.Options{})
	must(t, err)
	t.Cleanup(client.Close)
	awaitRecords := func(n uint32) {
		t.Helper()
		fabric.Eventually(t, time.Minute, func() error {
			pages, _, err := client.Pages(t.Context())
			must(t, err)
			for _, p := range pages {
				if p.ID.Trsvcid == "8009" && p.Records == n {
					return nil
				}
			}
			return fmt.Errorf("not %d records: %+v", n, pages)
		})
	}
	awaitRecords(10001) // itself, too
	t.Logf("connected, read and published within %v", time.Since(began).Round(10*time.Millisecond))
	// Some seconds after the last page memory goes back to the system.
	first, within := 0, func(limit int) (now int) {
		t.Helper()
		fabric.Eventually(t, 30*time.Second, func() error {
			if now = privateDirty(t, pid); now > limit {
				return fmt.Errorf("%d KiB are private, not %d", now>>10, limit>>10)
			}
			return nil
		})
		return now
	}
	peak := privateDirty(t, pid)
	first = within(before + 16<<20)
	for i := range 10 {
		must(t, f.AddSubsystem(fabricsim.SubsystemConfig{Name: fmt.Sprintf("x%d", i), NQN: fmt.Sprintf("%sx%d", simPrefix, i), Ports: []string{"p"}}))
		awaitRecords(uint32(10002 + i))
	}
	last := within(first + 4<<20)
	t.Logf("private memory: %d KiB before, %d KiB right after the page was read, %d KiB with it, %d KiB after ten more", before>>10, peak>>10, first>>10, last>>10)
}

// TestFinderStorm raises a thousand events: the reads that they ask for coalesce, and none is lost.
func TestFinderStorm(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := played(t, "[port p]\naddress = 127.0.0.1\n[dc d]\nnqn = "+simPrefix+"d\nports = p\nextended = no\n[subsystem s]\nnqn = "+simPrefix+"s\nports = p\nnamespace = 1G\n")
	startStafd(t, noMDNS+controllers(dc))
	c := awaitDC(t, 10*time.Second, "127.0.0.1:8009")
	awaitRead(t, f, 5*time.Second, 0)
	fabric.Never(t, time.Second, func() error { return nil })
	events, seq := fabric.Record(t), lastEvent(f)
	const pause = 500 * time.Millisecond
	must(t, f.AddFault(fabricsim.FaultConfig{Name: "slow", Step: "discovery-log", Action: "delay=" + pause.String()}))
	must(t, f.AddFault(fabricsim.FaultConfig{Name: "storm", Subsystem: "d", Action: "aen-storm=2ms"}))
	began := time.Now()
	events.Await(t, 30*time.Second, 1000, "change", "0x70f002")
	must(t, f.RemoveFault("storm"))
	stormed := time.Since(began)
	must(t, f.RemoveFault("slow"))
	must(t, f.AddSubsystem(fabricsim.SubsystemConfig{Name: "late", NQN: simPrefix + "late", Ports: []string{"p"}}))
	fabric.Eventually(t, 10*time.Second, func() error {
		if r := seenDCs(t)["127.0.0.1:8009"].Records; r != 3 {
			return fmt.Errorf("%d records", r)
		}
		return nil
	})
	log := f.Events(seq)
	reads := pageReads(log, "")
	var worst int
	for _, e := range log {
		if e.Kind == "command" && strings.HasPrefix(e.Detail, "get log page 0x70") {
			worst++
		}
	}
	t.Logf("%d events in %v led to %d reads of the page (%d commands)", events.Count("change", "0x70f002"), stormed.Round(10*time.Millisecond), reads, worst)
	// Each read takes at least one pause: one in flight, one after it, whatever comes.
	if most := int(stormed/pause) + 3; reads > most {
		t.Errorf("%d reads, more than %d that fit one after the other", reads, most)
	}
	fabric.Unharmed(t, []fabric.Controller{c})
}

// switches counts how often the threads of a process have gone to sleep so far. That another process took the processor from one
// says something of that process.
func switches(t *testing.T, pid int) map[string]int {
	t.Helper()
	all := map[string]int{}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "voluntary_ctxt_switches:" {
				n, err := strconv.Atoi(f[1])
				must(t, err)
				all[filepath.Base(filepath.Dir(task))] += n
			}
		}
	}
	return all
}

// monitorOf is the thread that the Go runtime starts before all others to watch over them (sysmon in runtime/proc.go), so the second of the process.
func monitorOf(threads map[string]int) string {
	numbers := slices.SortedFunc(maps.Keys(threads), func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return numbers[min(1, len(numbers)-1)]
}

// TestFinderIdle connects 100 discovery controllers and lets the daemons be for a minute: they sleep.
func TestFinderIdle(t *testing.T) {
	long(t)
	fabric.Clean(t)
	const n = 100
	played(t, many(n, ""))
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("transport=tcp;traddr=127.0.1.%d", i+1))
	}
	events := fabric.Record(t)
	startBoth(t, noMDNS+controllers(lines...))
	events.Await(t, time.Minute, n, "change", "connected")
	fabric.Never(t, 20*time.Second, func() error { return nil }) // what follows the start
	pids := map[string]int{"stafd": fabric.MainPID(t, "stafd"), "stacd": fabric.MainPID(t, "stacd")}
	before := map[string]map[string]int{}
	for name, pid := range pids {
		before[name] = switches(t, pid)
	}
	time.Sleep(time.Minute)
	sum, monitors := 0, 0
	for name, pid := range pids {
		after := switches(t, pid)
		monitor := monitorOf(after)
		for thread, count := range after {
			d := count - before[name][thread]
			switch {
			case d <= 0:
				continue
			case thread == monitor:
				monitors += d
			default:
				sum += d
			}
			t.Logf("%s thread %s: %d context switches", name, thread, d)
		}
	}
	t.Logf("%d context switches in a minute, and %d of the runtime's monitors", sum, monitors)
	// Wanted are 60 for all threads, and that is not what is asserted: what is left is the watchdog's question every 45 s. While a Go program is awake the thread that watches over it wakes up every 20 microseconds,
	// and an emulated machine keeps it awake many times as long as real hardware, where all threads of both daemons together have been seen to
	// need 37. A collection of garbage after each question came to 400 and more.
	if sum > 60 || monitors > 600 {
		t.Errorf("%d context switches in a minute of doing nothing, and %d of the runtime's monitors", sum, monitors)
	}
}
