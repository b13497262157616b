package daemon

import (
	"os"
	"os/exec"
	"testing"
)

// Whoever reads the log may go, as the journal when it is stopped. That SIGPIPE is the end of a process is no failure to
// systemd, which would not start the daemon anew.
func TestNobodyReadsTheLog(t *testing.T) {
	const inside = "STAS_TEST_NOBODY_READS"
	if os.Getenv(inside) != "" {
		log := newLog(newTracing(false), true)
		log.Info("into the void")
		log.Info("and once more")
		os.Exit(7)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestNobodyReadsTheLog$")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stderr = w
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("the daemon ended: %v", err)
	}
}
