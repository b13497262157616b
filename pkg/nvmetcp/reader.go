package nvmetcp

import (
	"errors"
	"hash/crc32"
	"io"
	"sync"
)

// castagnoli is made when a digest is asked for first: the daemons, which have none, would pay for it at every start.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// Side says which end of the connection a Reader serves; each end accepts only
// the PDUs that the other may send.
type Side uint8

// The two sides of a connection.
const (
	HostSide Side = iota
	TargetSide
)

// Reader decodes PDUs from a stream. It allocates at most MaxData bytes for the
// payload of a PDU, once. Not for concurrent use.
type Reader struct {
	// HeaderDigest and DataDigest are set once ICReq and ICResp have agreed on them.
	HeaderDigest, DataDigest bool
	// MaxData bounds the payload of one PDU.
	MaxData int

	r       io.Reader
	side    Side
	header  [maxHeaderLen + digestLen]byte
	data    []byte
	trailer [digestLen]byte
}

// NewReader reads what arrives at side from r.
func NewReader(r io.Reader, side Side, maxData int) *Reader {
	return &Reader{r: r, side: side, MaxData: maxData}
}

// Next reads one PDU. Its payload stays valid until the following call.
// A malformed PDU is a *[ProtocolError], damaged data a *[DataDigestError] that
// holds the PDU (the stream may be read on), anything else comes from the stream.
func (d *Reader) Next() (PDU, error) {
	h := d.header[:]
	if _, err := io.ReadFull(d.r, h[:commonHeaderLen]); err != nil {
		return nil, err
	}
	lay, err := d.layout(h)
	if err != nil {
		return nil, err
	}
	if err := d.readHeader(lay); err != nil {
		return nil, err
	}
	payload, digestOK, err := d.readPayload(lay)
	if err != nil {
		return nil, err
	}
	p, err := decode(h, payload)
	if err != nil {
		return nil, err
	}
	if !digestOK {
		return p, &DataDigestError{p}
	}
	return p, nil
}

// LastHeader is the header of the PDU read last, for a termination request.
func (d *Reader) LastHeader() []byte {
	n := min(max(int(d.header[2]), commonHeaderLen), maxHeaderLen)
	return d.header[:n]
}

// layout is where the parts of a PDU are.
type layout struct {
	hlen, pad, data    int
	hdrDigest, dataDig bool
}

func (d *Reader) layout(h []byte) (lay layout, err error) {
	t, flags := PDUType(h[0]), h[1]
	hlen, pdo, plen := int(h[2]), int(h[3]), uint64(le.Uint32(h[4:]))
	want, hasData, ok := d.expect(t)
	switch {
	case !ok:
		return lay, headerErr(0, "unexpected %s", t)
	case hlen != want:
		return lay, headerErr(2, "%s with header length %d, not %d", t, hlen, want)
	}
	lay.hlen = hlen
	ic := t == TypeICReq || t == TypeICResp || t == TypeH2CTermReq || t == TypeC2HTermReq
	if !ic {
		lay.hdrDigest = d.HeaderDigest
		if got := flags&flagHeaderDigest != 0; got != d.HeaderDigest {
			return lay, headerErr(1, "%s with header digest flag %t, agreed was %t", t, got, d.HeaderDigest)
		}
	}
	head := hlen
	if lay.hdrDigest {
		head += digestLen
	}
	if plen < uint64(head) {
		return lay, headerErr(4, "%s of %d bytes is shorter than its header", t, plen)
	}
	if plen > uint64(head+d.MaxData+255+digestLen) {
		return lay, headerErr(4, "%s of %d bytes, at most %d bytes of data are taken", t, plen, d.MaxData)
	}
	rest := int(plen) - head
	if rest == 0 {
		return lay, nil
	}
	switch {
	case !hasData:
		return lay, headerErr(4, "%s of %d bytes carries no data", t, plen)
	case ic: // termination request: the offending header follows at once
		lay.data = rest
		if plen > maxTermReq {
			return lay, headerErr(4, "%s of %d bytes is longer than %d", t, plen, maxTermReq)
		}
		return lay, nil
	case pdo < head || pdo > int(plen):
		return lay, headerErr(3, "%s with data offset %d, header ends at %d and the PDU at %d", t, pdo, head, plen)
	}
	lay.pad = pdo - head
	lay.data = rest - lay.pad
	lay.dataDig = d.DataDigest
	if got := flags&flagDataDigest != 0; got != d.DataDigest {
		return lay, headerErr(1, "%s with data digest flag %t, agreed was %t", t, got, d.DataDigest)
	}
	if lay.dataDig {
		lay.data -= digestLen
	}
	if lay.data < 0 || lay.data > d.MaxData {
		return lay, headerErr(4, "%s with %d bytes of data, at most %d are taken", t, lay.data, d.MaxData)
	}
	return lay, nil
}

// expect gives the header length of a PDU that this side may receive, and
// whether it may carry data.
func (d *Reader) expect(t PDUType) (hlen int, data, ok bool) {
	switch t {
	case TypeICReq:
		return icLen, false, d.side == TargetSide
	case TypeICResp:
		return icLen, false, d.side == HostSide
	case TypeH2CTermReq:
		return termReqLen, true, d.side == TargetSide
	case TypeC2HTermReq:
		return termReqLen, true, d.side == HostSide
	case TypeCapsuleCmd:
		return capsuleCmdLen, true, d.side == TargetSide
	case TypeCapsuleResp:
		return smallHeaderLen, false, d.side == HostSide
	case TypeH2CData:
		return smallHeaderLen, true, d.side == TargetSide
	case TypeC2HData:
		return smallHeaderLen, true, d.side == HostSide
	case TypeR2T:
		return smallHeaderLen, false, d.side == HostSide
	}
	return 0, false, false
}

func (d *Reader) readHeader(lay layout) error {
	end := lay.hlen
	if lay.hdrDigest {
		end += digestLen
	}
	if _, err := io.ReadFull(d.r, d.header[commonHeaderLen:end]); err != nil {
		return truncated(err)
	}
	if lay.hdrDigest {
		want := le.Uint32(d.header[lay.hlen:])
		if got := crc32.Checksum(d.header[:lay.hlen], castagnoli()); got != want {
			return &ProtocolError{FESHeaderDigest, want, "of " + PDUType(d.header[0]).String()}
		}
	}
	if lay.pad > 0 {
		var pad [256]byte
		if _, err := io.ReadFull(d.r, pad[:lay.pad]); err != nil {
			return truncated(err)
		}
	}
	return nil
}

func (d *Reader) readPayload(lay layout) (payload []byte, digestOK bool, err error) {
	if lay.data == 0 && !lay.dataDig {
		return nil, true, nil
	}
	if cap(d.data) < lay.data {
		d.data = make([]byte, lay.data)
	}
	payload = d.data[:lay.data]
	if _, err := io.ReadFull(d.r, payload); err != nil {
		return nil, false, truncated(err)
	}
	if !lay.dataDig {
		return payload, true, nil
	}
	if _, err := io.ReadFull(d.r, d.trailer[:]); err != nil {
		return nil, false, truncated(err)
	}
	return payload, crc32.Checksum(payload, castagnoli()) == le.Uint32(d.trailer[:]), nil
}

// truncated makes an end inside a PDU different from an end between two.
func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decode makes the typed PDU of a whole header.
func decode(h, payload []byte) (PDU, error) {
	flags := h[1]
	switch t := PDUType(h[0]); t {
	case TypeICReq:
		return &ICReq{le.Uint16(h[8:]), h[10], h[11]&1 != 0, h[11]&2 != 0, le.Uint32(h[12:])}, nil
	case TypeICResp:
		return &ICResp{le.Uint16(h[8:]), h[10], h[11]&1 != 0, h[11]&2 != 0, le.Uint32(h[12:])}, nil
	case TypeH2CTermReq, TypeC2HTermReq:
		return &TermReq{t == TypeC2HTermReq, FatalErrorStatus(le.Uint16(h[8:])), le.Uint32(h[10:]), payload}, nil
	case TypeCapsuleCmd:
		return &CapsuleCmd{SQE(h[8:72]), payload}, nil
	case TypeCapsuleResp:
		return &CapsuleResp{CQE(h[8:24])}, nil
	case TypeH2CData:
		p := &H2CData{le.Uint16(h[8:]), le.Uint16(h[10:]), le.Uint32(h[12:]), flags&flagLast != 0, payload}
		return p, checkDataLen(h, len(payload))
	case TypeC2HData:
		p := &C2HData{le.Uint16(h[8:]), le.Uint32(h[12:]), flags&flagLast != 0, flags&flagSuccess != 0, payload}
		if p.Success && !p.Last {
			return p, headerErr(1, "C2HData says success before its last data")
		}
		return p, checkDataLen(h, len(payload))
	default:
		return &R2T{le.Uint16(h[8:]), le.Uint16(h[10:]), le.Uint32(h[12:]), le.Uint32(h[16:])}, nil
	}
}

func checkDataLen(h []byte, got int) error {
	if want := le.Uint32(h[16:]); uint64(want) != uint64(got) {
		return headerErr(16, "%s says %d bytes of data and holds %d", PDUType(h[0]), want, got)
	}
	return nil
}
