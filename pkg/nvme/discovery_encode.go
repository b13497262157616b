package nvme

import "encoding/binary"

// AppendTo appends the 1024 bytes of the header.
func (h DiscoveryHeader) AppendTo(b []byte) []byte {
	var p [DiscoveryHeaderSize]byte
	binary.LittleEndian.PutUint64(p[0:], h.GenCtr)
	binary.LittleEndian.PutUint64(p[8:], h.NumRec)
	binary.LittleEndian.PutUint16(p[16:], h.RecFmt)
	p[18] = h.Flags
	binary.LittleEndian.PutUint32(p[20:], h.Length)
	return append(b, p[:]...)
}

// AppendTo appends the 1024 bytes of the entry. Address and service are filled up with
// pad: the specification says spaces, the kernel's target uses NUL. Text longer than
// its field is cut.
func (e DiscoveryEntry) AppendTo(b []byte, pad byte) []byte {
	var p [DiscoveryEntrySize]byte
	p[0], p[1], p[2], p[3] = byte(e.Transport), byte(e.AddrFamily), byte(e.Subtype), byte(e.TReq)
	binary.LittleEndian.PutUint16(p[4:], e.PortID)
	binary.LittleEndian.PutUint16(p[6:], e.CntlID)
	binary.LittleEndian.PutUint16(p[8:], e.ASQSize)
	binary.LittleEndian.PutUint16(p[10:], uint16(e.EFlags))
	putText(p[32:64], e.Trsvcid, pad)
	putText(p[256:512], e.SubNQN, 0)
	putText(p[512:768], e.Traddr, pad)
	e.TSAS.put(e.Transport, p[768:])
	return append(b, p[:]...)
}

func (t TSAS) put(trtype TransportType, b []byte) {
	switch trtype {
	case TransportTypeTCP:
		b[0] = byte(t.SecType)
	case TransportTypeRDMA:
		b[0], b[1], b[2] = t.QPType, t.PRType, t.CMS
		binary.LittleEndian.PutUint16(b[8:], t.PKey)
	}
}

// AppendExtended appends the entry in extended form with its attributes.
func (e DiscoveryEntry) AppendExtended(b []byte, pad byte, attrs ...ExtendedAttribute) []byte {
	start := len(b)
	b = e.AppendTo(b, pad)
	return appendAttributes(b, start, attrs)
}

// Encode gives the whole page as a correct controller serves it: NUMREC counts
// Entries, and the entries are extended when Flags says so. A controller that lies is
// built from the AppendTo methods.
func (l *DiscoveryLog) Encode(pad byte) []byte {
	b := make([]byte, DiscoveryHeaderSize, DiscoveryHeaderSize+len(l.Entries)*(DiscoveryEntrySize+8))
	for i := range l.Entries {
		if l.Flags&PageExtended != 0 {
			b = l.Entries[i].AppendExtended(b, pad)
		} else {
			b = l.Entries[i].AppendTo(b, pad)
		}
	}
	h := DiscoveryHeader{
		GenCtr: l.GenCtr, NumRec: uint64(len(l.Entries)), RecFmt: l.RecFmt,
		Flags: l.Flags, Length: uint32(len(b)),
	}
	h.AppendTo(b[:0])
	return b
}
