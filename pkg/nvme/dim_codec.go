package nvme

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Encode gives the bytes to send. Name and Version are cut to what fits; an NQN,
// symbolic name or label that does not fit is an error.
func (d *DIM) Encode() ([]byte, error) {
	if err := CheckNQN(d.NQN); err != nil {
		return nil, fmt.Errorf("cannot encode registration: %w", err)
	}
	if len(d.Entries) == 0 || len(d.Entries) > maxDIMEntries {
		return nil, fmt.Errorf("cannot encode registration: %d entries, allowed are 1 to %d", len(d.Entries), maxDIMEntries)
	}
	b := make([]byte, DIMHeaderSize, DIMHeaderSize+2*len(d.Entries)*DiscoveryEntrySize)
	binary.LittleEndian.PutUint64(b[8:], uint64(len(d.Entries)))
	binary.LittleEndian.PutUint16(b[16:], dimExtended)
	binary.LittleEndian.PutUint16(b[18:], uint16(d.EntityType))
	if d.PortLocal {
		b[20] = 1
	}
	binary.LittleEndian.PutUint16(b[22:], dimEntityKeys)
	putText(b[24:280], d.NQN, 0)
	putText(b[280:536], cutText(d.Name, 256), 0)
	putText(b[536:600], cutText(d.Version, 64), 0)
	for i := range d.Entries {
		attrs, err := d.Entries[i].attributes()
		if err != nil {
			return nil, fmt.Errorf("cannot encode registration: entry %d: %w", i+1, err)
		}
		b = d.Entries[i].AppendExtended(b, ' ', attrs...)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	return b, nil
}

func (e *DIMEntry) attributes() ([]ExtendedAttribute, error) {
	if len(e.Trsvcid) > 32 || len(e.SubNQN) > MaxNQN || len(e.Traddr) > 256 {
		return nil, errors.New("address, service or NQN is longer than its field")
	}
	attrs := []ExtendedAttribute{{AttributeHostID, e.HostID[:]}}
	if e.SymbolicName != "" {
		if err := CheckSymbolicName(e.SymbolicName); err != nil {
			return nil, err
		}
		attrs = append(attrs, ExtendedAttribute{AttributeSymbolicName, []byte(e.SymbolicName)})
	}
	if e.Label != "" {
		if len(e.Label) > maxAttribute || !utf8.ValidString(e.Label) {
			return nil, fmt.Errorf("label is not UTF-8 of at most %d bytes", maxAttribute)
		}
		attrs = append(attrs, ExtendedAttribute{AttributeLabel, []byte(e.Label)})
	}
	return attrs, nil
}

// CheckSymbolicName tells why s cannot be registered as a host's symbolic name:
// printable ASCII, at most 256 bytes, no space at the end (which is padding).
func CheckSymbolicName(s string) error {
	if s == "" || len(s) > maxAttribute {
		return fmt.Errorf("symbolic name has %d bytes, allowed are 1 to %d", len(s), maxAttribute)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return fmt.Errorf("symbolic name has byte 0x%02x at offset %d, which is not printable ASCII", s[i], i)
		}
	}
	if s[len(s)-1] == ' ' {
		return errors.New("symbolic name ends in a space")
	}
	return nil
}

// cutText cuts s to at most n bytes without splitting a character.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// DecodeDIM decodes what a host sent, for a target. Basic and extended entries are
// understood. Everything that is not right is an error, to be answered with
// [StatusInvalidDiscovery].
func DecodeDIM(b []byte) (*DIM, error) {
	d, err := decodeDIM(b)
	if err != nil {
		return nil, fmt.Errorf("cannot decode registration: %w", err)
	}
	return d, nil
}

func decodeDIM(b []byte) (*DIM, error) {
	if len(b) < DIMHeaderSize || len(b) > MaxDIMSize {
		return nil, fmt.Errorf("it has %d bytes, allowed are %d to %d", len(b), DIMHeaderSize, MaxDIMSize)
	}
	if tdl := binary.LittleEndian.Uint32(b); uint64(tdl) > uint64(len(b)) || tdl < DIMHeaderSize {
		return nil, fmt.Errorf("total data length is %d, %d bytes came", tdl, len(b))
	} else {
		b = b[:tdl]
	}
	n := binary.LittleEndian.Uint64(b[8:])
	if n == 0 || n > maxDIMEntries {
		return nil, fmt.Errorf("%d entries, allowed are 1 to %d", n, maxDIMEntries)
	}
	format := binary.LittleEndian.Uint16(b[16:])
	if format != dimBasic && format != dimExtended {
		return nil, fmt.Errorf("entry format is %d, known are %d and %d", format, dimBasic, dimExtended)
	}
	d := &DIM{
		EntityType: DIMEntityType(binary.LittleEndian.Uint16(b[18:])),
		PortLocal:  b[20]&1 != 0,
		Name:       printable(b[280:536]),
		Version:    printable(b[536:600]),
		NQN:        string(fieldText(b[24:280])),
	}
	if err := CheckNQN(d.NQN); err != nil {
		return nil, err
	}
	b = b[DIMHeaderSize:]
	for i := range n {
		e, size, err := decodeDIMEntry(b, format == dimExtended)
		if err != nil {
			return nil, fmt.Errorf("entry %d of %d: %w", i+1, n, err)
		}
		d.Entries = append(d.Entries, e)
		b = b[size:]
	}
	return d, nil
}

func decodeDIMEntry(b []byte, extended bool) (e DIMEntry, size int, err error) {
	size = DiscoveryEntrySize
	if extended {
		size = discoveryExtAttrBase
	}
	if len(b) < size {
		return e, 0, fmt.Errorf("%d bytes are left, it has %d at least", len(b), size)
	}
	if e.DiscoveryEntry, err = decodeEntry(b, new(interner)); err != nil || !extended {
		return e, size, err
	}
	tel := binary.LittleEndian.Uint32(b[1024:])
	if err := checkEntryLength(tel); err != nil {
		return e, 0, err
	}
	if uint64(tel) > uint64(len(b)) {
		return e, 0, fmt.Errorf("total entry length is %d, %d bytes are left", tel, len(b))
	}
	return e, int(tel), decodeAttributes(b[:tel], e.attribute)
}

// attribute takes over one attribute. Text is padded with NUL by the specification and
// with spaces by libnvme, so both are cut off.
func (e *DIMEntry) attribute(a ExtendedAttribute) error {
	switch a.Type {
	case AttributeHostID:
		if len(a.Value) != len(e.HostID) {
			return fmt.Errorf("host ID has %d bytes, not %d", len(a.Value), len(e.HostID))
		}
		e.HostID = HostID(a.Value)
	case AttributeSymbolicName, AttributeLabel:
		if len(a.Value) < 4 || len(a.Value) > maxAttribute {
			return fmt.Errorf("text has %d bytes, allowed are 4 to %d", len(a.Value), maxAttribute)
		}
		if a.Type == AttributeSymbolicName {
			e.SymbolicName = printable(a.Value)
		} else {
			e.Label = printable(a.Value)
		}
	}
	return nil
}
