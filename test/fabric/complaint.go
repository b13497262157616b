package fabric

import (
	"regexp"
	"strings"
)

var (
	complaint = regexp.MustCompile(`(?i)error|fail|warn|mismatch|invalid|duplicate|unsupported|bug|unexpected|bogus|i/o timeout`)
	removing  = regexp.MustCompile(`nvme (nvme[0-9]+): Removing ctrl`)
	made      = regexp.MustCompile(`nvme (nvme[0-9]+): (?:creating|new ctrl)`)
	keepAlive = regexp.MustCompile(`nvme (nvme[0-9]+): (?:long keepalive RTT|failed nvme_keep_alive_end_io)`)
)

// Complaints are the lines about NVMe in a part of the kernel's log that no healthy target provokes. A keep alive that is
// under way when its controller is removed is none of the target's doing: the kernel cancels it and reports it as failed
// (drivers/nvme/host/core.c, nvme_keep_alive_end_io), with a round trip as long as the machine has been up.
func Complaints(dmesg string) []string {
	var out []string
	gone := map[string]bool{}
	for line := range strings.SplitSeq(dmesg, "\n") {
		if m := removing.FindStringSubmatch(line); m != nil {
			gone[m[1]] = true
		}
		if m := made.FindStringSubmatch(line); m != nil {
			delete(gone, m[1])
		}
		if m := keepAlive.FindStringSubmatch(line); m != nil && gone[m[1]] {
			continue
		}
		if strings.Contains(line, "nvme") && complaint.MatchString(line) {
			out = append(out, line)
		}
	}
	return out
}
