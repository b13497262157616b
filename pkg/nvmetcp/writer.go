package nvmetcp

import (
	"hash/crc32"
	"io"
	"net"
)

// Writer encodes PDUs into a stream, each with one (vectored) write. Not for
// concurrent use.
type Writer struct {
	// HeaderDigest and DataDigest are set once ICReq and ICResp have agreed on them.
	HeaderDigest, DataDigest bool

	w      io.Writer
	header [maxHeaderLen + digestLen]byte
	digest [digestLen]byte
	bufs   [3][]byte
}

// NewWriter writes PDUs to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends p. Data follows its header without padding, as Linux demands.
func (e *Writer) Write(p PDU) error {
	parts := e.encode(p)
	if len(parts) == 1 {
		_, err := e.w.Write(parts[0])
		return err
	}
	bufs := net.Buffers(parts)
	_, err := bufs.WriteTo(e.w)
	return err
}

// encode gives the parts of p; they stay valid until the next call.
func (e *Writer) encode(p PDU) [][]byte {
	t, hlen, data := p.pduType(), p.headerLen(), p.payload()
	h := e.header[:hlen+digestLen]
	clear(h)
	plain := t == TypeICReq || t == TypeICResp || t == TypeH2CTermReq || t == TypeC2HTermReq
	head := hlen
	flags := p.flags()
	if e.HeaderDigest && !plain {
		head += digestLen
		flags |= flagHeaderDigest
	}
	total := head + len(data)
	withDataDigest := e.DataDigest && !plain && len(data) > 0
	if withDataDigest {
		total += digestLen
		flags |= flagDataDigest
	}
	h[0], h[1], h[2] = uint8(t), flags, uint8(hlen)
	if len(data) > 0 && !plain {
		h[3] = uint8(head)
	}
	le.PutUint32(h[4:], uint32(total))
	p.putHeader(h)
	if head > hlen {
		le.PutUint32(h[hlen:], crc32.Checksum(h[:hlen], castagnoli()))
	}
	parts := append(e.bufs[:0], h[:head])
	if len(data) > 0 {
		parts = append(parts, data)
	}
	if withDataDigest {
		le.PutUint32(e.digest[:], crc32.Checksum(data, castagnoli()))
		parts = append(parts, e.digest[:])
	}
	return parts
}
