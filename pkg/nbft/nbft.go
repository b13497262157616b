// Package nbft tells which connections the firmware of this host booted from: the NVMe Boot
// Firmware Tables that the kernel shows under /sys/firmware/acpi/tables.
//
// What a table lists holds the root disk, more likely than not. So a table is read generously: records that
// could not be connected by are still recognised and protected.
package nbft

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// Dir is where the kernel shows ACPI tables; files are readable by root only.
const Dir = "/sys/firmware/acpi/tables"

// maxTable bounds a table: real ones have a few KiB.
const maxTable = 1 << 20

// Connection is what a table says of one controller.
type Connection struct {
	TID  tid.TID // without source address and interface: those of the firmware need not be those of the system
	Host tid.Host
	MAC  string // of the interface that the firmware used, empty if not told
	VLAN int
}

// Boot is what all tables of the host say. It is not changed after it was made; nil says nothing.
type Boot struct {
	Subsystems []Connection
	Discovery  []Connection
}

// Read reads the tables NBFT, NBFT1, … in dir. That there is none is normal. What cannot be
// understood is told beside what can.
func Read(dir string) (*Boot, []error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return &Boot{}, nil
		}
		return &Boot{}, []error{fmt.Errorf("cannot look for boot tables: %w", err)}
	}
	b := &Boot{}
	var problems []error
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), "NBFT") || f.IsDir() {
			continue
		}
		if err := b.add(filepath.Join(dir, f.Name())); err != nil {
			problems = append(problems, err)
		}
	}
	return b, problems
}

func (b *Boot) add(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("cannot read boot table: %w", err)
	}
	if info.Size() > maxTable {
		return fmt.Errorf("cannot use boot table %s: %d bytes are too many", path, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot read boot table: %w", err)
	}
	if len(data) == 0 {
		return nil // firmware that had nothing to tell
	}
	t, err := nvme.ParseNBFT(data)
	if err != nil {
		return fmt.Errorf("cannot use boot table %s: %w", path, err)
	}
	host := tid.Host{NQN: t.Host.HostNQN, ID: t.Host.HostID.String()}
	if id, ok := nvme.HostIDFromNQN(host.NQN); ok {
		host.ID = id.String() // most firmware writes the other one in UEFI's byte order
	}
	for _, s := range t.Subsystems {
		c := Connection{TID: tid.TID{Transport: s.Transport.Transport(), Traddr: s.Traddr.Unmap().String(), Trsvcid: s.Trsvcid,
			NQN: s.SubNQN, HostNQN: host.NQN}, Host: host}
		if s.Trsvcid == "" {
			c.TID.Trsvcid = c.TID.Transport.DefaultPort(false)
		}
		for _, n := range s.Interfaces[:min(1, len(s.Interfaces))] {
			c.at(t, n)
		}
		b.Subsystems = append(b.Subsystems, c)
	}
	for _, d := range t.Discovery {
		c := Connection{TID: tid.TID{Transport: d.Transport.Transport(), Traddr: d.Traddr, Trsvcid: d.Trsvcid, NQN: d.NQN, HostNQN: host.NQN}, Host: host}
		if n, err := tid.New(tid.Discovery, c.TID); err == nil {
			c.TID = n
		}
		c.at(t, d.Interface)
		b.Discovery = append(b.Discovery, c)
	}
	return nil
}

func (c *Connection) at(t *nvme.NBFT, index uint8) {
	if i, ok := t.InterfaceByIndex(index); ok {
		c.MAC = fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", i.MAC[0], i.MAC[1], i.MAC[2], i.MAC[3], i.MAC[4], i.MAC[5])
		c.VLAN = int(i.VLAN)
	}
}

func (b *Boot) of(kind tid.Kind) []Connection {
	switch {
	case b == nil:
		return nil
	case kind == tid.Discovery:
		return b.Discovery
	}
	return b.Subsystems
}

// Names says whether the firmware's tables name the connection that t asks for. Source address
// and interface are left out: the system may know the same path in other detail.
func (b *Boot) Names(kind tid.Kind, t tid.TID) bool {
	for _, c := range b.of(kind) {
		if same(kind, c.TID, t.Transport, t.Traddr, t.Trsvcid, t.NQN) && (c.TID.HostNQN == "" || c.TID.HostNQN == t.HostNQN) {
			return true
		}
	}
	return false
}

// Protects says whether a live connection is one of the firmware's, whatever anybody registered.
// A controller whose kind is not known yet is held against both lists.
func (b *Boot) Protects(l tid.Live) bool {
	for _, kind := range []tid.Kind{tid.IO, tid.Discovery} {
		if l.KindKnown && l.Kind != kind {
			continue
		}
		for _, c := range b.of(kind) {
			if same(kind, c.TID, l.Transport, l.Traddr, l.Trsvcid, l.NQN) && (c.TID.HostNQN == "" || c.TID.HostNQN == l.HostNQN) {
				return true
			}
		}
	}
	return false
}

func same(kind tid.Kind, c tid.TID, transport nvme.Transport, traddr, trsvcid, nqn string) bool {
	if c.Transport != transport || c.Trsvcid != trsvcid || !tid.SameIP(c.Traddr, traddr) {
		return false
	}
	return c.NQN == nqn || kind == tid.Discovery && (c.NQN == nvme.DiscoveryNQN || nqn == nvme.DiscoveryNQN)
}
