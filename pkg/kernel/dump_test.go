package kernel

import (
	"errors"
	"os"
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
