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
	Run(t, "udevadm", "settle") // what it replaces there leaves room
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
	at := int64(0)
	for try := 0; ; try++ {
		var s syscall.Statfs_t
		if err := syscall.Statfs("/run", &s); err != nil {
			t.Fatal(err)
		}
		for size := max(int64(s.Bfree), 1) * s.Bsize; size >= s.Bsize; {
			switch err := syscall.Fallocate(int(f.Fd()), 0, at, size); {
			case err == nil:
				at += size
			case errors.Is(err, syscall.ENOSPC):
				size /= 2
			default:
				t.Fatal(err)
			}
		}
		err := os.WriteFile("/run/stas-probe", []byte("x"), 0o600)
		_ = os.Remove("/run/stas-probe")
		if errors.Is(err, syscall.ENOSPC) {
			return free
		}
		if try == 5 { // somebody may have freed something meanwhile
			t.Fatalf("/run is not full: %v", err)
		}
	}
}

// ReadOnly makes a directory read-only, and gives what ends that; the end of the test does, too.
func ReadOnly(t testing.TB, dir string) (end func()) {
	t.Helper()
	mounted := true
	end = func() {
		if mounted {
			mounted = false
			Run(t, "umount", "--lazy", dir) // whatever has a file there open at the moment
		}
	}
	Run(t, "mount", "--bind", dir, dir)
	t.Cleanup(end)
	Run(t, "mount", "-o", "remount,bind,ro", dir)
	return end
}
