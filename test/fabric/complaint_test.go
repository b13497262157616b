package fabric

import (
	"slices"
	"testing"
)

// TestComplaints leaves out the keep alive that a removal cancels, and only that.
func TestComplaints(t *testing.T) {
	const (
		removed  = `[1.0] nvme nvme1: Removing ctrl: NQN "nqn.2024-01.org.example:sim3"`
		made     = `[1.1] nvme nvme1: creating 1 I/O queues.`
		long     = `[1.2] nvme nvme1: long keepalive RTT (112568 ms)`
		failed   = `[1.3] nvme nvme1: failed nvme_keep_alive_end_io error=4`
		other    = `[1.4] nvme nvme2: failed nvme_keep_alive_end_io error=4`
		io       = `[1.5] nvme nvme1: I/O timeout`
		elsewhat = `[1.6] usb 1-1: error -71`
	)
	for _, tt := range []struct {
		name        string
		lines, want []string
	}{
		{"cancelled by the removal", []string{removed, long, failed}, nil},
		{"not removed", []string{made, long, failed}, []string{failed}},
		{"made again", []string{removed, made, failed}, []string{failed}},
		{"another controller", []string{removed, other}, []string{other}},
		{"another complaint", []string{removed, io}, []string{io}},
		{"not NVMe", []string{elsewhat}, nil},
	} {
		text := ""
		for _, line := range tt.lines {
			text += line + "\n"
		}
		if got := Complaints(text); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
