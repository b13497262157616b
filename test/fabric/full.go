package fabric

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// FillRun takes the last free byte of /run, and gives what frees it again; the end of the test does, too.
func FillRun(t testing.TB) (free func()) {
	t.Helper()
	const name = "/run/stas-filler"
	free = func() {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(free)
	defer func() { _ = f.Close() }()
	var s syscall.Statfs_t
	if err := syscall.Statfs("/run", &s); err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	for size := int64(s.Bfree) * s.Bsize; size >= s.Bsize; {
		switch err := syscall.Fallocate(int(f.Fd()), 0, at, size); {
		case err == nil:
			at += size
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		default:
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("/run/stas-probe", []byte("x"), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("/run is not full: %v", err)
	}
	_ = os.Remove("/run/stas-probe")
	return free
}

// ReadOnly makes a directory read-only, and gives what ends that; the end of the test does, too.
func ReadOnly(t testing.TB, dir string) (end func()) {
	t.Helper()
	mounted := true
	end = func() {
		if mounted {
			mounted = false
			Run(t, "umount", dir)
		}
	}
	Run(t, "mount", "--bind", dir, dir)
	t.Cleanup(end)
	Run(t, "mount", "-o", "remount,bind,ro", dir)
	return end
}
