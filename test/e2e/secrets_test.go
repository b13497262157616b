//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// hunt looks for secrets: 8 consecutive characters of their base64, 12 of their bytes in hexadecimal, which is as much, or 8 of their
// bytes. Fewer hexadecimal digits are in a time stamp or a checksum by chance: 8 digits of some key in one run of thirty.
type hunt struct {
	pieces map[string]piece // by their first 8 bytes
	looked int              // bytes
}

// piece is a part of a secret.
type piece struct{ secret, rest string }

func newHunt(t *testing.T, secrets map[string]string) *hunt {
	t.Helper()
	h := &hunt{pieces: map[string]piece{}}
	for name, text := range secrets {
		body := strings.Split(text, ":")[2]
		raw, err := base64.StdEncoding.DecodeString(body)
		if err != nil {
			t.Fatal(err)
		}
		raw = raw[:len(raw)-4]
		for s, n := range map[string]int{body: 8, string(raw): 8, hex.EncodeToString(raw): 12, strings.ToUpper(hex.EncodeToString(raw)): 12} {
			for i := 0; i+n <= len(s); i++ {
				h.pieces[s[i:i+8]] = piece{name, s[i+8 : i+n]}
			}
		}
	}
	return h
}

// in fails the test when text has a piece of a secret.
func (h *hunt) in(t *testing.T, where string, text []byte) {
	t.Helper()
	h.looked += len(text)
	for i := 0; i+8 <= len(text); i++ {
		if p, ok := h.pieces[string(text[i:i+8])]; ok && bytes.HasPrefix(text[i+8:], []byte(p.rest)) {
			t.Errorf("%s has a part of the %s: …%q", where, p.secret, text[max(0, i-60):i])
			return
		}
	}
}

// TestSecrets configures secrets in every place where one can be, has connections made with some of them and fail with others, and
// then looks for them wherever somebody without privileges can look, and in more places.
func TestSecrets(t *testing.T) {
	secrets := map[string]string{}
	secret := func(name string) string {
		secrets[name] = newSecret()
		return secrets[name]
	}
	tls := func(name string) string {
		secrets[name] = newTLSKey()
		return secrets[name]
	}
	host, ctrl := secret("host key of sys.conf"), secret("controller key of sys.conf")
	sub := guarded(t, fabric.Host{NQN: hostNQN(t), Key: host, CtrlKey: ctrl})
	other := fabric.NewSubsystem(t, prefix+"other", fabric.Options{Hosts: []fabric.Host{
		{NQN: prefix + "uuid:other", Key: secret("host secret of stacd.conf"), CtrlKey: secret("controller's secret of stacd.conf")}}})
	fabric.TCP(t, "127.0.0.1", 4420).Link(t, other)
	confidential(t, "sys.conf", "[Host]\nkey="+host+"\nctrl-key="+ctrl+"\n")
	line := func(port int, nqn, more string) string {
		return fmt.Sprintf("transport=tcp;traddr=127.0.0.1;trsvcid=%d;nqn=%s%s", port, nqn, more)
	}
	confidential(t, "stafd.conf", "[Global]\ntls-key="+tls("TLS key of stafd.conf")+"\ntls=false\n"+noMDNS+controllers(dc,
		dc+";host-traddr=127.0.0.3;dhchap-secret="+secret("host secret of stafd.conf")+";dhchap-ctrl-secret="+secret("controller's secret of stafd.conf"),
		"transport=tcp;traddr=127.0.0.1;trsvcid=4420;tls-key="+tls("TLS key of a line of stafd.conf"),
		// One that cannot be used.
		"transport=tcp;traddr=127.0.0.1;dhchap-secret="+secret("malformed secret of stafd.conf")+"x"))
	confidential(t, "stacd.conf", "[Global]\ntls-key="+tls("TLS key of stacd.conf")+"\ntls=false\n"+controllers(
		line(4420, other.NQN, ";host-nqn="+prefix+"uuid:other;dhchap-secret="+secrets["host secret of stacd.conf"]+";dhchap-ctrl-secret="+secrets["controller's secret of stacd.conf"]),
		line(4420, prefix+"refused", ";dhchap-secret="+secret("unused host secret of stacd.conf")),
		line(4420, prefix+"tls", ";tls-key="+tls("TLS key of a line of stacd.conf")),
		line(4420, prefix+"bad", ";dhchap-secret=x"+secret("malformed secret of stacd.conf")),
		line(4420, prefix+"worse", ";dhchap-secert="+secret("secret under a wrong name")),
	)+"dhchap-secret="+secret("secret in a wrong place")+"\n")
	confidential(t, "/etc/nvme/nvme-stas.conf", "[Discovery Controller]\nkxchap-secret = "+secret("host secret of a section of nvme-stas.conf")+
		"\ncontroller = transport=tcp;traddr=127.0.0.4;trsvcid=8009\n"+
		"\n[Subsystem]\nnqn = "+prefix+"three\ntls = true\ntls-key = "+tls("TLS key of nvme-stas.conf")+
		"\nkxchap-secret = "+secret("host secret of nvme-stas.conf")+"\nkxchap-ctrl-secret = "+secret("controller's secret of nvme-stas.conf")+"\ncontroller = transport=tcp;traddr=127.0.0.1;trsvcid=4420\n")
	confidential(t, "/etc/nvme/hostkey", secret("host key of /etc/nvme")+"\n")
	h := newHunt(t, secrets)

	began := time.Now()
	monitor := exec.Command("busctl", "monitor", "--json=short")
	var seen bytes.Buffer
	monitor.Stdout = &seen
	if err := monitor.Start(); err != nil {
		t.Fatal(err)
	}
	cores(t)
	fabric.Start(t, "stafd", "stacd")
	fabric.AwaitLive(t, 60*time.Second, sub.NQN)
	said(t, began, 60*time.Second, "stacd", prefix+"refused", "cannot connect")
	said(t, began, 60*time.Second, "stacd", prefix+"tls", "cannot connect")
	said(t, began, 60*time.Second, "stacd", prefix+"three", "cannot connect")
	closed(t)
	fabric.Run(t, "stafctl", "tron")
	fabric.Run(t, "stacctl", "tron")
	fabric.Reload(t, "stafd", "stacd")

	t.Run("processes", func(t *testing.T) { processes(t, h) })
	t.Run("bus", func(t *testing.T) { h.in(t, "what nobody sees on the bus", visit(t)) })
	t.Run("tools", func(t *testing.T) {
		for _, c := range []string{"stafctl ls -d", "stafctl adlp -d", "stafctl status", "stacctl ls -d", "stacctl status", "stasadm check"} {
			f := strings.Fields(c)
			out, _ := exec.Command(f[0], f[1:]...).CombinedOutput()
			h.in(t, c, out)
		}
	})
	t.Run("files", func(t *testing.T) { files(t, h) })
	t.Run("crash", func(t *testing.T) {
		for _, unit := range []string{"stafd", "stacd"} {
			for _, signal := range []string{"ABRT", "SEGV"} {
				fabric.Run(t, "systemctl", "reset-failed", unit)
				before := fabric.MainPID(t, unit)
				fabric.Signal(t, unit, signal)
				fabric.Eventually(t, 20*time.Second, func() error {
					// Before it is active, systemd's own process may be the main one.
					if pid := fabric.MainPID(t, unit); pid == 0 || pid == before || fabric.Property(t, unit, "ActiveState") != "active" {
						return errors.New(unit + " is not running again")
					}
					return nil
				})
			}
		}
		if found, _ := filepath.Glob(coreFiles + "*"); len(found) > 0 {
			t.Errorf("there are core dumps: %v", found)
		}
		// The proof works: others are dumped.
		_ = fabric.Try("sh", "-c", "kill -SEGV $$")
		fabric.Eventually(t, 10*time.Second, func() error {
			found, _ := filepath.Glob(coreFiles + "*")
			if len(found) != 1 {
				return fmt.Errorf("core dumps: %v", found)
			}
			return os.Remove(found[0])
		})
	})
	_ = monitor.Process.Kill()
	_ = monitor.Wait()
	if seen.Len() < 1000 {
		t.Errorf("the monitor saw %d bytes", seen.Len())
	}
	h.in(t, "the bus", seen.Bytes())
	h.in(t, "the journal", []byte(fabric.Run(t, "journalctl", "-q", "-o", "export", "--since", fmt.Sprintf("@%d", began.Unix()))))
	h.in(t, "the list of keys", []byte(content(t, "/proc/keys")))
	t.Logf("%d secrets, none in %d bytes", len(secrets), h.looked)
}

const coreFiles = "/var/tmp/stas-core."

// cores has the kernel write core dumps where the test finds them, if it writes any.
func cores(t *testing.T) {
	t.Helper()
	const pattern = "/proc/sys/kernel/core_pattern"
	before := content(t, pattern)
	// A program that ignores the limit of size, which the kernel leaves to it.
	if err := os.WriteFile("/var/tmp/stas-dump", []byte("#!/bin/sh\nexec cat >"+coreFiles+"$1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pattern, []byte("|/var/tmp/stas-dump %p"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(pattern, []byte(before), 0) })
}

// processes looks at arguments and environment of the daemons and their workers.
func processes(t *testing.T, h *hunt) {
	workers := 0
	for _, unit := range []string{"stafd", "stacd"} {
		cgroup := fabric.Property(t, unit, "ControlGroup")
		for _, pid := range strings.Fields(content(t, "/sys/fs/cgroup"+cgroup+"/cgroup.procs")) {
			n, err := strconv.Atoi(pid)
			if err != nil {
				t.Fatal(err)
			}
			if n != fabric.MainPID(t, unit) {
				workers++
			}
			for _, f := range []string{"cmdline", "environ"} {
				if b, err := os.ReadFile("/proc/" + pid + "/" + f); err == nil {
					h.in(t, unit+"'s "+f, b)
				}
			}
			if info, err := os.Stat("/proc/" + pid + "/limits"); err == nil && info.Sys().(*syscall.Stat_t).Uid != 0 {
				t.Errorf("process %s of %s belongs to user %d", pid, unit, info.Sys().(*syscall.Stat_t).Uid)
			}
			for _, f := range []string{"mem", "environ", "maps", "fd/0"} {
				if out, err := asNobody("head", "-c1", "/proc/"+pid+"/"+f); err == nil {
					t.Errorf("nobody reads %s of %s: %q", f, unit, out)
				}
			}
		}
	}
	if workers == 0 {
		t.Error("no worker runs")
	}
}

// visit has nobody call everything that the daemons offer on the bus.
func visit(t *testing.T) []byte {
	t.Helper()
	program := "/var/tmp/stas-visit"
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, b, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(program) })
	cmd := exec.Command(program, "-test.run=^TestAsNobody$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), asNobodyEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.HasPrefix(line, "visited ") || strings.HasPrefix(line, "no argument ") {
			t.Log(line)
		}
	}
	for _, want := range []string{"list_controllers", "controller_info", "process_info", "get_all_log_pages", "GetManagedObjects", prefix + "guarded"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("nobody did not see %s", want)
		}
	}
	return out
}

// files looks into what the daemons keep, and tries as nobody what has secrets.
func files(t *testing.T, h *hunt) {
	n := 0
	for _, dir := range []string{"/run/stafd", "/run/stacd", "/run/nvme"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a directory that was there for a moment
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			n++
			h.in(t, path, b)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if n == 0 {
		t.Error("the daemons keep no files")
	}
	for _, path := range []string{"/etc/stas/sys.conf", "/etc/stas/stafd.conf", "/etc/stas/stacd.conf", "/etc/nvme/nvme-stas.conf", "/etc/nvme/hostkey"} {
		if out, err := asNobody("cat", path); err == nil || !strings.Contains(out, "Permission denied") {
			t.Errorf("nobody can read %s", path)
		}
	}
}
