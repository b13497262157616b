//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stas-go/stas/test/fabric"
)

// TestHardening looks at what the running daemons and their workers may do.
func TestHardening(t *testing.T) {
	_, subs := connected(t, 1)
	for _, d := range []struct {
		unit         string
		capabilities uint64
		exposure     float64
		work         []string // has its worker at work: it goes after ten seconds without
	}{
		{"stafd", 1 << 21, 2.3, []string{"stafctl", "refresh", address}}, // CAP_SYS_ADMIN (include/uapi/linux/capability.h)
		{"stacd", 0, 2.1, []string{"stacctl", "reconnect", subs[0].NQN}},
	} {
		group := fabric.Property(t, d.unit, "ControlGroup")
		fabric.Run(t, d.work[0], d.work[1:]...)
		var processes []string
		fabric.Eventually(t, reaction, func() error {
			if processes = strings.Fields(content(t, "/sys/fs/cgroup"+group+"/cgroup.procs")); len(processes) < 2 {
				return fmt.Errorf("%s has no worker", d.unit)
			}
			return nil
		})
		for _, pid := range processes {
			status := map[string]string{}
			for line := range strings.Lines(content(t, "/proc/"+pid+"/status")) {
				key, value, _ := strings.Cut(line, ":")
				status[key] = strings.TrimSpace(value)
			}
			for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
				if got, err := strconv.ParseUint(status[set], 16, 64); err != nil || got != d.capabilities {
					t.Errorf("%s, process %s (%s): %s is %s, not %x", d.unit, pid, status["Name"], set, status[set], d.capabilities)
				}
			}
			if status["Seccomp"] != "2" || status["NoNewPrivs"] != "1" {
				t.Errorf("%s, process %s: Seccomp is %s, NoNewPrivs %s", d.unit, pid, status["Seccomp"], status["NoNewPrivs"])
			}
		}
		out := fabric.Run(t, "systemd-analyze", "security", "--no-pager", d.unit+".service")
		found := regexp.MustCompile(`level for \S+: ([0-9.]+)`).FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("no exposure in %s", out)
		}
		var exposure float64
		if _, err := fmt.Sscan(found[1], &exposure); err != nil || exposure > d.exposure {
			t.Errorf("exposure of %s is %s, more than %.1f:\n%s", d.unit, found[1], d.exposure, out)
		}
		t.Logf("exposure of %s: %s", d.unit, found[1])
	}
}
