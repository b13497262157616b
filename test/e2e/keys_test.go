//go:build e2e

package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// nobody is a user without any rights.
const nobody = 65534

// newKey makes a key of n bytes in the text form that DH-HMAC-CHAP ("DHHC-1:00:") and TLS ("NVMeTLSkey-1:01:") share.
func newKey(prefix string, n int) string {
	key := make([]byte, n, n+4)
	_, _ = rand.Read(key)
	key = binary.LittleEndian.AppendUint32(key, crc32.ChecksumIEEE(key))
	return prefix + base64.StdEncoding.EncodeToString(key) + ":"
}

func newSecret() string { return newKey("DHHC-1:00:", 32) }

// confidential is fabric.Configure for a file that only root may read, until the end of the test.
func confidential(t *testing.T, name, content string) {
	t.Helper()
	fabric.Configure(t, name, content)
	if !strings.Contains(name, "/") {
		name = "/etc/stas/" + name
	}
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(name, 0o644) })
}

// asNobody runs a program as nobody; what it writes comes back, with the error.
func asNobody(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// closed fails the test when somebody but root can read the secrets that sysfs has of the controllers. Those of a controller that is being
// connected are open for the moment that the kernel takes to make it, and gone with it, maybe to come again, when the connect fails.
func closed(t *testing.T) {
	t.Helper()
	n := 0
	for _, c := range fabric.Controllers(t) {
		for _, attribute := range []string{"dhchap_secret", "dhchap_ctrl_secret"} {
			path, there := filepath.Join("/sys/class/nvme", c.Name, attribute), false
			if text, _ := os.ReadFile(path); strings.TrimSpace(string(text)) == "none" {
				continue // none was given; who may read that differs between kernels
			}
			fabric.Eventually(t, time.Second, func() error {
				info, err := os.Stat(path)
				if there = err == nil; there && info.Mode().Perm() != 0o600 {
					return fmt.Errorf("%s has mode %04o", path, info.Mode().Perm())
				}
				if errors.Is(err, os.ErrNotExist) {
					return nil // the kernel shows none where none was given
				}
				return err
			})
			if !there || c.State != "live" {
				continue
			}
			n++
			if out, err := asNobody("cat", path); err == nil || !strings.Contains(out, "Permission denied") {
				t.Errorf("nobody can read %s: %v", path, err)
			}
		}
	}
	if n == 0 {
		t.Error("sysfs has no secrets")
	}
}

// said waits until the daemon's journal has all of the texts in one line.
func said(t *testing.T, since time.Time, within time.Duration, unit string, texts ...string) {
	t.Helper()
	fabric.Eventually(t, within, func() error {
	line:
		for line := range strings.Lines(fabric.Journal(t, since, unit)) {
			for _, text := range texts {
				if !strings.Contains(line, text) {
					continue line
				}
			}
			return nil
		}
		return fmt.Errorf("%s never said %q", unit, texts)
	})
}

// unsaid fails the test when the journal has any of the keys.
func unsaid(t *testing.T, since time.Time, keys ...string) {
	t.Helper()
	j := fabric.Journal(t, since)
	for n, key := range keys {
		if strings.Contains(j, strings.Split(key, ":")[2][:16]) {
			t.Errorf("the journal has key %d", n)
		}
	}
}

// kernelLog shows the kernel's messages of the test when it fails.
func kernelLog(t *testing.T) {
	t.Helper()
	began := time.Now()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kernel:\n%s", fabric.Run(t, "journalctl", "-k", "-q", "--no-pager", "-o", "short-precise", "--since", fmt.Sprintf("@%d", began.Unix())))
		}
	})
}
