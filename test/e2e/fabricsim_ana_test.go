//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/test/fabric"
)

// TestSimANA has the kernel's multipath follow the states of two paths: an event on the wire, the state in sysfs, and I/O
// that goes on as long as one path reaches the namespace.
func TestSimANA(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	f := simulate(t, strings.Replace(simulation, "count = 3\n", "count = 3\nana = p2=non-optimized\n", 1))
	nqn := simPrefix + "sim1"
	names := map[string]string{"p1": mustAttach(t, "p1", nqn, ""), "p2": mustAttach(t, "p2", nqn, "")}
	device := fabric.BlockDevice(t, 10*time.Second, nqn, 1)
	sees := func(port string, want nvme.ANAState) {
		t.Helper()
		took := fabric.Eventually(t, 10*time.Second, func() error {
			paths, _ := filepath.Glob("/sys/class/nvme/" + names[port] + "/nvme*c*n1/ana_state")
			if len(paths) != 1 {
				return fmt.Errorf("%s has the paths %q", names[port], paths)
			}
			b, err := os.ReadFile(paths[0])
			if state := strings.TrimSpace(string(b)); err != nil || state != want.String() {
				return fmt.Errorf("%s is %q (%v), not %s", paths[0], state, err, want)
			}
			return nil
		})
		t.Logf("%s is %s after %v", port, want, took.Round(time.Millisecond))
	}
	sees("p1", nvme.ANAOptimized)
	sees("p2", nvme.ANANonOptimized)
	traffic := fabric.StartIO(t, device, 0)
	for _, change := range []struct {
		port  string
		state nvme.ANAState
	}{
		{"p1", nvme.ANAInaccessible}, {"p2", nvme.ANAOptimized}, {"p1", nvme.ANANonOptimized}, {"p2", nvme.ANAChange}, {"p2", nvme.ANAOptimized},
	} {
		must(t, f.SetANA("sim1", change.port, change.state))
		sees(change.port, change.state)
		before := traffic.Blocks()
		fabric.Eventually(t, 10*time.Second, func() error {
			if traffic.Blocks() < before+5 {
				return errors.New("no I/O is done")
			}
			return nil
		})
	}
	traffic.Stop(t)
	// What was under way when a path went is repeated over the other; the kernel tells of it, by the name of the path.
	for _, line := range fabric.Complaints(dmesg(t)) {
		if !hiddenPath.MatchString(line) {
			t.Errorf("the kernel complains: %s", line)
		}
	}
}

// hiddenPath is the name of a namespace by one path.
var hiddenPath = regexp.MustCompile(`nvme[0-9]+c[0-9]+n[0-9]+`)
