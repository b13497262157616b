package fabricsim

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
	"github.com/stas-go/stas/pkg/ramdisk"
	"github.com/stas-go/stas/pkg/version"
)

// subsystem is an NVM subsystem. What it is does not change once it is made.
type subsystem struct {
	fabric     *Fabric
	name, nqn  string
	serial     string
	cfg        SubsystemConfig // shared by the subsystems of one section
	hosts      map[string]bool // NQNs, with AccessList
	namespaces []nvmetcp.Namespace
	zones      []*zone // those it is in; guarded by fabric.mu
	ana        ana     // guarded by fabric.mu
}

func newSubsystem(f *Fabric, c SubsystemConfig, name, nqn, serial string) *subsystem {
	s := &subsystem{fabric: f, name: name, nqn: nqn, serial: serial, cfg: c, ana: newANA(c.ANA)}
	digest := sha256.Sum256([]byte(nqn))
	if s.serial == "" {
		s.serial = hex.EncodeToString(digest[:10])
	}
	if c.Access == AccessList {
		s.hosts = make(map[string]bool)
		for _, h := range c.Hosts {
			s.hosts[f.resolveHost(h)] = true
		}
	}
	for i, size := range c.Namespaces {
		ns := nvmetcp.Namespace{NSID: uint32(i + 1), BlockShift: uint8(bits.TrailingZeros(uint(c.BlockSize))), Store: f.pool.New(size)}
		ns.Blocks = size >> ns.BlockShift
		ns.UUID = namespaceUUID(digest, ns.NSID)
		s.namespaces = append(s.namespaces, ns)
	}
	return s
}

// namespaceUUID is the same at each start and on each path, as multipath needs it,
// and in the form of a UUID of version 8 (RFC 9562).
func namespaceUUID(subsystem [32]byte, nsid uint32) (u [16]byte) {
	digest := sha256.Sum256(binary.LittleEndian.AppendUint32(subsystem[:], nsid))
	copy(u[:], digest[:])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return u
}

func (s *subsystem) on(port string) bool { return slices.Contains(s.cfg.Ports, port) }

// Identify describes an I/O controller.
func (s *subsystem) Identify(*nvmetcp.Controller) nvme.Identify {
	id := nvme.Identify{
		SN: s.serial, MN: s.cfg.Model, FR: firmware(),
		CMIC:      nvme.CMICMultiPort | nvme.CMICMultiController,
		CNTRLTYPE: nvme.ControllerIO,
		OAES:      nvme.OAESNamespace,
		LPA:       nvme.LPAExtendedData,
		NN:        maxNamespaces,
		ONCS:      1<<2 | 1<<3, // Dataset Management, Write Zeroes
		VWC:       1,
	}
	s.ana.identify(&id) // whether states are reported does not change
	return id
}

// firmware is the firmware revision, at most 8 bytes.
func firmware() string { return version.Version[:min(8, len(version.Version))] }

// GetLog gives what Linux and nvme-cli read of an I/O controller.
func (s *subsystem) GetLog(c *nvmetcp.Controller, g nvme.GetLogPage) ([]byte, error) {
	var page []byte
	switch g.LID {
	case nvme.LogSMART:
		page = make([]byte, 512)
		binary.LittleEndian.PutUint16(page[1:], 303) // 30 degrees Celsius, in kelvin
		page[3], page[4] = 100, 10                   // available spare, its threshold
	case nvme.LogError:
		page = make([]byte, 64)
	case nvme.LogANA:
		if s.ANAState(c) == 0 {
			return nil, nvme.StatusInvalidLogPage | nvme.StatusDNR
		}
		page = s.anaLog(c, g.LSP&1 != 0)
	case nvme.LogChangedNamespaces:
		page = make([]byte, 4096)
	default:
		return nil, nvme.StatusInvalidLogPage | nvme.StatusDNR
	}
	return slice(page, g.Offset, g.Length), nil
}

// slice gives what there is of n bytes of b from off on.
func slice(b []byte, off uint64, n uint32) []byte {
	if off >= uint64(len(b)) {
		return nil
	}
	return b[off:min(uint64(len(b)), off+uint64(n))]
}

// Namespace gives a namespace by its number.
func (s *subsystem) Namespace(nsid uint32) *nvmetcp.Namespace {
	if nsid == 0 || uint64(nsid) > uint64(len(s.namespaces)) {
		return nil
	}
	return &s.namespaces[nsid-1]
}

// ActiveNamespaces lists namespaces: all are active.
func (s *subsystem) ActiveNamespaces(after uint32, most int) []uint32 {
	var list []uint32
	for n := uint64(after) + 1; n <= uint64(len(s.namespaces)) && len(list) < most; n++ {
		list = append(list, uint32(n))
	}
	return list
}

// AuthPolicy makes hosts authenticate that have a key.
func (s *subsystem) AuthPolicy(hostNQN string) nvmetcp.AuthPolicy {
	return s.fabric.authPolicy(hostNQN)
}

func (f *Fabric) authPolicy(nqn string) nvmetcp.AuthPolicy {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.hosts[nqn].Auth
}

// Opened ends the connection at once where the subsystem has been removed while the
// host connected, and after a while if a fault says so.
func (s *subsystem) Opened(c *nvmetcp.Controller) {
	s.fabric.mu.RLock()
	there := s.fabric.byName[s.name] == s
	s.fabric.mu.RUnlock()
	if !there {
		c.Close()
		return
	}
	s.fabric.dropLater(c)
}

// Closed has nothing to undo.
func (s *subsystem) Closed(*nvmetcp.Controller, error) {}

// AddSubsystem adds what a section [subsystem NAME] would.
func (f *Fabric) AddSubsystem(c SubsystemConfig) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("cannot add subsystem %s: %w", c.Name, err)
	}
	return f.change(func() (scope, error) {
		for _, p := range c.Ports {
			if f.port(p) == nil {
				return scope{}, fmt.Errorf("cannot add subsystem %s: there is no port %s", c.Name, p)
			}
		}
		if len(c.Ports) == 0 {
			return scope{}, fmt.Errorf("cannot add subsystem %s: it has no ports", c.Name)
		}
		if err := f.addSubsystems(c); err != nil {
			return scope{}, fmt.Errorf("cannot add subsystem: %w", err)
		}
		f.events.add(Event{Kind: "subsystem", Subsystem: c.NQN, Detail: "added"})
		return scope{all: true}, nil
	})
}

// RemoveSubsystem takes a subsystem away: its connections end, its data is gone.
func (f *Fabric) RemoveSubsystem(name string) error {
	var s *subsystem
	err := f.change(func() (scope, error) {
		if s = f.lookup(name); s == nil {
			return scope{}, fmt.Errorf("cannot remove subsystem %s: there is none", name)
		}
		f.subsystems = slices.DeleteFunc(f.subsystems, func(x *subsystem) bool { return x == s })
		delete(f.byName, s.name)
		delete(f.byNQN, s.nqn)
		for _, z := range s.zones {
			z.subsystems = slices.DeleteFunc(z.subsystems, func(x *subsystem) bool { return x == s })
		}
		f.events.add(Event{Kind: "subsystem", Subsystem: s.nqn, Detail: "removed"})
		return scope{all: true}, nil
	})
	if err != nil {
		return err
	}
	f.disconnect(s)
	for i := range s.namespaces {
		// Writes that are under way still take no memory any more.
		if disk, ok := s.namespaces[i].Store.(*ramdisk.Disk); ok {
			disk.Close()
		}
	}
	return nil
}

// disconnect closes the connections of a subsystem.
func (f *Fabric) disconnect(b nvmetcp.Backend) {
	for _, c := range f.target.Controllers() {
		if c.Backend() == b {
			c.Close()
		}
	}
}

// lookup finds a subsystem by name or NQN; f.mu is held.
func (f *Fabric) lookup(name string) *subsystem {
	if s := f.byName[name]; s != nil {
		return s
	}
	return f.byNQN[name]
}
