package kernel

import (
	"time"

	"golang.org/x/sys/unix"
)

// secretAttrs show the DH-HMAC-CHAP secrets of a controller in clear text, with
// mode 0644 (drivers/nvme/host/sysfs.c). Kernels without authentication do not have them.
var secretAttrs = []string{"dhchap_secret", "dhchap_ctrl_secret"}

// ShutSecrets takes from others the right to read the secrets of a controller of ours, which
// the kernel shows to everybody.
func (s Sysfs) ShutSecrets(name string) {
	for _, attr := range secretAttrs {
		_ = unix.Chmod(s.classDir()+"/"+name+"/"+attr, 0o600)
	}
}

// How often new controllers are looked for while a connect is in the kernel.
const (
	shutFirst = 2 * time.Millisecond
	shutMost  = 100 * time.Millisecond
)

// shutMeanwhile does so during a connect: the controller is in sysfs long before the kernel has
// an answer, which is a minute where a target does not end a failed authentication. It
// goes by the secret itself, as a controller that comes into being may be somebody else's. The result
// ends it.
func (h *host) shutMeanwhile(w *wanted) (end func()) {
	if !w.hasSecrets() {
		return func() {}
	}
	known := map[string]bool{}
	names, _ := h.sysfs.Names()
	for _, n := range names {
		known[n] = true
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for pause := shutFirst; ; pause = min(2*pause, shutMost) {
			select {
			case <-done:
				return
			case <-time.After(pause):
			}
			names, _ := h.sysfs.Names()
			for _, n := range names {
				if !known[n] && h.holdsSecret(n, w) {
					h.sysfs.ShutSecrets(n)
					return
				}
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func (w *wanted) hasSecrets() bool { return w.DHCHAPSecret != "" || w.DHCHAPCtrl != "" }

// holdsSecret says whether a controller was made with the secrets of w.
func (h *host) holdsSecret(name string, w *wanted) bool {
	dir, err := h.sysfs.openController(name)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(dir) }()
	for i, secret := range []string{w.DHCHAPSecret, w.DHCHAPCtrl} {
		if secret != "" && attribute(dir, secretAttrs[i]) != secret {
			return false
		}
	}
	return true
}
