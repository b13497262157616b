//go:build e2e

package e2e

import (
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// TestSimHold holds connections for ten minutes: one to a discovery controller that has nothing to say and lives by its
// keep-alives, and two paths to a file system that is written to and read back all the time. Neither breaks, and the
// kernel has nothing to complain about.
func TestSimHold(t *testing.T) {
	long(t)
	fabric.Clean(t)
	const during = 10 * time.Minute
	f := simulate(t, simulation)
	nqn := simPrefix + "sim1"
	mark(t)
	// The target gives up a host that is silent for KATO and five seconds.
	mustAttach(t, "p1", simPrefix+"cdc", ",discovery,keep_alive_tmo=10")
	mustAttach(t, "p1", nqn, ",hdr_digest,data_digest")
	mustAttach(t, "p2", nqn, ",keep_alive_tmo=10")
	device, dir := fabric.BlockDevice(t, 10*time.Second, nqn, 1), t.TempDir()
	fabric.Run(t, "mkfs.ext4", "-q", "-F", device)
	fabric.Run(t, "mount", device, dir)
	before, events := fabric.Controllers(t), fabric.Record(t)
	if len(before) != 3 {
		t.Fatalf("%d controllers", len(before))
	}
	rounds, size := uint64(0), 0
	for began := time.Now(); time.Since(began) < during && !t.Failed(); rounds++ {
		n, err := checkedFile(filepath.Join(dir, fmt.Sprintf("file%d", rounds%8)), rounds)
		if err != nil {
			t.Errorf("round %d: %v", rounds, err)
		}
		size += n
	}
	t.Logf("%d files, %d MB written and read back", rounds, size>>20)
	fabric.Run(t, "umount", dir)
	fabric.Run(t, "fsck.ext4", "-fn", device)
	fabric.Unharmed(t, before)
	events.NoneRemoved(t)
	if n := events.Count("change", "connected"); n > 0 {
		t.Errorf("%d connections were made anew", n)
	}
	for _, c := range f.Hosts().Controllers {
		t.Logf("controller %d (%s) has been there for %v", c.Cntlid, c.Type, time.Since(c.Since).Round(time.Second))
		if time.Since(c.Since) < during {
			t.Errorf("controller %d was connected at %v", c.Cntlid, c.Since)
		}
	}
	noComplaints(t)
}

// checkedFile writes a few megabytes that depend on seed, and reads them back from the target.
func checkedFile(path string, seed uint64) (int, error) {
	source := rand.NewPCG(seed, 1)
	noise := make([]byte, 0, 1<<20+int(source.Uint64()%(3<<20))&^7)
	for len(noise) < cap(noise) {
		noise = binary.NativeEndian.AppendUint64(noise, source.Uint64())
	}
	want := crc64.Checksum(noise, crcTable)
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	_, err = file.Write(noise)
	if serr := file.Sync(); err == nil {
		err = serr
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0); err != nil {
		return 0, err
	}
	got, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	if sum := crc64.Checksum(got, crcTable); sum != want || len(got) != len(noise) {
		return 0, fmt.Errorf("%d bytes read back have the checksum %x, not %x of the %d written", len(got), sum, want, len(noise))
	}
	return len(got), nil
}

var crcTable = crc64.MakeTable(crc64.ECMA)
