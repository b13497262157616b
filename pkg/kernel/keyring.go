package kernel

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// findKeyring gives the serial number of a keyring by its number or its name. Keyrings
// of the kernel are to be found by name in /proc/keys only.
func findKeyring(name string) (int, error) {
	if number, ok := serialNumber(name); ok {
		return number, nil
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

// serialNumber reads the serial number of a key or keyring, decimal or with 0x.
func serialNumber(s string) (int, bool) {
	digits, base := s, 10
	if rest, ok := strings.CutPrefix(s, "0x"); ok {
		digits, base = rest, 16
	}
	n, err := strconv.ParseUint(digits, base, 31)
	return int(n), err == nil && n > 0
}

// heldKey is a PSK in a keyring.
type heldKey struct {
	serial   int
	identity string
}

// pskIn lists the PSKs in a keyring. Keys that we may not look at are left out.
func pskIn(ring int) ([]heldKey, error) {
	serials, err := serialsIn(ring)
	if err != nil {
		return nil, err
	}
	var keys []heldKey
	for _, serial := range serials {
		text, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, serial)
		if err != nil {
			continue
		}
		// type;user;group;permissions;description
		if f := strings.SplitN(text, ";", 5); len(f) == 5 && f[0] == keyType {
			keys = append(keys, heldKey{serial, f[4]})
		}
	}
	return keys, nil
}

// maxKeys bounds how many keys of a keyring are looked at.
const maxKeys = 1 << 16

// serialsIn gives the serial numbers of all keys in a keyring.
func serialsIn(ring int) ([]int, error) {
	buf := make([]byte, 4*256)
	for {
		n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, ring, buf, 0)
		switch {
		case err != nil:
			return nil, err
		case n > 4*maxKeys:
			return nil, unix.E2BIG
		case n <= len(buf):
			serials := make([]int, 0, n/4)
			for i := 0; i+4 <= n; i += 4 {
				serials = append(serials, int(int32(binary.NativeEndian.Uint32(buf[i:]))))
			}
			return serials, nil
		}
		buf = make([]byte, n)
	}
}
