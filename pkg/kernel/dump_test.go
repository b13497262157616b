package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The worker's memory, through which secrets go, is closed to whoever may not trace everything: files in /proc that show it
// belong to root instead of to its user.
func TestKeepMemory(t *testing.T) {
	dumpable := func() int {
		n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := dumpable()
	KeepMemory()
	if n := dumpable(); n != 0 {
		t.Errorf("dumpable is %d", n)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(before), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
}

// A worker process is what it is wherever it is started: without an environment that could show anything.
func TestWorkerShowsNothing(t *testing.T) {
	b := newBench(t, nil)
	b.controller("nvme4", discoveryAttrs)
	b.script("192.0.2.1", "ok 4 17")
	if _, err := b.Connect(t.Context(), connectTo("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(b.pid()) + "/" + name)
		if errors.Is(err, os.ErrPermission) {
			continue // closed even to its own user
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "sesame") {
			t.Errorf("%s has the secret", name)
		}
	}
}

// The secrets that sysfs shows are shut while the kernel still connects, and those of others are left alone.
func TestSecretsShutWhileConnecting(t *testing.T) {
	b := newBench(t, nil)
	b.controller("nvme3", with(discoveryAttrs, "dhchap_secret", "DHHC-1:00:sesame\n"))
	b.script("192.0.2.1", "ok 4 17")
	wake := b.hang("192.0.2.1")
	done := make(chan error, 1)
	go func() {
		_, err := b.Connect(t.Context(), connectTo("192.0.2.1"))
		done <- err
	}()
	await(t, "the connect", func() bool { return len(b.lines("writes")) > 0 })
	b.controller("nvme5", with(discoveryAttrs, "dhchap_secret", "DHHC-1:00:another\n"))
	b.controller("nvme4", with(discoveryAttrs, "dhchap_secret", "DHHC-1:00:sesame\n", "dhchap_ctrl_secret", "none\n"))
	mode := func(name, attr string) os.FileMode {
		info, err := os.Stat(filepath.Join(b.root, "class/nvme", name, attr))
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	await(t, "mode 0600", func() bool {
		return mode("nvme4", "dhchap_secret") == 0o600 && mode("nvme4", "dhchap_ctrl_secret") == 0o600
	})
	for _, name := range []string{"nvme3", "nvme5"} {
		if m := mode(name, "dhchap_secret"); m == 0o600 {
			t.Errorf("%s has mode %v", name, m)
		}
	}
	wake()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
