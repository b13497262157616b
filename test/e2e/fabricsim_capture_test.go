//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// TestSimCapture has tcpdump record what the kernel and nvme-cli say to fabricsim, and it to them, for test/capture to
// dissect on the build machine: make capture.
func TestSimCapture(t *testing.T) {
	out := os.Getenv("STAS_OUT")
	if os.Getenv("STAS_CAPTURE") == "" || out == "" {
		t.Skip("make capture runs it")
	}
	fabric.Clean(t)
	key := strings.TrimSpace(fabric.Run(t, "nvme", "gen-dhchap-key", "-n", hostNQN(t), "-m", "1"))
	f := simulate(t, simulation)
	capture(t, filepath.Join(out, "kernel.pcap"))

	name := mustAttach(t, "p1", simPrefix+"cdc", ",discovery,keep_alive_tmo=1")
	keepFromRule(t, name)
	events := fabric.Record(t)
	fabric.Run(t, "nvme", "discover", "-d", name)
	fabric.Run(t, "nvme", "dim", "--task=register", "--device="+name)
	fabric.Run(t, "nvme", "supported-log-pages", "/dev/"+name)
	must(t, f.AddToZone("here", "sim3"))
	events.Await(t, 5*time.Second, 1, "change", "0x70f002")
	fabric.Run(t, "nvme", "dim", "--task=deregister", "--device="+name)
	fabric.Run(t, "nvme", "disconnect", "-d", name)
	for i, options := range []string{"", ",hdr_digest,data_digest", ",disable_sqflow,data_digest"} {
		nqn := fmt.Sprintf("%ssim%d", simPrefix, i+1)
		mustAttach(t, "p1", nqn, options)
		mustAttach(t, "p2", nqn, options)
		device := fabric.BlockDevice(t, 10*time.Second, nqn, 1)
		// Within the capsule, and by R2T; the pages of both paths.
		for _, size := range []string{"4k", "1M"} {
			fabric.Run(t, "dd", "if=/dev/urandom", "of="+device, "bs="+size, "count=4", "oflag=direct", "status=none")
			fabric.Run(t, "dd", "if="+device, "of=/dev/null", "bs="+size, "count=4", "iflag=direct", "status=none")
		}
		fabric.Run(t, "blkdiscard", device)
		fabric.Run(t, "udevadm", "settle") // who is still reading when it goes makes the kernel complain
		fabric.Run(t, "nvme", "disconnect", "-n", nqn)
	}
	f.Close()

	f = simulate(t, simulation+"[host me]\nnqn = "+hostNQN(t)+"\ndhchap-key = "+key+"\n")
	mustAttach(t, "p1", simPrefix+"sim1", ",dhchap_secret="+key)
	must(t, readBlock(fabric.BlockDevice(t, 10*time.Second, simPrefix+"sim1", 1)))
	fabric.Run(t, "udevadm", "settle")
	fabric.Run(t, "nvme", "disconnect", "-n", simPrefix+"sim1")
	f.Close()
	noComplaints(t)
}

// capture records what passes through lo until the end of the test.
func capture(t *testing.T, file string) {
	t.Helper()
	cmd := exec.Command("tcpdump", "-i", "lo", "-s", "0", "-B", "65536", "-w", "/var/tmp/capture", "--immediate-mode", "tcp port 4500 or tcp port 4501")
	messages, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	line := make([]byte, 256) // "listening on lo, ..."
	n, err := messages.Read(line)
	must(t, err)
	t.Logf("tcpdump: %s", line[:n])
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		rest, _ := io.ReadAll(messages)
		t.Logf("tcpdump: %s", rest)
		if err := cmd.Wait(); err != nil {
			t.Errorf("tcpdump: %v", err)
		}
		if !strings.Contains(string(rest), "\n0 packets dropped") {
			t.Errorf("the capture is not complete")
		}
		fabric.Run(t, "cp", "/var/tmp/capture", file)
	})
}
