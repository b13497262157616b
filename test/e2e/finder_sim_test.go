//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/test/fabric"
)

// played plays what the text describes until the end of the test.
func played(t *testing.T, text string) *fabricsim.Fabric {
	t.Helper()
	return play(t, parsed(t, text))
}

func parsed(t *testing.T, text string) *fabricsim.Config {
	t.Helper()
	cfg, err := fabricsim.ParseConfig(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// must ends the test where a change of the fabric fails.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// startStafd starts it with a configuration, alone.
func startStafd(t *testing.T, conf string) {
	t.Helper()
	fabric.Configure(t, "stafd.conf", conf)
	fabric.Start(t, "stafd")
	t.Cleanup(func() { fabric.Stop(t, "stafd") })
}

// startBoth starts the daemons; stacd has no configuration of its own.
func startBoth(t *testing.T, conf string) {
	t.Helper()
	fabric.Configure(t, "stacd.conf", "")
	startStafd(t, conf)
	fabric.Start(t, "stacd")
	t.Cleanup(func() { fabric.Stop(t, "stacd") })
}

// seenDC is a discovery controller as stafd shows it.
type seenDC struct {
	Key, Traddr, Trsvcid, SubsysNQN, Device, KernelState, SessionState, Owner, Disposition, LastError string
	Origins                                                                                           []string
	Records                                                                                           int
	Parked                                                                                            bool
	PageReadTime, PageGeneration                                                                      uint64
}

// seenDCs asks stafd for its discovery controllers, by traddr:trsvcid.
func seenDCs(t *testing.T) map[string]seenDC {
	t.Helper()
	var info struct{ Objects []seenDC }
	out := ask(t, "stafctl", "status", "-o", "json")
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	all := map[string]seenDC{}
	for _, o := range info.Objects {
		all[o.Traddr+":"+o.Trsvcid] = o
	}
	return all
}

// liveDCs are the addresses of the discovery controllers that the kernel is connected to, and how often.
func liveDCs(t *testing.T) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, c := range fabric.Controllers(t) {
		if c.Discovery() && c.State == "live" {
			all[c.Field("traddr")+":"+c.Field("trsvcid")]++
		}
	}
	return all
}

// awaitDC waits until a discovery controller is connected, and ours.
func awaitDC(t *testing.T, within time.Duration, address string) fabric.Controller {
	t.Helper()
	var found fabric.Controller
	fabric.Eventually(t, within, func() error {
		for _, c := range fabric.Controllers(t) {
			if c.Discovery() && c.State == "live" && c.Field("traddr")+":"+c.Field("trsvcid") == address {
				if c.Owner() != "stas" {
					return fmt.Errorf("the owner of %s is %q", c.Name, c.Owner())
				}
				found = c
				return nil
			}
		}
		return fmt.Errorf("there is no live discovery controller %s", address)
	})
	return found
}

// connects counts the connections that hosts made to controllers at a port.
func connects(events []fabricsim.Event, port string) int {
	n := 0
	for _, e := range events {
		if e.Kind == "connect" && e.Queue == 0 && (port == "" || e.Port == port) && !strings.HasPrefix(e.Detail, "refused") {
			n++
		}
	}
	return n
}

// pageReads counts how often the discovery log page of a port was read to its end: by the header that is read again.
func pageReads(events []fabricsim.Event, port string) int {
	n := 0
	for _, e := range events {
		if e.Kind == "command" && (port == "" || e.Port == port) && strings.HasPrefix(e.Detail, "get log page 0x70") && strings.Contains(e.Detail, " at 0, RAE false") {
			n++
		}
	}
	return n
}

// lastEvent is the number of the latest event so far.
func lastEvent(f *fabricsim.Fabric) uint64 {
	if all := f.Events(0); len(all) > 0 {
		return all[len(all)-1].Seq
	}
	return 0
}

// nothingLost proves that no controller of before goes or is replaced.
func nothingLost(t *testing.T, before []fabric.Controller, events *fabric.Recorder) {
	t.Helper()
	fabric.Unharmed(t, before)
	for _, e := range events.Events() {
		for _, c := range before {
			if e.Action == "remove" && e.Name == c.Name {
				t.Errorf("%s (%s) was removed at %s", c.Name, c.NQN, e.Time.Format("15:04:05.000"))
			}
		}
	}
}

// noneRemovedFor watches that no controller goes for a while.
func noneRemovedFor(t *testing.T, during time.Duration, events *fabric.Recorder) {
	t.Helper()
	before := events.Count("remove", "")
	fabric.Never(t, during, func() error {
		if n := events.Count("remove", ""); n != before {
			return fmt.Errorf("%d controllers were removed", n-before)
		}
		return nil
	})
}
