//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// TestDataSafety puts a file system over two paths under load. Meanwhile each daemon is killed fifty times at random moments, restarted and
// stopped for a while, both discovery controllers go and come back, other subsystems are zoned in and out, and the subsystem itself
// is taken off one path after the other, never off both. Not one operation fails, all that was written reads back, and in the
// end exactly what is listed is connected and ours.
func TestDataSafety(t *testing.T) {
	long(t)
	kills := 50
	if text := os.Getenv("STAS_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		must(t, err)
		kills = n
	}
	fabric.Clean(t)
	ports := []*fabric.Port{fabric.TCP(t, "127.0.0.1", service), fabric.TCP(t, "127.0.0.2", service)}
	// The discovery controllers listen for as long as something is linked.
	anchor := fabric.NewSubsystem(t, prefix+"anchor", fabric.Options{Hosts: []fabric.Host{{NQN: prefix + "nobody"}}})
	disk := fabric.NewSubsystem(t, prefix+"disk", fabric.Options{})
	others := fabric.NewSubsystems(t, prefix+"other", 4, fabric.Options{Hosts: []fabric.Host{{NQN: hostNQN(t)}}})
	for _, p := range ports {
		p.Link(t, anchor, disk)
		p.Link(t, others...)
	}
	const quick = "[Global]\nreconnect-delay=1\n"
	fabric.Configure(t, "stafd.conf", quick+noMDNS+controllers(dc, "transport=tcp;traddr=127.0.0.2;trsvcid=8009"))
	fabric.Configure(t, "stacd.conf", quick)
	fabric.Start(t, "stafd", "stacd")
	allowed := [4]bool{true, true, true, true}
	settled := func(within time.Duration) {
		t.Helper()
		fabric.Eventually(t, within, func() error {
			paths := map[string]int{}
			for _, c := range iocs(t) {
				if c.State != "live" || c.Owner() != "stas" {
					return fmt.Errorf("%s (%s) is %s, owner %q", c.Name, c.NQN, c.State, c.Owner())
				}
				paths[c.NQN]++
			}
			want := map[string]int{disk.NQN: 2}
			for i, s := range others {
				if allowed[i] {
					want[s.NQN] = 2
				}
			}
			for nqn, n := range want {
				if paths[nqn] != n {
					return fmt.Errorf("%s has %d paths, not %d", nqn, paths[nqn], n)
				}
			}
			if len(paths) != len(want) {
				return fmt.Errorf("connected are %v, wanted %v", paths, want)
			}
			return nil
		})
	}
	settled(patience)
	load := fabric.StartFiles(t, fabric.BlockDevice(t, 10*time.Second, disk.NQN, 1))
	whole := func() { // both paths of the disk are there
		t.Helper()
		fabric.Eventually(t, patience, func() error {
			if n := len(fabric.Live(t, disk.NQN)); n != 2 {
				return fmt.Errorf("the disk has %d paths", n)
			}
			return load.Err()
		})
	}
	flip := func() {
		t.Helper()
		i := rand.N(len(others))
		if allowed[i] = !allowed[i]; allowed[i] {
			others[i].Allow(t, fabric.Host{NQN: hostNQN(t)})
		} else {
			others[i].Disallow(t, hostNQN(t))
		}
	}
	turns := map[string]func(){
		"path": func() { // the subsystem leaves one of its two ports, and the page says so
			p := ports[rand.N(2)]
			p.Unlink(t, disk)
			fabric.Eventually(t, patience, func() error {
				if n := len(fabric.Live(t, disk.NQN)); n != 1 {
					return fmt.Errorf("the disk has %d live paths", n)
				}
				return nil
			})
			pause(t, time.Second)
			p.Link(t, disk)
			whole()
		},
		"target": func() { // one of the two targets restarts, its discovery controller with it
			p := ports[rand.N(2)]
			p.Down(t)
			pause(t, 2*time.Second)
			p.Up(t)
			whole()
		},
		"restart": func() { fabric.Restart(t, "stafd", "stacd") },
		"stafd away": func() {
			fabric.Stop(t, "stafd")
			flip()
			pause(t, 2*time.Second)
			fabric.Start(t, "stafd")
		},
	}
	names := []string{"path", "target", "restart", "stafd away"}
	began := time.Now()
	for n := range kills {
		for _, unit := range []string{"stafd", "stacd"} {
			flip()
			time.Sleep(rand.N(300 * time.Millisecond))
			interrupt(t, unit, "kill")
			flip()
			if err := load.Err(); err != nil {
				t.Fatalf("after kill %d of %s: %v", n+1, unit, err)
			}
		}
		if n%3 == 2 {
			name := names[(n/3)%len(names)]
			t.Logf("%d kills each in %v, %d files; now: %s", n+1, time.Since(began).Round(time.Second), load.Done(), name)
			turns[name]()
		}
	}
	settled(patience)
	registryRight(t, patience)
	load.Stop(t)
	t.Logf("%d kills of each daemon in %v", kills, time.Since(began).Round(time.Second))
}
