// Package machine derives the UUID of this machine, for host NQNs and host IDs. The
// result is the same on every call and after every boot, except where the machine
// has nothing to derive it from.
package machine

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/stas-go/stas/pkg/nvme"
)

// Source says what a UUID was derived from.
type Source string

// The sources, in the order in which they are tried: that of nvme-stas 2.x.
const (
	MachineID  Source = "/etc/machine-id"
	DMI        Source = "/sys/class/dmi/id/product_uuid"
	DeviceTree Source = "/proc/device-tree/ibm,partition-uuid"
	Random     Source = "random"
)

// appID separates what is derived here from what others derive of the same machine ID. It is
// no secret; machine-id(5) forbids only to show the ID itself.
const appID = "$nvmexpress.org$"

// UUID derives the UUID of the machine whose files are below root ("/" for this one). Reading
// DMI and device tree needs root. A source that is absent, or that says nothing (all bits
// equal), is passed over.
func UUID(root string) (nvme.HostID, Source, error) {
	for _, s := range []struct {
		source Source
		derive func(string) (nvme.HostID, bool)
	}{{MachineID, fromMachineID}, {DMI, fromDMI}, {DeviceTree, fromText}} {
		text, err := Read(filepath.Join(root, string(s.source)), maxFile)
		if err != nil {
			continue
		}
		if id, ok := s.derive(strings.TrimRight(string(text), " \t\r\n\x00")); ok {
			return id, s.source, nil
		}
	}
	id, err := RandomUUID()
	return id, Random, err
}

// Read reads limit bytes of a file or device at most. It does not wait: what stands in the place of one may be a FIFO.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); !mode.IsRegular() && mode&fs.ModeCharDevice == 0 {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// maxFile bounds what is read of a file that holds one UUID.
const maxFile = 4096

// RandomUUID makes a UUID that nothing else has.
func RandomUUID() (nvme.HostID, error) {
	var id nvme.HostID
	if _, err := rand.Read(id[:]); err != nil {
		return id, fmt.Errorf("cannot make a random UUID: %w", err)
	}
	return version4(id), nil
}

// fromMachineID hashes the machine ID, keyed by the application.
func fromMachineID(text string) (nvme.HostID, bool) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 16 || uniform(raw) {
		return nvme.HostID{}, false
	}
	h := hmac.New(sha256.New, []byte(appID))
	h.Write(raw)
	return version4(nvme.HostID(h.Sum(nil)[:16])), true
}

// version4 marks the UUID as one that is not made of a time or a name (RFC 9562, section 5.4).
func version4(id nvme.HostID) nvme.HostID {
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// fromDMI swaps the first three fields, as 2.x and libnvme do: the system's UUID is little-endian there
// (SMBIOS 3.0, section 7.2.1).
func fromDMI(text string) (nvme.HostID, bool) {
	id, ok := fromText(text)
	id[0], id[1], id[2], id[3] = id[3], id[2], id[1], id[0]
	id[4], id[5] = id[5], id[4]
	id[6], id[7] = id[7], id[6]
	return id, ok
}

func fromText(text string) (nvme.HostID, bool) {
	id, err := nvme.ParseHostID(text)
	return id, err == nil && !uniform(id[:])
}

// uniform says whether all bits are equal, which firmware writes where it knows no UUID.
func uniform(b []byte) bool {
	for _, c := range b {
		if c != b[0] || c != 0 && c != 0xff {
			return false
		}
	}
	return true
}
