//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stas-go/stas/test/fabric"
)

// predecessor is where the image has nvme-stas 2.x, unpacked and not installed.
const predecessor = "/opt/nvme-stas"

// installPredecessor has systemd run nvme-stas 2.x as stafd and stacd, by its own units and with its own configuration files, to
// which controllers are added.
func installPredecessor(t *testing.T, staf, stac string) {
	t.Helper()
	units, _ := filepath.Glob(predecessor + "/usr/lib/systemd/system/sta?d.service")
	if len(units) != 2 {
		t.Skip("this image has no nvme-stas")
	}
	for _, unit := range units {
		name := strings.TrimSuffix(filepath.Base(unit), ".service")
		text := strings.Replace(content(t, unit), "/usr/bin/python3 -u /usr/sbin/", predecessor+"/run/", 1) + "\n"
		if err := os.WriteFile("/etc/systemd/system/"+name+".service", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fabric.Run(t, "systemctl", "daemon-reload")
	t.Cleanup(func() { removePredecessor(t) })
	for name, more := range map[string]string{"stafd.conf": staf, "stacd.conf": stac} {
		text := content(t, predecessor+"/etc/stas/"+name)
		text = strings.Replace(text, "[Service Discovery]\n", "[Service Discovery]\nzeroconf=disabled\n", 1)
		fabric.Configure(t, name, text+"\n"+more)
	}
}

// removePredecessor leaves the units of this package, which were covered so far.
func removePredecessor(t *testing.T) {
	t.Helper()
	for _, unit := range []string{"stafd", "stacd"} {
		_ = os.Remove("/etc/systemd/system/" + unit + ".service")
	}
	fabric.Run(t, "systemctl", "daemon-reload")
}

// sums are the checksums and modes of all files below the directories.
func sums(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			all[path] = fmt.Sprintf("%x %v %v", sha256.Sum256(b), info.Mode(), info.ModTime())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// awaitKnown waits until stacctl shows each subsystem with the device that it is connected by.
func awaitKnown(t *testing.T, devices map[string]string) {
	t.Helper()
	fabric.Eventually(t, 60*time.Second, func() error {
		var list []map[string]string
		out := ask(t, "stacctl", "ls", "-o", "json")
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		got := map[string]string{}
		for _, c := range list {
			got[c["subsysnqn"]] = c["device"]
		}
		if diff := cmp.Diff(devices, got); diff != "" {
			return fmt.Errorf("stacctl ls: %s", diff)
		}
		return nil
	})
}

// TestSwitch takes over a host that runs nvme-stas 2.x, as an installation of this package does: its connections stay, its files
// stay as they are, and what changes afterwards is followed.
func TestSwitch(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	port := fabric.TCP(t, address, service)
	subs := fabric.NewSubsystems(t, prefix+"s", 3, fabric.Options{})
	port.Link(t, subs...)
	alone, shunned := fabric.NewSubsystem(t, prefix+"alone", fabric.Options{}), fabric.NewSubsystem(t, prefix+"shunned", fabric.Options{})
	fabric.TCP(t, "127.0.0.1", 4420).Link(t, alone)
	port.Link(t, shunned)
	// Keys of the present and of the past. That excluded is excluded for both shows that both read it alike.
	installPredecessor(t, "controller="+dc+"\n", "controller=transport=tcp;traddr=127.0.0.1;trsvcid=4420;nqn="+alone.NQN+"\n"+
		"blacklist=transport=tcp;nqn="+shunned.NQN+"\n")
	all := append(subs, alone)

	fabric.Start(t, "stafd", "stacd")
	fabric.AwaitLive(t, 2*time.Minute, fabric.NQNs(all)...)
	if comm := content(t, fmt.Sprintf("/proc/%d/comm", fabric.MainPID(t, "stafd"))); !strings.HasPrefix(comm, "python") {
		t.Fatalf("%s runs", comm)
	}
	before, files := fabric.Controllers(t), sums(t, "/etc/stas", "/etc/nvme")
	if len(before) != len(all)+1 {
		t.Fatalf("%d controllers", len(before))
	}
	devices := map[string]string{}
	for _, c := range before {
		if !c.Discovery() {
			devices[c.NQN] = c.Name
		}
	}
	u := watchAll(t, all...)

	fabric.Stop(t, "stacd", "stafd")
	removePredecessor(t)
	switched := time.Now()
	fabric.Start(t, "stafd", "stacd")
	awaitKnown(t, devices)
	t.Logf("all known %v after the switch", time.Since(switched).Round(10*time.Millisecond))
	if comm := content(t, fmt.Sprintf("/proc/%d/comm", fabric.MainPID(t, "stafd"))); comm != "stafd" {
		t.Fatalf("%s runs", comm)
	}
	fabric.Never(t, 3*time.Second, u.gone)
	u.proven(t)
	fabric.Unharmed(t, before)
	if n := len(fabric.Controllers(t)); n != len(before) {
		t.Errorf("%d controllers, %d before", n, len(before))
	}
	if diff := cmp.Diff(files, sums(t, "/etc/stas", "/etc/nvme")); diff != "" {
		t.Errorf("files changed (-before +after):\n%s", diff)
	}

	extra := fabric.NewSubsystem(t, prefix+"extra", fabric.Options{})
	port.Link(t, extra)
	fabric.AwaitLive(t, 20*time.Second, extra.NQN)
	fabric.Unharmed(t, before)
}
