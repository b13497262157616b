package fabric

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// BlockDevice waits until namespace id of the subsystem has its block device on this host, and returns its path. With native
// multipath that is one device for all paths.
func BlockDevice(t testing.TB, within time.Duration, nqn string, id int) string {
	t.Helper()
	var device string
	Eventually(t, within, func() error {
		names, _ := filepath.Glob("/sys/class/nvme-subsystem/nvme-subsys*/subsysnqn")
		for _, n := range names {
			b, _ := os.ReadFile(n)
			if strings.TrimSpace(string(b)) != nqn {
				continue
			}
			name := strings.Replace(filepath.Base(filepath.Dir(n)), "nvme-subsys", "nvme", 1)
			device = fmt.Sprintf("/dev/%sn%d", name, id)
			// The kernel makes the node a moment before it can be opened (block/genhd.c, device_add_disk).
			if f, err := os.Open(device); err == nil {
				return f.Close()
			}
		}
		return fmt.Errorf("%s has no block device for namespace %d", nqn, id)
	})
	return device
}

const blockSize = 4096

var table = crc64.MakeTable(crc64.ECMA)

// IO writes to a block device and reads back what it wrote, block after block, past the page cache, until it is stopped.
type IO struct {
	device string
	blocks atomic.Int64
	stop   chan struct{}
	result chan error
}

// StartIO starts checksummed I/O on the device, a block each interval (0 means 20 ms). It uses the first MiB of it.
func StartIO(t testing.TB, device string, interval time.Duration) *IO {
	t.Helper()
	if interval == 0 {
		interval = 20 * time.Millisecond
	}
	f, err := os.OpenFile(device, os.O_RDWR|syscall.O_DIRECT|syscall.O_SYNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := &IO{device: device, stop: make(chan struct{}), result: make(chan error, 1)}
	go func() {
		err := w.loop(f, interval)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		w.result <- err
	}()
	return w
}

func (w *IO) loop(f *os.File, interval time.Duration) error {
	block, back := aligned(), aligned()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := uint64(0); ; n++ {
		select {
		case <-w.stop:
			return nil
		case <-tick.C:
		}
		for i := 8; i < blockSize-8; i += 8 {
			binary.LittleEndian.PutUint64(block[i:], n*uint64(i))
		}
		binary.LittleEndian.PutUint64(block, n)
		binary.LittleEndian.PutUint64(block[blockSize-8:], crc64.Checksum(block[:blockSize-8], table))
		at := int64(n%256) * blockSize
		if _, err := f.WriteAt(block, at); err != nil {
			return fmt.Errorf("block %d: %w", n, err)
		}
		if _, err := f.ReadAt(back, at); err != nil {
			return fmt.Errorf("block %d: %w", n, err)
		}
		if !bytes.Equal(block, back) {
			return fmt.Errorf("block %d of %s reads back as something else", n, w.device)
		}
		w.blocks.Add(1)
	}
}

// aligned is a block at an address that direct I/O takes.
func aligned() []byte {
	b := make([]byte, 2*blockSize)
	skip := (blockSize - int(uintptr(unsafe.Pointer(&b[0]))%blockSize)) % blockSize
	return b[skip : skip+blockSize : skip+blockSize]
}

// Blocks is how many blocks were written and read back.
func (w *IO) Blocks() int64 { return w.blocks.Load() }

// Stop ends the I/O and fails the test when any of it failed, when it hangs, or when none was done.
func (w *IO) Stop(t testing.TB) {
	t.Helper()
	close(w.stop)
	select {
	case err := <-w.result:
		if err != nil {
			t.Errorf("I/O on %s: %v", w.device, err)
		}
		if w.Blocks() == 0 {
			t.Errorf("no I/O was done on %s", w.device)
		}
	case <-time.After(Slow(30 * time.Second)):
		t.Errorf("I/O on %s hangs after %d blocks", w.device, w.Blocks())
	}
}
