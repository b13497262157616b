package fabric

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// links are the interfaces that functions of this package make.
var links = []string{"stas-hole", "stas-v0", "stas-d0", "stas-d1"}

// Clean makes the machine as it was after its boot, whatever the test before left behind: daemons stopped and their
// state gone, no fabrics controller, no target, no interface of ours, the configuration as installed, no
// exclusion, no registry entry. When the test fails, the daemons' journal since here is shown.
func Clean(t testing.TB) {
	t.Helper()
	announce(t, "")
	since := time.Now()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("controllers at the end:\n%s", describe(controllers()))
			t.Logf("journal of the daemons:\n%s", lastOf(journal(since, "stafd", "stacd"), 150))
		}
	})
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"daemons", stopDaemons},
		{"controllers", disconnectAll},
		{"target", removeTarget},
		{"interfaces", removeLinks},
		{"state", removeState},
		{"configuration", restoreConfiguration},
		{"modules", loadModules},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("cannot clean up %s: %v", step.what, err)
		}
	}
	// The removal of what the test before left may make the kernel complain: that is no part of this test.
	announce(t, ", from clean")
}

// announce writes the test's name where it explains what follows: into the kernel's log and with it the journal.
func announce(t testing.TB, then string) {
	_ = put("/dev/kmsg", fmt.Sprintf("<5>stas-test: === %s%s\n", t.Name(), then))
}

var loadModules = sync.OnceValue(func() error {
	_, err := output("modprobe", "-a", "nvme-fabrics", "nvme-tcp", "nvmet", "nvmet-tcp")
	return err
})

// stopDaemons stops the daemons and whatever worker of theirs still runs.
func stopDaemons() error {
	for _, unit := range []string{"stafd.service", "stacd.service"} {
		if _, err := os.Stat("/usr/lib/systemd/system/" + unit); err != nil {
			continue
		}
		// A test may have stopped the process with a signal, so that it cannot answer a polite request.
		_, _ = output("systemctl", "kill", "--kill-whom=all", "--signal=CONT", unit)
		if _, err := output("systemctl", "stop", unit); err != nil {
			return err
		}
		_, _ = output("systemctl", "kill", "--kill-whom=all", "--signal=KILL", unit)
		_, _ = output("systemctl", "reset-failed", unit)
	}
	// What nvme-cli's rule has started for an event of the test before: it would connect, or fail, in this one.
	const beside = "nvmf-connect@*.service"
	_, _ = output("systemctl", "stop", beside)
	_, _ = output("systemctl", "reset-failed", beside)
	return nil
}

// disconnectAll deletes every fabrics controller. The deletions run side by side, as one can take long. One that is refused is asked for
// again: the kernel refuses it for a controller that it is still connecting, for a worker that was killed in the middle of that.
func disconnectAll() error {
	deadline := time.Now().Add(90 * time.Second)
	var asked sync.Map // names that the kernel is about to delete
	deleted := false
	for {
		left := controllers()
		if len(left) == 0 {
			if deleted {
				_ = Settle() // what udev still does after so long is no fault of the test
			}
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("still there:\n%s", describe(left))
		}
		for _, c := range left {
			deleted = true
			if _, already := asked.LoadOrStore(c.Name, true); !already {
				go func() {
					_ = put("/sys/class/nvme/"+c.Name+"/delete_controller", "1") // what stays is seen above
					asked.Delete(c.Name)
				}()
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Settle waits until udev is done with what has happened so far: for each controller that goes or comes it works longer than
// the kernel, and would take the machine, or hold the devices, of what follows.
func Settle() error {
	_, err := output("udevadm", "settle", "--timeout=120")
	return err
}

// removeTarget empties nvmet's configuration.
func removeTarget() error {
	ports, _ := filepath.Glob(nvmet + "/ports/*")
	for _, p := range ports {
		if err := removeAll(p + "/subsystems/*"); err != nil {
			return err
		}
		referrals, _ := filepath.Glob(p + "/referrals/*")
		for _, r := range referrals {
			_ = put(r+"/enable", "0")
			if err := os.Remove(r); err != nil {
				return err
			}
		}
		groups, _ := filepath.Glob(p + "/ana_groups/*")
		for _, g := range groups {
			if filepath.Base(g) != "1" { // the first one is the port's own
				if err := os.Remove(g); err != nil {
					return err
				}
			}
		}
		if err := os.Remove(p); err != nil {
			return err
		}
	}
	subsystems, _ := filepath.Glob(nvmet + "/subsystems/*")
	for _, s := range subsystems {
		if err := removeSubsystem(s); err != nil {
			return err
		}
	}
	if err := removeAll(nvmet + "/hosts/*"); err != nil {
		return err
	}
	if err := removeFC(); err != nil {
		return err
	}
	return os.RemoveAll(backing)
}

func removeSubsystem(path string) error {
	namespaces, _ := filepath.Glob(path + "/namespaces/*")
	for _, n := range namespaces {
		_ = put(n+"/enable", "0")
		if err := os.Remove(n); err != nil {
			return err
		}
	}
	if err := removeAll(path + "/allowed_hosts/*"); err != nil {
		return err
	}
	return os.Remove(path)
}

// removeAll removes each file that the pattern names.
func removeAll(pattern string) error {
	names, err := filepath.Glob(pattern)
	for _, n := range names {
		if err := os.Remove(n); err != nil {
			return err
		}
	}
	return err
}

func removeLinks() error {
	there := func(l string) bool { _, err := os.Stat("/sys/class/net/" + l); return err == nil }
	for _, l := range links {
		if !there(l) {
			continue
		}
		// One end of a pair goes by itself some time after the network namespace of the other was deleted.
		if _, err := output("ip", "link", "del", l); err != nil && there(l) {
			return err
		}
	}
	return nil
}

// removeState removes what the daemons keep in /run, registry entries and exclusions.
func removeState() error {
	for _, pattern := range []string{"/run/stafd/*", "/run/stacd/*", "/run/nvme/registry/*", "/etc/nvme/exclusions.conf*"} {
		names, _ := filepath.Glob(pattern)
		for _, n := range names {
			if err := os.RemoveAll(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// original is the installed content of each file that Configure has changed; nil where there was none.
var original = make(map[string][]byte)

func restoreConfiguration() error {
	for path, content := range original {
		var err error
		if content == nil {
			if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		} else {
			err = os.WriteFile(path, content, 0o644)
		}
		if err != nil {
			return err
		}
		delete(original, path)
	}
	return nil
}

// Configure writes a configuration file until the next Clean. A name without a slash is one in /etc/stas.
func Configure(t testing.TB, name, content string) {
	t.Helper()
	path := name
	if !strings.Contains(name, "/") {
		path = "/etc/stas/" + name
	}
	if _, known := original[path]; !known {
		before, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		original[path] = before
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
