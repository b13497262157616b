//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// pair is two discovery controllers of their own, each with a subsystem of its own.
const pair = `
[port a]
address = 127.0.0.1
service = 8101
[port b]
address = 127.0.0.1
service = 8102
[dc a]
nqn = nqn.2024-01.org.example:a
ports = a
subsystems = sa
[dc b]
nqn = nqn.2024-01.org.example:b
ports = b
subsystems = sb sc
[subsystem sa]
nqn = nqn.2024-01.org.example:sim1
ports = a
namespace = 64M
[subsystem sb]
nqn = nqn.2024-01.org.example:sim2
ports = b
namespace = 64M
`

const (
	lineA = "transport=tcp;traddr=127.0.0.1;trsvcid=8101"
	lineB = "transport=tcp;traddr=127.0.0.1;trsvcid=8102"
	atA   = "127.0.0.1:8101"
	atB   = "127.0.0.1:8102"
)

// TestFinderExclude has exclude= end a live discovery controller that is ours at once, and nothing else; without it the controller comes back.
func TestFinderExclude(t *testing.T) {
	fabric.Clean(t)
	played(t, strings.Replace(pair, "subsystems = sb sc", "subsystems = sb", 1))
	conf := noMDNS + controllers(lineA, lineB)
	startBoth(t, conf)
	simOnce(t, 15*time.Second, "sim1", "sim2")
	a, events := awaitDC(t, time.Second, atA), fabric.Record(t)
	keep := fabric.Live(t, simPrefix+"sim1")

	fabric.Configure(t, "stafd.conf", conf+"exclude=transport=tcp;traddr=127.0.0.1;trsvcid=8102;host-traddr=127.0.0.9\nexclude=\n")
	fabric.Reload(t, "stafd")
	noneRemovedFor(t, 2*time.Second, events) // another source address, and an entry that says nothing

	fabric.Configure(t, "stafd.conf", conf+"exclude=transport=tcp;traddr=::ffff:127.0.0.1;trsvcid=8102\n")
	began := time.Now()
	fabric.Reload(t, "stafd")
	stalls, reloaded := fabric.WatchStalls(t), time.Now()
	took := fabric.Eventually(t, reaction, func() error {
		if n := liveDCs(t)[atB]; n != 0 {
			return fmt.Errorf("%s is connected", atB)
		}
		return nil
	})
	t.Logf("excluded and gone after %v, of which the reload took %v", time.Since(began).Round(time.Millisecond), (time.Since(began) - took).Round(time.Millisecond))
	if fabric.TooLong(reloaded, time.Second, stalls) {
		t.Errorf("an excluded discovery controller was connected for %v", took)
	}
	simOnce(t, 5*time.Second, "sim1")
	fabric.Unharmed(t, append(keep, a))
	fabric.Configure(t, "stafd.conf", conf)
	fabric.Reload(t, "stafd")
	awaitDC(t, 5*time.Second, atB)
	simOnce(t, 5*time.Second, "sim1", "sim2")
	fabric.Unharmed(t, append(keep, a))
}

// exclude replaces the host-wide exclusion list, as nvme-cli does.
func exclude(t *testing.T, entries ...string) {
	t.Helper()
	const file = "/etc/nvme/exclusions.conf"
	text := "[exclusions]\n"
	for _, e := range entries {
		text += "exclusion = " + e + "\n"
	}
	must(t, os.WriteFile(file+".new", []byte(text), 0o644))
	must(t, os.Rename(file+".new", file))
}

// TestFinderHostWide puts a live discovery controller on the host-wide list: it stays with its page as it was, whatever the
// controller says now, and is not made anew once it is lost. Off the list it is connected without a restart, and its page counts.
func TestFinderHostWide(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := played(t, strings.Replace(pair, "subsystems = sb sc", "subsystems = sb sc\nzoning = yes", 1)+
		"[subsystem sc]\nnqn = "+simPrefix+"sim3\nports = b\nnamespace = 64M\n[zone z]\nmembers = "+hostNQN(t)+" sb\n")
	startBoth(t, noMDNS+controllers(lineA, lineB))
	simOnce(t, 15*time.Second, "sim1", "sim2")
	b, events := awaitDC(t, time.Second, atB), fabric.Record(t)
	before := iocs(t)

	exclude(t, "transport=tcp;traddr=127.0.0.1;trsvcid=8102")
	fabric.Eventually(t, 5*time.Second, func() error {
		if d := seenDCs(t)[atB]; d.Disposition != "frozen" {
			return fmt.Errorf("disposition %q", d.Disposition)
		}
		return nil
	})
	must(t, f.AddToZone("z", "sc"))
	must(t, f.RemoveFromZone("z", "sb"))
	noneRemovedFor(t, 3*time.Second, events)
	nothingLost(t, append(before, b), events)
	simOnce(t, time.Second, "sim1", "sim2")

	fabric.Run(t, "nvme", "disconnect", "-d", b.Name)
	fabric.Never(t, 4*time.Second, func() error {
		if liveDCs(t)[atB] != 0 {
			return fmt.Errorf("an excluded discovery controller was connected anew")
		}
		return nil
	})
	nothingLost(t, before, events)
	exclude(t)
	began := time.Now()
	awaitDC(t, 5*time.Second, atB)
	t.Logf("connected again %v after it left the list", time.Since(began).Round(time.Millisecond))
	simOnce(t, 5*time.Second, "sim1", "sim3")
}

// TestFinderParks lets go of a discovery controller that does not ask to be held, holds one that does, and keeps what both have
// said. A parked one is read again when its time has come.
func TestFinderParks(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := played(t, strings.Replace(pair, "[dc a]", "[dc a]\nepcsd = yes", 1)+
		"[subsystem sc]\nnqn = "+simPrefix+"sim3\nports = b\nnamespace = 64M\n")
	startBoth(t, noMDNS+"[Discovery controller connection management]\npersistent=auto\nepcsd-poll-interval-minutes=1\n"+controllers(lineA, lineB))
	simOnce(t, 15*time.Second, "sim1", "sim2", "sim3")
	fabric.Eventually(t, 5*time.Second, func() error {
		live, d := liveDCs(t), seenDCs(t)
		if live[atA] != 1 || live[atB] != 0 || !d[atB].Parked || d[atA].Parked || d[atB].Records == 0 {
			return fmt.Errorf("live %v, shown %+v", live, d)
		}
		return nil
	})
	parked := time.Now()
	before, events, seq := fabric.Controllers(t), fabric.Record(t), lastEvent(f)
	fabric.Run(t, "udevadm", "trigger", "--subsystem-match=nvme", "--action=change") // nothing to it
	must(t, f.RemoveSubsystem("sc"))
	fabric.AwaitGone(t, 20*time.Second, simPrefix+"sim3") // the target ends it; the kernel gives up at once
	fabric.Never(t, 4*time.Second, func() error {
		if n := connects(f.Events(seq), "b"); n > 0 {
			return fmt.Errorf("%d connects to a parked discovery controller", n)
		}
		return nil
	})
	fabric.Eventually(t, 70*time.Second-time.Since(parked), func() error {
		if n := pageReads(f.Events(seq), "b"); n == 0 {
			return fmt.Errorf("not read again")
		}
		return nil
	})
	t.Logf("read again %v after it was parked", time.Since(parked).Round(time.Second))
	fabric.Eventually(t, 5*time.Second, func() error {
		if n := liveDCs(t)[atB]; n != 0 {
			return fmt.Errorf("still connected")
		}
		return nil
	})
	left := before[:0]
	for _, c := range before {
		if c.NQN != simPrefix+"sim3" {
			left = append(left, c)
		}
	}
	nothingLost(t, left, events)
}
