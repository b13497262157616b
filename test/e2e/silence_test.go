//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// quiet is how long a test watches that something does not happen. It is longer than the daemons take to act on anything.
const quiet = 3 * time.Second

// TestStafdAbsent starts stacd where nobody answers for stafd: what an earlier run connected stays, and stays when stafd comes.
func TestStafdAbsent(t *testing.T) {
	_, subs := connected(t, 4)
	u := watchAll(t, subs...)
	fabric.Stop(t, "stacd", "stafd")
	fabric.Start(t, "stacd")
	fabric.Never(t, quiet, u.gone)
	fabric.Start(t, "stafd")
	awaitOwned(t, reaction, subs...)
	fabric.Never(t, quiet, u.gone)
	u.proven(t)
}

// TestStafdHung has a subsystem zoned out while stafd does not run: it goes when stafd does, and not before.
func TestStafdHung(t *testing.T) {
	wide(t)
	port, subs := connected(t, 3)
	zoned := fabric.NewSubsystem(t, prefix+"zoned", fabric.Options{Hosts: []fabric.Host{{NQN: hostNQN(t)}}})
	port.Link(t, zoned)
	awaitOwned(t, reaction, append(subs, zoned)...)
	u := watchAll(t, subs...)

	fabric.Signal(t, "stafd", "STOP")
	zoned.Disallow(t, hostNQN(t))
	fabric.Never(t, quiet, u.gone)
	// A stacd that starts anew gets no answer at all.
	fabric.Restart(t, "stacd")
	fabric.Never(t, quiet, u.gone)
	fabric.Signal(t, "stafd", "CONT")
	fabric.AwaitGone(t, reaction, zoned.NQN)
	u.proven(t)
}

// TestDiscoveryUnreachable kills stafd, its discovery controller being out of reach and disconnected: what its page listed stays,
// with the page that it had kept and without.
func TestDiscoveryUnreachable(t *testing.T) {
	_, subs := connected(t, 4)
	u := watchAll(t, subs...)
	cutOff(t)
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"page kept", func() {}},
		{"page lost", func() { fabric.Run(t, "find", "/run/stafd", "-ignore_readdir_race", "-type", "f", "-delete") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			fabric.Stop(t, "stacd")
			fabric.Signal(t, "stafd", "KILL")
			c.do()
			for _, d := range fabric.Controllers(t) {
				if d.Discovery() {
					fabric.Run(t, "nvme", "disconnect", "-d", d.Name)
				}
			}
			fabric.Start(t, "stafd", "stacd")
			fabric.Never(t, quiet, u.gone)
			fabric.Signal(t, "stacd", "KILL")
			fabric.Never(t, quiet, u.gone)
		})
	}
	fabric.Run(t, "nft", "delete", "table", "inet", "stas")
	awaitOwned(t, 15*time.Second, subs...)
	fabric.Never(t, quiet, u.gone)
	u.proven(t)
}

// cutOff refuses new connections to the discovery controller's address; those that are there go on.
func cutOff(t *testing.T) {
	t.Helper()
	fabric.Run(t, "nft", "add", "table", "inet", "stas")
	t.Cleanup(func() { _ = fabric.Try("nft", "delete", "table", "inet", "stas") })
	fabric.Run(t, "nft", "add", "chain", "inet", "stas", "out", "{ type filter hook output priority 0; }")
	fabric.Run(t, "nft", "add", "rule", "inet", "stas", "out", "tcp", "dport", "8009", "tcp", "flags", "syn", "/", "syn,ack", "drop")
}
