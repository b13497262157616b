package nvme

import (
	"encoding/binary"
	"fmt"
)

// ExtendedAttribute is one attribute behind a discovery information entry (Base 2.1,
// section 5.1.12.3.1.1). A Value whose length is no multiple of 4 is filled up with NUL.
type ExtendedAttribute struct {
	Type  AttributeType
	Value []byte
}

// AttributeType tells what an [ExtendedAttribute] holds.
type AttributeType uint16

// Attribute types.
const (
	AttributeHostID       AttributeType = 1 // 16 bytes, in the order of the text form
	AttributeSymbolicName AttributeType = 2 // ASCII, 4 to 256 bytes
	AttributeLabel        AttributeType = 3 // UTF-8, 4 to 256 bytes
)

const maxAttribute = 256

// appendAttributes turns the basic entry at b[start:] into an extended one: total
// length, number of attributes, attributes.
func appendAttributes(b []byte, start int, attrs []ExtendedAttribute) []byte {
	at := len(b)
	b = append(b, make([]byte, 8)...)
	for _, a := range attrs {
		pad := -len(a.Value) & 3
		b = binary.LittleEndian.AppendUint16(b, uint16(a.Type))
		b = binary.LittleEndian.AppendUint16(b, uint16(len(a.Value)+pad))
		b = append(b, a.Value...)
		b = append(b, make([]byte, pad)...)
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-start))
	binary.LittleEndian.PutUint16(b[at+4:], uint16(len(attrs)))
	return b
}

// decodeAttributes walks the attributes of the extended entry b, whose length is
// known to be its total entry length, and hands each to visit. The values refer to b.
func decodeAttributes(b []byte, visit func(ExtendedAttribute) error) error {
	n := int(binary.LittleEndian.Uint16(b[1028:]))
	b = b[discoveryExtAttrBase:]
	for i := range n {
		if len(b) < 4 {
			return fmt.Errorf("attribute %d of %d is missing", i+1, n)
		}
		typ, size := AttributeType(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
		if size%4 != 0 || size > len(b)-4 {
			return fmt.Errorf("attribute %d has length %d, %d bytes are left", i+1, size, len(b)-4)
		}
		if err := visit(ExtendedAttribute{typ, b[4 : 4+size]}); err != nil {
			return fmt.Errorf("attribute %d: %w", i+1, err)
		}
		b = b[4+size:]
	}
	return nil
}
