//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/test/fabric"
)

// The target of TLS tests is in a network namespace of its own, with a tlshd and a keyring of its own: in a shared keyring the two
// ends of a connection find each other's keys, be they right or wrong.
const (
	tlsNamespace = "stas-tls"
	tlsAddress   = "198.51.100.2"
	tlsService   = 4420
	tlsKeyring   = "stas-target"
	// hostKeyring is one of the host's that the target's tlshd does not know: .nvme it knows in any case.
	hostKeyring = "stas-host"
)

// newTLSKey is an arbitrary key for SHA-256 in interchange form.
func newTLSKey() string { return newKey("NVMeTLSkey-1:01:", 32) }

// tlsTarget makes a subsystem behind a port that demands TLS, and gives the target the keys of this host for it and
// for its discovery service.
func tlsTarget(t *testing.T, key string) *fabric.Subsystem {
	t.Helper()
	fabric.Clean(t)
	kernelLog(t)
	if fabric.Try("modprobe", "nvme-keyring") != nil || fabric.Try("which", "tlshd") != nil {
		t.Skip("this system has no TLS for NVMe")
	}
	sub := fabric.NewSubsystem(t, prefix+"tls", fabric.Options{})
	_ = fabric.Try("ip", "netns", "del", tlsNamespace)
	fabric.Run(t, "ip", "netns", "add", tlsNamespace)
	t.Cleanup(func() {
		fabric.Clean(t)
		_ = fabric.Try("systemctl", "stop", "tlshd-target", "tlshd-host")
		_ = fabric.Try("ip", "netns", "del", tlsNamespace)
		for _, ring := range []string{".nvme", tlsKeyring, hostKeyring} {
			clearKeyring(t, ring)
		}
	})
	fabric.Run(t, "ip", "link", "add", "stas-v0", "type", "veth", "peer", "name", "stas-v1", "netns", tlsNamespace)
	fabric.Run(t, "ip", "addr", "add", "198.51.100.1/24", "dev", "stas-v0")
	fabric.Run(t, "ip", "link", "set", "stas-v0", "up")
	fabric.Run(t, "ip", "-n", tlsNamespace, "addr", "add", tlsAddress+"/24", "dev", "stas-v1")
	fabric.Run(t, "ip", "-n", tlsNamespace, "link", "set", "stas-v1", "up")
	fabric.Run(t, "ip", "-n", tlsNamespace, "link", "set", "lo", "up")

	for _, ring := range []string{tlsKeyring, hostKeyring} {
		if keyringSerial(t, ring) == "" {
			// Only who possesses a keyring may let others, such as tlshd, at it.
			fabric.Run(t, "keyctl", "session", "-", "sh", "-c", "keyctl link @u @s && keyctl setperm $(keyctl newring "+ring+" @u) 0x3f3f0000")
		}
	}
	for _, ring := range []string{".nvme", tlsKeyring, hostKeyring} {
		clearKeyring(t, ring)
	}
	for _, nqn := range []string{sub.NQN, nvme.DiscoveryNQN} {
		insert(t, tlsKeyring, key, nqn, 1)
	}
	tlshd(t, "tlshd-target", tlsKeyring, "-p", "NetworkNamespacePath=/run/netns/"+tlsNamespace)
	tlshd(t, "tlshd-host", ".nvme;"+hostKeyring)

	port := fabric.NewPort(t, fabric.PortOptions{Transport: "tcp", Address: tlsAddress, Service: strconv.Itoa(tlsService), Security: "tls1.3", Require: "required"})
	// The port's socket belongs to the namespace of whoever links the first subsystem.
	fabric.Run(t, "nsenter", "--net=/run/netns/"+tlsNamespace, "ln", "-s", "/sys/kernel/config/nvmet/subsystems/"+sub.NQN,
		fmt.Sprintf("/sys/kernel/config/nvmet/ports/%d/subsystems/%s", port.ID, sub.NQN))
	fabric.Configure(t, "stafd.conf", noMDNS)
	fabric.Configure(t, "stacd.conf", "")
	return sub
}

// tlshd starts the handshake daemon as a unit that uses one keyring.
func tlshd(t *testing.T, unit, keyring string, properties ...string) {
	t.Helper()
	conf := "/run/" + unit + ".conf"
	if err := os.WriteFile(conf, []byte("[debug]\nloglevel=1\n[authenticate]\nkeyrings="+keyring+"\n[authenticate.client]\n[authenticate.server]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_ = fabric.Try("systemctl", "stop", unit)
	args := append([]string{"--quiet", "--collect", "--unit=" + unit, "-p", "KeyringMode=private"}, properties...)
	fabric.Run(t, "systemd-run", append(args, "/usr/sbin/tlshd", "-c", conf)...)
}

// keyringSerial is the serial number of a keyring, hexadecimal; empty where there is none.
func keyringSerial(t *testing.T, name string) string {
	t.Helper()
	for line := range strings.Lines(content(t, "/proc/keys")) {
		if f := strings.Fields(line); len(f) > 8 && f[7] == "keyring" && strings.TrimSuffix(f[8], ":") == name {
			return "0x" + f[0]
		}
	}
	return ""
}

func clearKeyring(t *testing.T, name string) {
	t.Helper()
	if serial := keyringSerial(t, name); serial != "" {
		fabric.Run(t, "keyctl", "clear", serial)
	}
}

// insert puts the key of this host for a subsystem into a keyring, and returns its identity.
func insert(t *testing.T, keyring, key, nqn string, version nvme.TLSIdentityVersion) (identity string) {
	t.Helper()
	parsed, err := nvme.ParseTLSKey(key)
	if err != nil {
		t.Fatal(err)
	}
	identity, psk, err := parsed.Derive(version, hostNQN(t), nqn, nvme.TLSStandard)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, psk.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	fabric.Run(t, "sh", "-c", `keyctl padd psk "$1" "$2" <"$3"`, "sh", identity, keyringSerial(t, keyring), file)
	return identity
}

func tlsLine(sub *fabric.Subsystem, more string) string {
	return controllers(fmt.Sprintf("transport=tcp;traddr=%s;trsvcid=%d;nqn=%s%s", tlsAddress, tlsService, sub.NQN, more))
}

// secured fails the test when a live controller of the target does not use TLS.
func secured(t *testing.T, want int) {
	t.Helper()
	n := 0
	for _, c := range fabric.Controllers(t) {
		if c.Field("traddr") != tlsAddress {
			continue
		}
		n++
		if key, err := os.ReadFile("/sys/class/nvme/" + c.Name + "/tls_key"); err != nil || strings.Trim(string(key), "0\n") == "" {
			t.Errorf("%s (%s) uses no TLS: %q, %v", c.Name, c.NQN, key, err)
		}
	}
	if n != want {
		t.Errorf("%d controllers, not %d", n, want)
	}
}

// TestTLS connects a configured controller of a target that demands TLS.
func TestTLS(t *testing.T) {
	wide(t)
	right, wrong := newTLSKey(), newTLSKey()
	for _, c := range []struct {
		name  string
		stacd func(t *testing.T, sub *fabric.Subsystem) string
		says  string // what is said when it fails; "" where it does not
	}{
		{name: "key in the file", stacd: func(_ *testing.T, sub *fabric.Subsystem) string {
			return tlsLine(sub, ";tls=true;tls-key="+right)
		}},
		{name: "key without the word tls", stacd: func(_ *testing.T, sub *fabric.Subsystem) string {
			return tlsLine(sub, ";tls-key="+right)
		}},
		{name: "key in the keyring", stacd: func(t *testing.T, sub *fabric.Subsystem) string {
			insert(t, ".nvme", right, sub.NQN, 1)
			return tlsLine(sub, ";tls=true")
		}},
		{name: "key by identity", stacd: func(t *testing.T, sub *fabric.Subsystem) string {
			return tlsLine(sub, ";tls-key-identity="+insert(t, ".nvme", right, sub.NQN, 1))
		}},
		{name: "key of version 0", stacd: func(t *testing.T, sub *fabric.Subsystem) string {
			identity := insert(t, tlsKeyring, right, sub.NQN, 0)
			return tlsLine(sub, ";tls=true;tls-key-identity="+identity+";tls-key="+right)
		}},
		{name: "another keyring", stacd: func(_ *testing.T, sub *fabric.Subsystem) string {
			return tlsLine(sub, ";tls=true;keyring="+hostKeyring+";tls-key="+right)
		}},
		{name: "wrong key", says: "cannot connect", stacd: func(_ *testing.T, sub *fabric.Subsystem) string {
			return tlsLine(sub, ";tls=true;keyring="+hostKeyring+";tls-key="+wrong)
		}},
		{name: "missing key", says: "no TLS key for host", stacd: func(_ *testing.T, sub *fabric.Subsystem) string {
			return tlsLine(sub, ";tls=true")
		}},
		{name: "key of another subsystem", says: "no TLS key for host", stacd: func(t *testing.T, sub *fabric.Subsystem) string {
			insert(t, ".nvme", right, sub.NQN+"2", 1)
			return tlsLine(sub, ";tls=true")
		}},
		{name: "unknown keyring", says: "keyring", stacd: func(_ *testing.T, sub *fabric.Subsystem) string {
			return tlsLine(sub, ";tls=true;keyring=no-such-ring")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sub := tlsTarget(t, right)
			confidential(t, "stacd.conf", c.stacd(t, sub))
			began := time.Now()
			fabric.Start(t, "stacd")
			if c.says != "" {
				rejected(t, began, sub, c.says)
			} else {
				awaitOwned(t, 40*time.Second, sub)
				fabric.BlockDevice(t, 10*time.Second, sub.NQN, 1)
				secured(t, 1)
			}
			unsaid(t, began, right, wrong)
		})
	}
}

// TestTLSDiscovered has a discovery controller behind TLS and no word about TLS in stacd.conf: the entry says that its port
// demands it.
func TestTLSDiscovered(t *testing.T) {
	wide(t)
	key := newTLSKey()
	for _, where := range []string{"keyring", "file"} {
		t.Run("key in the "+where, func(t *testing.T) {
			sub := tlsTarget(t, key)
			line := fmt.Sprintf("transport=tcp;traddr=%s;trsvcid=%d;tls=true", tlsAddress, tlsService)
			if where == "keyring" {
				insert(t, ".nvme", key, nvme.DiscoveryNQN, 1)
				insert(t, ".nvme", key, sub.NQN, 1)
			} else {
				line += ";tls-key=" + key
				confidential(t, "stacd.conf", "[Global]\ntls-key="+key+"\n")
			}
			confidential(t, "stafd.conf", noMDNS+controllers(line))
			fabric.Start(t, "stafd", "stacd")
			awaitOwned(t, 60*time.Second, sub)
			secured(t, 2)
		})
	}
}

// TestTLSKept restarts a daemon whose key is in the keyring already: the key stays the same one, since a new one would take
// it from the connections that use it.
func TestTLSKept(t *testing.T) {
	wide(t)
	key := newTLSKey()
	sub := tlsTarget(t, key)
	confidential(t, "stacd.conf", tlsLine(sub, ";tls=true;tls-key="+key))
	fabric.Start(t, "stacd")
	awaitOwned(t, 40*time.Second, sub)
	serial := func() string { return content(t, "/sys/class/nvme/"+fabric.Live(t, sub.NQN)[0].Name+"/tls_key") }
	before, events := serial(), fabric.Record(t)
	fabric.Restart(t, "stacd")
	fabric.Run(t, "nvme", "disconnect", "-n", sub.NQN)
	events.Await(t, 60*time.Second, 1, "change", "connected")
	awaitOwned(t, 10*time.Second, sub)
	if after := serial(); after != before {
		t.Errorf("key %s was replaced by %s", before, after)
	}
}
