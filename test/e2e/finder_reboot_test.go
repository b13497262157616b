//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/test/fabric"
)

// storage are four subsystems that another fabric's discovery controllers list.
const storage = `
[port io]
address = 127.0.0.1
service = 4500
[subsystem sim]
nqn = nqn.2024-01.org.example:sim
count = 4
ports = io
namespace = 64M
`

// directory is a CDC at an address that lists these of them. Each is one boot of it.
type directory struct {
	address    string
	generation int
	lists      []string
	more       string
}

func (d directory) config(t *testing.T) *fabricsim.Config {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "[fabricsim]\nannounce = yes\n[port cdc]\naddress = %s\n[dc cdc]\ntype = cdc\nnqn = %scdc\nports = cdc\ngeneration = %d\n", d.address, simPrefix, d.generation)
	for i, name := range d.lists {
		fmt.Fprintf(&b, "[entry e%d]\ndc = cdc\nport-id = 1\ntraddr = 127.0.0.1\ntrsvcid = 4500\nnqn = %s%s\n", i, simPrefix, name)
	}
	b.WriteString(d.more)
	return parsed(t, b.String())
}

func (d directory) boot(t *testing.T) *fabricsim.Fabric {
	t.Helper()
	f := play(t, d.config(t))
	return f
}

// simOnce waits until exactly these subsystems have one live path each that is ours.
func simOnce(t *testing.T, within time.Duration, names ...string) time.Duration {
	t.Helper()
	return fabric.Eventually(t, within, func() error {
		paths := make(map[string]int)
		for _, c := range iocs(t) {
			if c.State != "live" || c.Owner() != "stas" {
				return fmt.Errorf("%s (%s) is %s, owner %q", c.Name, c.NQN, c.State, c.Owner())
			}
			paths[strings.TrimPrefix(c.NQN, simPrefix)]++
		}
		for _, name := range names {
			if paths[name] != 1 {
				return fmt.Errorf("%s has %d paths", name, paths[name])
			}
		}
		if len(paths) != len(names) {
			return fmt.Errorf("connected are %v, wanted %v", paths, names)
		}
		return nil
	})
}

// awaitRead waits until a host has read the whole page of a CDC since event number seq.
func awaitRead(t *testing.T, f *fabricsim.Fabric, within time.Duration, seq uint64) {
	t.Helper()
	fabric.Eventually(t, within, func() error {
		if pageReads(f.Events(seq), "") == 0 {
			return fmt.Errorf("nobody has read the page")
		}
		return nil
	})
}

// TestFinderReboot boots a CDC again and again: with its counter begun anew and slow, empty until its database is there, empty for
// good, and at another address. What is connected goes only when the page stays empty for longer than it is doubted.
func TestFinderReboot(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	multicast(t)
	fabric.Run(t, "ip", "addr", "add", "198.19.0.2/24", "dev", "stas-d0")
	startAvahi(t)
	played(t, storage)
	const first, second = "198.19.0.1", "198.19.0.2"
	both := []string{"sim1", "sim2"}
	cdc := directory{first, 1000, both, ""}.boot(t)
	const conf = "[Global]\nignore-iface=true\nreconnect-delay=1\n"
	startBoth(t, conf)
	simOnce(t, 30*time.Second, both...)
	before, events := iocs(t), fabric.Record(t)

	cdc.Close()
	noneRemovedFor(t, 3*time.Second, events)
	cdc = directory{first, 1, []string{"sim1", "sim2", "sim3"}, "[fault slow]\nstep = discovery-log\naction = delay=1s\n"}.boot(t)
	t.Logf("slow, with a counter that begins anew: followed %v after the boot", simOnce(t, 30*time.Second, "sim1", "sim2", "sim3").Round(time.Millisecond))
	nothingLost(t, before, events)

	cdc.Close()
	noneRemovedFor(t, time.Second, events)
	cdc = directory{first, 1, nil, ""}.boot(t)
	awaitRead(t, cdc, 20*time.Second, 0)
	noneRemovedFor(t, 8*time.Second, events)
	cdc.Close()
	cdc = directory{first, 1, both, ""}.boot(t)
	simOnce(t, 20*time.Second, both...) // sim3 is no longer listed by a page that lists
	nothingLost(t, before, events)

	// Moved: the old one is silent, so what it listed stays, and the new one adds to it.
	cdc.Close()
	cdc = directory{second, 1, []string{"sim1", "sim4"}, ""}.boot(t)
	awaitDC(t, 20*time.Second, second+":8009")
	simOnce(t, 20*time.Second, "sim1", "sim2", "sim4")
	noneRemovedFor(t, 3*time.Second, events)
	nothingLost(t, before, events)
	if d := seenDCs(t); d[first+":8009"].Records == 0 || d[second+":8009"].Owner != "stas" {
		t.Errorf("discovery controllers: %+v", d)
	}

	// Empty for good.
	fabric.Configure(t, "stafd.conf", conf+"[Discovery controller connection management]\nempty-page-hold-down=3s\n")
	fabric.Reload(t, "stafd")
	cdc.Close()
	sim4, removals := fabric.Live(t, simPrefix+"sim4"), fabric.Record(t)
	cdc = directory{second, 1, nil, ""}.boot(t)
	booted := time.Now()
	awaitRead(t, cdc, 20*time.Second, 0)
	simOnce(t, 30*time.Second, both...)
	// No read can be older than the boot, and the one that is believed comes a hold-down after the first.
	fabric.Eventually(t, reaction, func() error { // its name is gone before that is announced
		for _, e := range removals.Events() {
			if e.Action != "remove" || e.Name != sim4[0].Name {
				continue
			}
			if took := e.Time.Sub(booted); took < 3*time.Second {
				t.Errorf("an empty page after a reboot was believed after %v", took)
			}
			return nil
		}
		return fmt.Errorf("%s was not removed", sim4[0].Name)
	})
	nothingLost(t, before, events)
}

// TestFinderLies has a CDC lie in each boot; the truth is followed after the next one.
func TestFinderLies(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	fabric.Dummy(t, "stas-d0", "198.19.0.1/24")
	played(t, storage)
	const at = "198.19.0.1"
	cdc := directory{at, 5, []string{"sim1", "sim2"}, ""}.boot(t)
	startBoth(t, "[Global]\nreconnect-delay=1\n"+noMDNS+controllers("transport=tcp;traddr="+at))
	simOnce(t, 30*time.Second, "sim1", "sim2")
	before, events := iocs(t), fabric.Record(t)
	for _, lie := range []string{"numrec=0x100000", "numrec=40", "garbage", "moving-genctr"} {
		cdc.Close()
		cdc = directory{at, 5, []string{"sim1"}, "[fault lie]\naction = " + lie + "\n"}.boot(t)
		fabric.Eventually(t, 20*time.Second, func() error {
			for _, e := range cdc.Events(0) {
				if e.Kind == "command" && strings.HasPrefix(e.Detail, "get log page 0x70") {
					return nil
				}
			}
			return fmt.Errorf("%s: nobody reads", lie)
		})
		noneRemovedFor(t, 2*time.Second, events)
		nothingLost(t, before, events)
		t.Logf("%s: kept", lie)
	}
	// A counter that stands still while the page changes: what the page says counts.
	cdc.Close()
	directory{at, 5, []string{"sim1", "sim2", "sim3"}, "[fault lie]\naction = stuck-genctr\n"}.boot(t)
	simOnce(t, 20*time.Second, "sim1", "sim2", "sim3")
	nothingLost(t, before, events)
}
