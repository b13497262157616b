package fabricsim

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// Five hundred hosts stay connected and registered; a zone change reaches each that
// it concerns within 50 ms, and nobody else.
func TestFiveHundredHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	const hosts = 500
	var text strings.Builder
	text.WriteString("[port p1]\naddress = 127.0.0.1\nservice = 0\n[dc cdc]\ntype = cdc\nports = p1\nzoning = yes\n" +
		"[subsystem s]\nnqn = nqn.2024-01.org.example:s\ncount = 100\nports = p1\nnamespace = 1G\n[zone all]\nmembers = s1")
	for i := range hosts {
		fmt.Fprintf(&text, "\n  %s", uuidNQN(i+1))
	}
	text.WriteString("\n[zone half]\nmembers =")
	for i := 0; i < hosts; i += 2 {
		fmt.Fprintf(&text, "\n  %s", uuidNQN(i+1))
	}
	f := start(t, text.String())
	list := make([]*nvmetcp.Host, hosts)
	var wg sync.WaitGroup
	gate := make(chan struct{}, 32)
	for i := range list {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			list[i] = enroll(t, f, uuidNQN(i+1))
		})
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, h := range list {
			if h != nil {
				wg.Go(func() { h.Close() })
			}
		}
		wg.Wait()
	})
	if t.Failed() {
		return
	}
	time.Sleep(hold) // keep alives are all that happens
	if n := len(f.Hosts().Registrations); n != hosts {
		t.Fatalf("%d hosts are registered", n)
	}
	told := func(change func(string, ...string) error) (worst time.Duration) {
		waitRequests(t, f)
		at := make([]time.Time, hosts)
		for i := 0; i < hosts; i += 2 {
			wg.Go(func() {
				if _, err := list[i].WaitEvent(t.Context()); err != nil {
					t.Error(err)
				}
				at[i] = time.Now()
			})
		}
		begin := time.Now()
		if err := change("half", "s2"); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		for i := 0; i < hosts; i += 2 {
			worst = max(worst, at[i].Sub(begin))
			if _, err := list[i].ReadDiscoveryLog(t.Context(), 0); err != nil { // and may be told again
				t.Fatal(err)
			}
		}
		return worst
	}
	worst := told(f.AddToZone)
	for i := 0; i < 5 && worst > patience*50*time.Millisecond && !t.Failed(); i++ { // the machine may have stood still
		told(f.RemoveFromZone)
		worst = min(worst, told(f.AddToZone))
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("slowest event after %v; %d MiB of memory for both ends", worst, m.Sys>>20)
	if worst > patience*50*time.Millisecond {
		t.Errorf("slowest event after %v", worst)
	}
	if m.Sys > 200<<20 {
		t.Errorf("%d MiB of memory", m.Sys>>20)
	}
	for i := 1; i < hosts; i += 2 {
		if n := f.controllerOf(uuidNQN(i + 1)).Requests(); n != 1 {
			t.Fatalf("host %d, which the change does not concern, has %d requests outstanding", i, n)
		}
	}
}

// keepAlive is long enough for five hundred of them to be answered in time on a busy machine.
const keepAlive = 24 * time.Second

// hold is how long the hosts stay connected: until each has sent a keep alive, or what
// FABRICSIM_HOLD says for a longer look.
var hold = func() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("FABRICSIM_HOLD")); err == nil {
		return d
	}
	return keepAlive/2 + time.Second
}()

func enroll(t *testing.T, f *Fabric, nqn string) *nvmetcp.Host {
	h, err := nvmetcp.Dial(t.Context(), nvmetcp.HostConfig{Endpoint: nvmetcp.Endpoint{Addr: f.Addr("p1")},
		HostNQN: nqn, HostID: nvme.HostID{1}, KeepAlive: keepAlive, CommandTimeout: 20 * time.Second})
	if err != nil {
		t.Error(err)
		return nil
	}
	d := &nvme.DIM{EntityType: nvme.DIMHost, NQN: nqn, Entries: []nvme.DIMEntry{{HostID: nvme.HostID{1},
		DiscoveryEntry: nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP, SubNQN: nqn}}}}
	if err := h.DIM(t.Context(), nvme.DIMRegister, d); err != nil {
		t.Error(err)
	}
	if err := h.EnableEvents(t.Context(), nvme.OAESDiscovery); err != nil {
		t.Error(err)
	}
	if log, err := h.ReadDiscoveryLog(t.Context(), 0); err != nil || len(log.Entries) != 2 {
		t.Errorf("page of %s: %v, %v", nqn, log, err)
	}
	return h
}

func (f *Fabric) controllerOf(hostNQN string) *nvmetcp.Controller {
	for _, c := range f.target.Controllers() {
		if c.HostNQN() == hostNQN {
			return c
		}
	}
	return nil
}
