package kernel

import (
	"cmp"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"golang.org/x/sys/unix"
)

// tlsKeys are the serial numbers of kernel keys, decimal, "" for none.
type tlsKeys struct{ keyring, key string }

// nvmeKeyring is where the kernel looks for PSKs if it is told nothing else
// (drivers/nvme/common/keyring.c), and where tlshd is set up to look.
const nvmeKeyring = ".nvme"

// keyType is the type of TLS PSKs in keyrings (drivers/nvme/common/keyring.c).
const keyType = "psk"

// findKeys gives the kernel the TLS key of a connection, where there is one, and
// says by which numbers it knows key and keyring. A key is given by its number, by its
// interchange form, or by its identity, under which somebody put it into the keyring.
// Where TLS is asked for without any, one that suits must be in the keyring.
func findKeys(w *wanted) (tlsKeys, error) {
	switch {
	case w.has("concat") && w.Keyring != "":
		// The key comes from authentication; the keyring is where the kernel puts it.
		ring, err := findKeyring(w.Keyring)
		return tlsKeys{keyring: strconv.Itoa(ring)}, err
	case !w.has("tls"):
		return tlsKeys{}, nil
	}
	// Which keys a thread may touch depends on the keyrings that hang on it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	number, numbered := serialNumber(w.TLSKey)
	var ring int
	if w.Keyring != "" || !numbered {
		var err error
		if ring, err = findKeyring(cmp.Or(w.Keyring, nvmeKeyring)); err != nil {
			return tlsKeys{}, err
		}
		// Best effort: it makes us a possessor, who may read what the keys in it hold.
		_, _ = unix.KeyctlInt(unix.KEYCTL_LINK, ring, unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
		defer func() { _, _ = unix.KeyctlInt(unix.KEYCTL_UNLINK, ring, unix.KEY_SPEC_THREAD_KEYRING, 0, 0) }()
	}
	var keys tlsKeys
	if w.Keyring != "" {
		keys.keyring = strconv.Itoa(ring)
	}
	var err error
	switch {
	case numbered:
	case w.TLSKey != "":
		number, err = insertKey(ring, w)
	case w.TLSKeyIdentity != "":
		if number, err = keyNamed(ring, w.TLSKeyIdentity); err != nil {
			err = fmt.Errorf("no TLS key with identity %q in keyring %s: %w", w.TLSKeyIdentity, cmp.Or(w.Keyring, nvmeKeyring), err)
		}
	default:
		return keys, w.anyKey(ring)
	}
	if err != nil {
		return tlsKeys{}, err
	}
	keys.key = strconv.Itoa(number)
	return keys, nil
}

// keyNamed looks for a key of exactly this identity. The kernel's own search is content with
// a longer one that begins so (nvme_tls_psk_match), such as that of another subsystem.
func keyNamed(ring int, identity string) (int, error) {
	keys, err := pskIn(ring)
	if err != nil {
		return unix.KeyctlSearch(ring, keyType, identity, 0)
	}
	for _, k := range keys {
		if k.identity == identity {
			return k.serial, nil
		}
	}
	return 0, unix.ENOKEY
}

// insertKey puts the key between this host and subsystem into the keyring, under the
// identity that is configured, or else that of version 1, which Linux prefers. One that is
// there already stays, since its successor would get another number and make it unreadable for
// the connections that were made with it.
func insertKey(ring int, w *wanted) (int, error) {
	configured, err := nvme.ParseTLSKey(w.TLSKey)
	if err != nil {
		return 0, err
	}
	version := nvme.TLSIdentityVersion(1)
	if strings.HasPrefix(w.TLSKeyIdentity, "NVMe0") {
		version = 0
	}
	identity, psk, err := configured.Derive(version, w.hostNQN(), w.TID.NQN, nvme.TLSStandard)
	if err != nil {
		return 0, err
	}
	identity = cmp.Or(w.TLSKeyIdentity, identity)
	payload := psk.Bytes()
	defer clear(payload)
	if serial, err := keyNamed(ring, identity); err == nil && holds(serial, payload) {
		return serial, nil
	}
	serial, err := unix.AddKey(keyType, identity, payload, ring)
	if err != nil {
		return 0, fmt.Errorf("cannot put the TLS key into the keyring: %w", err)
	}
	return serial, nil
}

// holds says whether a key is known to have this payload.
func holds(serial int, payload []byte) bool {
	// One byte more, to tell a longer one apart.
	buf := make([]byte, len(payload)+1)
	defer clear(buf)
	n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, serial, buf, 0)
	return err == nil && n == len(payload) && string(buf[:n]) == string(payload)
}

// anyKey is an error where the keyring is known to have no key that the kernel would find
// for w (drivers/nvme/common/keyring.c, nvme_tls_psk_default).
func (w *wanted) anyKey(ring int) error {
	keys, err := pskIn(ring)
	if err != nil {
		return nil //nolint:nilerror // what cannot be looked into is for the kernel to decide
	}
	pair := w.hostNQN() + " " + w.TID.NQN
	for _, k := range keys {
		if isIdentityOf(k.identity, pair) {
			return nil
		}
	}
	return fmt.Errorf("no TLS key for host %s and subsystem %s in keyring %s", w.hostNQN(), w.TID.NQN, cmp.Or(w.Keyring, nvmeKeyring))
}

// isIdentityOf says whether an identity is "NVMe<version><R or G><hash> <pair>", with or
// without the digest that version 1 has.
func isIdentityOf(identity, pair string) bool {
	rest, ok := strings.CutPrefix(identity, "NVMe")
	if !ok || len(rest) < 5 || !strings.Contains("01", rest[:1]) || !strings.Contains("RG", rest[1:2]) {
		return false
	}
	rest, ok = strings.CutPrefix(rest[4:], " "+pair)
	return ok && (rest == "" || rest[0] == ' ')
}
