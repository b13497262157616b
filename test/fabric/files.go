package fabric

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Files is a file system under load: files are written to it, written through, and read back from the device, until it is stopped.
type Files struct {
	device string
	dir    string
	done   atomic.Int64
	worst  atomic.Int64 // ns
	sums   map[string]uint64
	stop   chan struct{}
	result chan error
}

const (
	fileCount = 24
	fileSize  = 128 << 10
)

// StartFiles makes an ext4 file system on the device, mounts it and starts the load.
func StartFiles(t testing.TB, device string) *Files {
	t.Helper()
	w := &Files{device: device, dir: t.TempDir(), sums: map[string]uint64{}, stop: make(chan struct{}), result: make(chan error, 1)}
	// What the journal or the tables cannot write ends the load at once.
	Run(t, "mkfs.ext4", "-q", "-F", "-e", "remount-ro", device)
	Run(t, "mount", device, w.dir)
	t.Cleanup(func() { _ = Try("umount", w.dir) })
	go func() { w.result <- w.loop() }()
	return w
}

func (w *Files) loop() error {
	noise := rand.NewPCG(uint64(time.Now().UnixNano()), 1)
	content := make([]byte, fileSize)
	for n := 0; ; n++ {
		select {
		case <-w.stop:
			return nil
		default:
		}
		for i := 0; i < len(content); i += 8 {
			binary.NativeEndian.PutUint64(content[i:], noise.Uint64())
		}
		name := fmt.Sprintf("file%d", n%fileCount)
		began := time.Now()
		if err := w.put(name, content); err != nil {
			return err
		}
		if err := w.verify(fmt.Sprintf("file%d", rand.N(min(n+1, fileCount)))); err != nil {
			return err
		}
		w.done.Add(1)
		w.worst.Store(max(w.worst.Load(), int64(time.Since(began))))
	}
}

// put writes a file through to the device.
func (w *Files) put(name string, content []byte) error {
	f, err := os.Create(filepath.Join(w.dir, name))
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	w.sums[name] = crc64.Checksum(content, table)
	return err
}

// verify reads a file past the page cache.
func (w *Files) verify(name string) error {
	f, err := os.OpenFile(filepath.Join(w.dir, name), os.O_RDONLY|syscall.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	sum, block := uint64(0), aligned()
	for at := int64(0); at < fileSize; at += blockSize {
		if n, err := f.ReadAt(block, at); n != blockSize {
			return fmt.Errorf("%s: %d bytes at %d: %w", name, n, at, err)
		}
		sum = crc64.Update(sum, table, block)
	}
	if sum != w.sums[name] {
		return fmt.Errorf("%s on %s reads back as something else", name, w.device)
	}
	return nil
}

// Done is how many files were written and how many read back.
func (w *Files) Done() int64 { return w.done.Load() }

// Err is what has ended the load, nil while it goes on.
func (w *Files) Err() error {
	select {
	case err := <-w.result:
		w.result <- err
		return fmt.Errorf("the load on %s has ended: %w", w.device, err)
	default:
		return nil
	}
}

// Stop ends the load and reads everything once more from the device, after a new mount and a check of the file system. It fails
// the test when anything failed, differs, or hangs.
func (w *Files) Stop(t testing.TB) {
	t.Helper()
	close(w.stop)
	select {
	case err := <-w.result:
		if err != nil {
			t.Errorf("load on %s: %v", w.device, err)
		}
	case <-time.After(time.Minute):
		t.Fatalf("the load on %s hangs after %d files", w.device, w.Done())
	}
	if w.Done() == 0 {
		t.Errorf("no file was written to %s", w.device)
	}
	Run(t, "umount", w.dir)
	Run(t, "fsck.ext4", "-fn", w.device)
	Run(t, "mount", w.device, w.dir)
	for name := range w.sums {
		if err := w.verify(name); err != nil {
			t.Error(err)
		}
	}
	Run(t, "umount", w.dir)
	t.Logf("%d files of %d KiB written and read back, the slowest in %v", w.Done(), fileSize>>10, time.Duration(w.worst.Load()).Round(time.Millisecond))
}
