package fabricsim

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// extendedSize is the length of the extended entries served here: the basic entry,
// TEL and NUMEXAT, and one attribute with 32 bytes of text.
const (
	extendedText = 32
	extendedSize = nvme.DiscoveryEntrySize + 8 + 4 + extendedText
)

// GetLog gives log pages 00h and 70h.
func (d *dc) GetLog(c *nvmetcp.Controller, g nvme.GetLogPage) ([]byte, error) {
	d.fabric.mu.RLock()
	cfg := d.DCConfig
	d.fabric.mu.RUnlock()
	switch {
	case g.LID == nvme.LogSupported && cfg.LogPages:
		return slice(cfg.supported().Encode(), g.Offset, g.Length), nil
	case g.LID == nvme.LogDiscovery:
		return d.discoveryLog(c, &cfg, g)
	}
	return nil, nvme.StatusInvalidLogPage | nvme.StatusDNR
}

// lsp is the LSP bits of log page 70h that the controller takes.
func (d *DCConfig) lsp() (bits uint8) {
	if d.Extended {
		bits |= nvme.LSPExtended
	}
	if d.PortLocal {
		bits |= nvme.LSPPortLocal
	}
	return bits
}

func (d *DCConfig) supported() *nvme.SupportedLogPages {
	s := new(nvme.SupportedLogPages)
	s[nvme.LogSupported] = nvme.LogSupportedBit
	s[nvme.LogDiscovery] = nvme.LogSupportedBit | uint32(d.lsp())<<16
	return s
}

// discoveryLog encodes the part of the page that is asked for.
func (d *dc) discoveryLog(c *nvmetcp.Controller, cfg *DCConfig, g nvme.GetLogPage) ([]byte, error) {
	lsp := g.LSP
	if !cfg.LogPages {
		lsp = 0 // knows none of the bits
	}
	if lsp&^cfg.lsp() != 0 {
		return nil, nvme.StatusInvalidField | nvme.StatusDNR
	}
	d.fabric.mu.RLock()
	v := d.views[c.HostNQN()]
	gen, entries := v.gen, v.entries
	local := uint16(0)
	if p := d.fabric.port(c.Port()); p != nil {
		local = p.id
	}
	d.fabric.mu.RUnlock()

	p := page{gen: gen, entries: entries, size: nvme.DiscoveryEntrySize, pad: ' ', flags: lsp}
	if cfg.PadNUL {
		p.pad = 0
	}
	if lsp&nvme.LSPExtended != 0 {
		p.size = extendedSize
	}
	if lsp&nvme.LSPPortLocal != 0 {
		p.entries = portLocal(entries, local)
	}
	p.numrec = uint64(len(p.entries))
	if err := p.spoil(d.fabric.struck(c, "stuck-genctr", "moving-genctr", "garbage", "discover-restart", "numrec"), g); err != nil {
		return nil, err
	}
	return p.slice(g.Offset, g.Length), nil
}

// portLocal keeps what is reached through one port.
func portLocal(entries []nvme.DiscoveryEntry, id uint16) []nvme.DiscoveryEntry {
	var list []nvme.DiscoveryEntry
	for _, e := range entries {
		if e.PortID == id && e.Subtype != nvme.SubtypeReferral {
			list = append(list, e)
		}
	}
	return list
}

// page is a discovery log page of which parts are encoded as they are asked for.
type page struct {
	gen, numrec uint64
	flags       uint8
	size        int // of an entry
	pad         byte
	entries     []nvme.DiscoveryEntry
	garbage     bool
}

// spoil applies a fault.
func (p *page) spoil(flt *fault, g nvme.GetLogPage) error {
	if flt == nil {
		return nil
	}
	switch flt.word {
	case "stuck-genctr":
		p.gen = 1
	case "moving-genctr":
		p.gen = uint64(flt.asked.Load())
	case "numrec":
		p.numrec = flt.number
	case "garbage":
		p.garbage = true
	case "discover-restart":
		if g.Offset > 0 {
			return nvme.StatusDiscoverRestart
		}
	}
	return nil
}

// slice encodes n bytes from off on, fewer where the page ends.
func (p *page) slice(off uint64, n uint32) []byte {
	end := off + uint64(n)
	b := make([]byte, 0, int(n)+nvme.DiscoveryHeaderSize+2*p.size)
	start := uint64(0) // where in the page b begins
	if off < nvme.DiscoveryHeaderSize {
		h := nvme.DiscoveryHeader{GenCtr: p.gen, NumRec: p.numrec, Flags: p.flags,
			Length: uint32(nvme.DiscoveryHeaderSize + len(p.entries)*p.size)}
		b = h.AppendTo(b)
	} else {
		start = nvme.DiscoveryHeaderSize + (off-nvme.DiscoveryHeaderSize)/uint64(p.size)*uint64(p.size)
	}
	first := uint64(0)
	if start > 0 {
		first = (start - nvme.DiscoveryHeaderSize) / uint64(p.size)
	}
	for i := first; i < uint64(len(p.entries)) && start+uint64(len(b)) < end; i++ {
		b = p.appendEntry(b, &p.entries[i])
	}
	return slice(b, off-start, n)
}

func (p *page) appendEntry(b []byte, e *nvme.DiscoveryEntry) []byte {
	switch {
	case p.garbage:
		for range p.size / 4 {
			b = binary.LittleEndian.AppendUint32(b, rand.Uint32())
		}
		return b
	case p.size == extendedSize:
		// The symbolic name here is the end of the NQN, padded with NUL.
		text := make([]byte, extendedText)
		copy(text, e.SubNQN[max(0, len(e.SubNQN)-extendedText):])
		return e.AppendExtended(b, p.pad, nvme.ExtendedAttribute{Type: nvme.AttributeSymbolicName, Value: text})
	}
	return e.AppendTo(b, p.pad)
}
