package kernel

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tlsKeys are the serial numbers of kernel keys, decimal, "" for none.
type tlsKeys struct{ keyring, key string }

// nvmeKeyring is where the kernel looks for PSKs if it is told nothing else
// (drivers/nvme/common/keyring.c), and where tlshd is set up to look.
const nvmeKeyring = ".nvme"

// findKeys gives the kernel the TLS key of a connection, where there is one, and
// says by which numbers it knows key and keyring. A key is given by its number, by its
// interchange form, or by its identity, under which somebody put it into the keyring.
func findKeys(w *wanted) (tlsKeys, error) {
	if w.Keyring == "" && w.TLSKey == "" && w.TLSKeyIdentity == "" {
		return tlsKeys{}, nil
	}
	// Which keys a thread may touch can depend on the keyrings that hang on it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	keys := tlsKeys{key: w.TLSKey}
	var ring int
	if w.Keyring != "" || !isNumber(w.TLSKey) {
		var err error
		if ring, err = findKeyring(cmp.Or(w.Keyring, nvmeKeyring)); err != nil {
			return tlsKeys{}, err
		}
		// Best effort: it makes us a possessor, which some kernels demand for what follows.
		_, _ = unix.KeyctlInt(unix.KEYCTL_LINK, ring, unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
	}
	if w.Keyring != "" {
		keys.keyring = strconv.Itoa(ring)
	}
	var serial int
	var err error
	switch {
	case isNumber(w.TLSKey):
		return keys, nil
	case w.TLSKey != "":
		serial, err = insertKey(ring, w)
	case w.TLSKeyIdentity != "":
		serial, err = searchKey(ring, w.TLSKeyIdentity)
	default:
		return keys, nil
	}
	keys.key = strconv.Itoa(serial)
	return keys, err
}

func searchKey(ring int, identity string) (int, error) {
	serial, err := unix.KeyctlSearch(ring, "psk", identity, 0)
	if err != nil {
		return 0, fmt.Errorf("cannot find the TLS key with identity %q in the keyring: %w", identity, err)
	}
	return serial, nil
}

// insertKey puts the key between this host and subsystem into the keyring. One that was
// transformed already and comes with an identity is taken as it is.
func insertKey(ring int, w *wanted) (int, error) {
	psk, err := parseTLSKey(w.TLSKey)
	if err != nil {
		return 0, err
	}
	identity, key := w.TLSKeyIdentity, psk.key
	if identity == "" || psk.hash == tlsHashNone {
		if identity, key, err = psk.derive(w.hostNQN(), w.TID.NQN); err != nil {
			return 0, err
		}
	}
	serial, err := unix.AddKey("psk", identity, key, ring)
	clear(key)
	clear(psk.key)
	if err != nil {
		return 0, fmt.Errorf("cannot put the TLS key into the keyring: %w", err)
	}
	return serial, nil
}

// findKeyring gives the serial number of a keyring by its number or its name.
func findKeyring(name string) (int, error) {
	if isNumber(name) {
		return strconv.Atoi(name)
	}
	f, err := os.Open("/proc/keys")
	if err != nil {
		return 0, fmt.Errorf("cannot look for keyring %s: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	serial, err := keyringIn(f, name)
	if err != nil {
		return 0, fmt.Errorf("cannot look for keyring %s: %w", name, err)
	}
	return serial, nil
}

// keyringIn reads /proc/keys: serial number in hexadecimal, flags, usage, timeout,
// permissions, user, group, type, and "name: content" (proc_keys(5)).
func keyringIn(r io.Reader, name string) (int, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 9 || f[7] != "keyring" || strings.TrimSuffix(f[8], ":") != name {
			continue
		}
		serial, err := strconv.ParseInt(f[0], 16, 32)
		if err == nil {
			return int(serial), nil
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, errors.New("there is none of that name; is the module nvme-keyring loaded?")
}

func isNumber(s string) bool { return s != "" && len(s) < 10 && strings.Trim(s, "0123456789") == "" }
