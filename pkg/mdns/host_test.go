package mdns

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMembershipWarning(t *testing.T) {
	if w := membershipWarning(20, 20); w != nil {
		t.Errorf("at the limit: %q", w)
	}
	if w := membershipWarning(21, 20); len(w) != 1 || !strings.Contains(w[0], "21 interfaces") {
		t.Errorf("beyond it: %q", w)
	}
}

func TestZeroconf(t *testing.T) {
	for in, want := range map[string]bool{
		"":                                      false,
		"zeroconf = true":                       false,
		"[Global]\nzeroconf = true\n":           true,
		"[Global]\n zeroconf=TRUE":              true,
		"[Global]\n#zeroconf = true":            false,
		"[Global]\nzeroconf=1\nzeroconf=false":  false,
		"[Other]\nzeroconf = true":              false,
		"[Global]\n[Other]\nzeroconf = enabled": false,
	} {
		if got := zeroconf(strings.NewReader(in)); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestRivalOnlyWhileItRuns(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("etc/nvme/discoverd.conf", "[Global]\nzeroconf = true\n")
	if w := hostWarnings(root); w != nil {
		t.Errorf("not running: %q", w)
	}
	put(discoverdSocket, "")
	if w := hostWarnings(root); len(w) != 1 || !strings.Contains(w[0], "/etc/nvme/discoverd.conf") {
		t.Errorf("running: %q", w)
	}
	put("etc/nvme/discoverd.conf", "[Global]\nzeroconf = false\n")
	if w := hostWarnings(root); w != nil {
		t.Errorf("off: %q", w)
	}
}

func TestRivalsFileIsNotWaitedFor(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"etc/nvme", filepath.Dir(discoverdSocket)} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, discoverdSocket), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, discoverdFiles[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 1)
	go func() { done <- rival(root) }()
	select {
	case file := <-done:
		if file != "" {
			t.Error(file)
		}
	case <-time.After(10 * time.Second):
		_ = os.WriteFile(filepath.Join(root, discoverdFiles[0]), nil, 0o600) // lets it go on
		t.Error("the FIFO is waited for")
	}
}
