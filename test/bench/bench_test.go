//go:build e2e

// Package bench measures the whole system on a real kernel, inside the VM of test/vm: the floor that the kernel sets, Debian's
// nvme-stas, and ours, one beside the other in one run. Figures of different runs do not compare: the machine is emulated.
//
// STAS_BENCH_SIZES chooses the numbers of subsystems (default 1,32,200).
package bench

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

const (
	prefix  = "nqn.2014-08.org.nvmexpress:bench:"
	address = "127.0.0.1"
	service = 8009
)

// TestMain refuses to run anywhere but in the VM: it disconnects every fabrics controller.
func TestMain(m *testing.M) {
	if name, _ := os.Hostname(); name != "stas-vm" {
		println("bench: not in the VM of test/vm; use make bench")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// table has a row for each figure and a column for each system.
type table struct {
	rows    []string
	figures map[string]map[string]string
}

func (tb *table) set(row, system, format string, a ...any) {
	if tb.figures == nil {
		tb.figures = map[string]map[string]string{}
	}
	if tb.figures[row] == nil {
		tb.figures[row] = map[string]string{}
		tb.rows = append(tb.rows, row)
	}
	tb.figures[row][system] = fmt.Sprintf(format, a...)
}

func (tb *table) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, s := range systems {
		_, _ = fmt.Fprintf(w, "\t%s", s.name)
	}
	_, _ = fmt.Fprintln(w, "\t")
	for _, row := range tb.rows {
		_, _ = fmt.Fprint(w, row)
		for _, s := range systems {
			_, _ = fmt.Fprintf(w, "\t%s", cmp.Or(tb.figures[row][s.name], "-"))
		}
		_, _ = fmt.Fprintln(w, "\t")
	}
	_ = w.Flush()
	return b.String()
}

// TestWholeSystem prints the table; it fails only when something is not connected at all.
func TestWholeSystem(t *testing.T) {
	var tb table
	defer func() {
		t.Logf("\n%s", &tb)
		if dir := os.Getenv("STAS_OUT"); dir != "" {
			_ = os.WriteFile(dir+"/bench.txt", []byte(tb.String()), 0o644)
		}
	}()
	for _, text := range strings.Split(cmp.Or(os.Getenv("STAS_BENCH_SIZES"), "1,32,200"), ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range systems {
			t.Run(fmt.Sprintf("%d/%s", n, s.name), func(t *testing.T) { size(t, &tb, s, n) })
		}
	}
	for _, s := range systems[1:] {
		t.Run("referrals/"+s.name, func(t *testing.T) { referrals(t, &tb, s) })
	}
	ours(t)
}

const configuration = "[Service Discovery]\nzeroconf=disabled\n[Controllers]\ncontroller=transport=tcp;traddr=127.0.0.1;trsvcid=8009\n"

// serve makes a clean fabric with n subsystems, and the configuration, which both read.
func serve(t *testing.T, s system, n int) (*fabric.Port, []*fabric.Subsystem) {
	t.Helper()
	fabric.Clean(t)
	s.prepare(t)
	port := fabric.TCP(t, address, service)
	subsystems := fabric.NewSubsystems(t, prefix+"s", n, fabric.Options{})
	port.Link(t, subsystems...)
	fabric.Configure(t, "stafd.conf", configuration)
	fabric.Configure(t, "stacd.conf", "")
	if err := fabric.Settle(); err != nil { // nobody pays for the system before
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fabric.Try("systemctl", "stop", "stacd", "stafd") })
	return port, subsystems
}

// size measures a fabric of n subsystems from the start on.
func size(t *testing.T, tb *table, s system, n int) {
	port, subsystems := serve(t, s, n)
	events := fabric.Record(t)
	expected := n
	if s.ls != "" {
		expected++ // the discovery controller
	}
	started, used := time.Now(), ownCPU(t)
	s.connect(t, subsystems)
	cpu := ownCPU(t) - used
	events.Await(t, 4*time.Minute, expected, "change", "connected")
	tb.set(fmt.Sprintf("start to %d live, s", n), s.name, "%.2f", time.Since(started).Seconds())
	// What the kernel works for a connect counts for whoever asked it to, so there is a floor here too.
	row := fmt.Sprintf("CPU for %d, s", n)
	if s.ls == "" {
		tb.set(row, s.name, "%.2f", cpu.Seconds())
		return
	}
	finder, connector := costOf(t, "stafd"), costOf(t, "stacd")
	tb.set(row, s.name, "%.2f", (finder.cpu + connector.cpu).Seconds())
	tb.set(fmt.Sprintf("resident at %d, stafd, MiB", n), s.name, "%s", finder)
	tb.set(fmt.Sprintf("resident at %d, stacd, MiB", n), s.name, "%s", connector)
	tb.set(fmt.Sprintf("stafctl ls at %d, s", n), s.name, "%.2f", median(5, func() time.Duration { return run(t, s.ls, "ls") }).Seconds())
	if n > 64 {
		return
	}
	extra := fabric.NewSubsystem(t, prefix+"extra", fabric.Options{})
	var live, removed []time.Duration
	for range 5 {
		events := fabric.Record(t)
		at := time.Now()
		port.Link(t, extra)
		events.Await(t, 30*time.Second, 1, "change", "connected")
		live = append(live, time.Since(at))
		fabric.AwaitLive(t, 10*time.Second, extra.NQN)
		at = time.Now()
		port.Unlink(t, extra)
		events.Await(t, 60*time.Second, 1, "remove", "")
		removed = append(removed, time.Since(at))
		fabric.AwaitGone(t, 10*time.Second, extra.NQN)
	}
	slices.Sort(live)
	slices.Sort(removed)
	tb.set(fmt.Sprintf("event to live at %d, s", n), s.name, "%.2f", live[len(live)/2].Seconds())
	tb.set(fmt.Sprintf("event to removed at %d, s", n), s.name, "%.2f", removed[len(removed)/2].Seconds())
}

// referrals measures 16 subsystems beside 12 referrals whose addresses swallow every packet.
func referrals(t *testing.T, tb *table, s system) {
	const good, bad = 16, 12
	port, _ := serve(t, s, good)
	for _, hole := range fabric.BlackHoles(t, bad) {
		port.Refer(t, fabric.PortOptions{Transport: "tcp", Address: hole, Service: strconv.Itoa(service)})
	}
	events := fabric.Record(t)
	started := time.Now()
	s.connect(t, nil)
	events.Await(t, 4*time.Minute, good+1, "change", "connected")
	tb.set("start to 16 live beside 12 black holes, s", s.name, "%.2f", time.Since(started).Seconds())
}

func median(n int, measure func() time.Duration) time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = measure()
	}
	slices.Sort(all)
	return all[n/2]
}
