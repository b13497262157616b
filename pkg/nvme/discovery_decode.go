package nvme

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// DiscoveryHeader is the fixed part of log page 0x70 (Base 2.1, section 5.1.12.3.1).
type DiscoveryHeader struct {
	GenCtr uint64
	NumRec uint64
	RecFmt uint16
	Flags  uint8  // DLPF
	Length uint32 // TDLPL, bytes of the whole page; 0 where the controller does not tell
}

// discoveryHeaderUsed is how much of the header has a meaning.
const discoveryHeaderUsed = 24

// DecodeDiscoveryHeader reads the header at the start of b, of which 24 bytes are
// enough. A record format other than 0 and more than [MaxRecords] records are errors.
func DecodeDiscoveryHeader(b []byte) (DiscoveryHeader, error) {
	if len(b) < discoveryHeaderUsed {
		return DiscoveryHeader{}, fmt.Errorf("%w: %d bytes are no header", errMalformed, len(b))
	}
	h := DiscoveryHeader{
		GenCtr: binary.LittleEndian.Uint64(b),
		NumRec: binary.LittleEndian.Uint64(b[8:]),
		RecFmt: binary.LittleEndian.Uint16(b[16:]),
		Flags:  b[18],
		Length: binary.LittleEndian.Uint32(b[20:]),
	}
	if h.RecFmt != 0 {
		return h, fmt.Errorf("%w: record format is %d, known is 0", errMalformed, h.RecFmt)
	}
	if h.NumRec > MaxRecords {
		return h, fmt.Errorf("%w: %d records are more than %d", errMalformed, h.NumRec, MaxRecords)
	}
	return h, nil
}

// errMalformed marks a page whose bytes contradict each other.
var errMalformed = errors.New("cannot decode discovery log page")

// DecodeDiscoveryLog decodes a whole page, basic or extended as its header says.
// Entries with unusable text are dropped and counted; a header that makes no sense
// and a page shorter than its records are errors.
func DecodeDiscoveryLog(b []byte) (*DiscoveryLog, error) {
	h, err := DecodeDiscoveryHeader(b)
	if err != nil {
		return nil, err
	}
	d := newPageDecoder(h)
	if len(b) > DiscoveryHeaderSize {
		if _, err := d.feed(b[DiscoveryHeaderSize:]); err != nil {
			return nil, err
		}
	}
	if !d.done() {
		return nil, fmt.Errorf("%w: it ends in entry %d of %d", errMalformed, d.index, h.NumRec)
	}
	return d.log, nil
}

// pageDecoder turns the entries of a page into a DiscoveryLog, piece by piece, so
// that a reader need not hold the whole page.
type pageDecoder struct {
	log      *DiscoveryLog
	text     interner
	index    int
	extended bool
}

func newPageDecoder(h DiscoveryHeader) *pageDecoder {
	return &pageDecoder{
		log: &DiscoveryLog{
			GenCtr: h.GenCtr, NumRec: h.NumRec, RecFmt: h.RecFmt, Flags: h.Flags,
			// The count is only believed as far as entries arrive.
			Entries: make([]DiscoveryEntry, 0, min(h.NumRec, 1024)),
		},
		extended: h.Flags&PageExtended != 0,
	}
}

func (d *pageDecoder) done() bool { return uint64(d.index) >= d.log.NumRec }

// feed decodes the whole entries at the start of b and tells how many bytes they
// took. It stops before an entry of which b has only a part.
func (d *pageDecoder) feed(b []byte) (int, error) {
	used := 0
	for !d.done() {
		size, err := d.entrySize(b[used:])
		if err != nil {
			return used, fmt.Errorf("%w: entry %d: %w", errMalformed, d.index, err)
		}
		if size == 0 || len(b)-used < size {
			break
		}
		d.entry(b[used : used+DiscoveryEntrySize])
		used += size
	}
	return used, nil
}

// entrySize gives the length of the entry at the start of b, 0 when b is too short
// to tell.
func (d *pageDecoder) entrySize(b []byte) (int, error) {
	if !d.extended {
		return DiscoveryEntrySize, nil
	}
	if len(b) < discoveryExtAttrBase {
		return 0, nil
	}
	tel := binary.LittleEndian.Uint32(b[1024:])
	return int(tel), checkEntryLength(tel)
}

// maxEntryLength bounds an extended entry: 1032 bytes and a few attributes of at
// most 256 bytes each are what the specification defines.
const maxEntryLength = 64 << 10

func checkEntryLength(tel uint32) error {
	if tel < discoveryExtAttrBase || tel > maxEntryLength || tel%4 != 0 {
		return fmt.Errorf("total entry length is %d, allowed are multiples of 4 from %d to %d",
			tel, discoveryExtAttrBase, maxEntryLength)
	}
	return nil
}

func (d *pageDecoder) entry(b []byte) {
	e, err := decodeEntry(b, &d.text)
	if err != nil {
		d.log.Dropped++
		if len(d.log.DropReasons) < MaxDropReasons {
			d.log.DropReasons = append(d.log.DropReasons, DroppedEntry{d.index, err})
		}
	} else {
		d.log.Entries = append(d.log.Entries, e)
	}
	d.index++
}

// DecodeDiscoveryEntry decodes the basic part of one entry, 1024 bytes.
func DecodeDiscoveryEntry(b []byte) (DiscoveryEntry, error) {
	if len(b) < DiscoveryEntrySize {
		return DiscoveryEntry{}, fmt.Errorf("cannot decode discovery entry: %d bytes are fewer than %d", len(b), DiscoveryEntrySize)
	}
	return decodeEntry(b, new(interner))
}

var errZeroEntry = errors.New("all zero")

func decodeEntry(b []byte, text *interner) (DiscoveryEntry, error) {
	e := DiscoveryEntry{
		Transport:  TransportType(b[0]),
		AddrFamily: AddrFamily(b[1]),
		Subtype:    Subtype(b[2]),
		TReq:       TReq(b[3]),
		PortID:     binary.LittleEndian.Uint16(b[4:]),
		CntlID:     binary.LittleEndian.Uint16(b[6:]),
		ASQSize:    binary.LittleEndian.Uint16(b[8:]),
		EFlags:     EFlags(binary.LittleEndian.Uint16(b[10:])),
		TSAS:       decodeTSAS(TransportType(b[0]), b[768:]),
	}
	trsvcid, subnqn, traddr := fieldText(b[32:64]), fieldText(b[256:512]), fieldText(b[512:768])
	if e == (DiscoveryEntry{}) && len(trsvcid)+len(subnqn)+len(traddr) == 0 {
		// What is left where a controller counts more records than it serves.
		return e, errZeroEntry
	}
	if err := checkText(trsvcid); err != nil {
		return e, fmt.Errorf("trsvcid %w", err)
	}
	if len(subnqn) > MaxNQN {
		return e, fmt.Errorf("subnqn of %d bytes is longer than %d", len(subnqn), MaxNQN)
	}
	if err := checkText(subnqn); err != nil {
		return e, fmt.Errorf("subnqn %w", err)
	}
	var fc [256]byte
	if i := bytes.IndexByte(traddr, ','); i >= 0 && e.Transport == TransportTypeFC {
		// Some targets part the two world wide names by a comma; Linux wants a colon.
		traddr = fc[:copy(fc[:], traddr)]
		traddr[i] = ':'
	}
	if err := checkText(traddr); err != nil {
		return e, fmt.Errorf("traddr %w", err)
	}
	e.Trsvcid, e.SubNQN, e.Traddr = text.intern(trsvcid), text.intern(subnqn), text.intern(traddr)
	return e, nil
}

func decodeTSAS(t TransportType, b []byte) TSAS {
	switch t {
	case TransportTypeTCP:
		return TSAS{SecType: SecType(b[0])}
	case TransportTypeRDMA:
		return TSAS{QPType: b[0], PRType: b[1], CMS: b[2], PKey: binary.LittleEndian.Uint16(b[8:])}
	}
	return TSAS{}
}
