package nvmetcp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// samples holds one PDU of each kind, with the side that receives it.
var samples = []struct {
	side Side
	pdu  PDU
}{
	{TargetSide, &ICReq{HeaderDigest: true, MaxR2T: 3}},
	{HostSide, &ICResp{DataDigest: true, MaxH2CData: 131072}},
	{TargetSide, &TermReq{FES: FESHeaderDigest, FEI: 0x12345678, Header: []byte("12345678")}},
	{HostSide, &TermReq{FromController: true, FES: FESInvalidHeader, FEI: 4, Header: []byte("12345678")}},
	{TargetSide, &CapsuleCmd{SQE: SQE{0x06, 0x40, 0x1f, 0xf0}}},
	{TargetSide, &CapsuleCmd{SQE: SQE{0x21, 0x40, 1}, Data: bytes.Repeat([]byte{7}, 2076)}},
	{HostSide, &CapsuleResp{NewCQE(0xf01f, 1, 2, 0x4182, 0x0070f002)}},
	{TargetSide, &H2CData{CID: 9, TTag: 4, Offset: 4096, Last: true, Data: []byte("abcd")}},
	{HostSide, &C2HData{CID: 9, Offset: 512, Last: true, Success: true, Data: []byte("abcdefgh")}},
	{HostSide, &C2HData{CID: 9, Data: []byte("x")}},
	{HostSide, &R2T{CID: 1, TTag: 2, Offset: 3, Length: 4}},
}

func TestRoundTrip(t *testing.T) {
	for _, dig := range []struct{ h, d bool }{{}, {true, false}, {false, true}, {true, true}} {
		for _, s := range samples {
			var buf bytes.Buffer
			w := NewWriter(&buf)
			w.HeaderDigest, w.DataDigest = dig.h, dig.d
			if err := w.Write(s.pdu); err != nil {
				t.Fatal(err)
			}
			r := NewReader(&buf, s.side, 4096)
			r.HeaderDigest, r.DataDigest = dig.h, dig.d
			got, err := r.Next()
			if err != nil {
				t.Fatalf("%s with digests %v: %v", s.pdu.pduType(), dig, err)
			}
			if diff := cmp.Diff(s.pdu, got); diff != "" {
				t.Errorf("digests %v: %s", dig, diff)
			}
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("%s leaves bytes behind: %v", s.pdu.pduType(), err)
			}
		}
	}
}

// The bytes of a response with header digest, as Linux checks them (digests are
// CRC32C, little endian).
func TestHeaderDigestBytes(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	w.HeaderDigest = true
	if err := w.Write(&CapsuleResp{}); err != nil {
		t.Fatal(err)
	}
	b := buf.Bytes()
	if got, want := hex.EncodeToString(b[:8]), "050118001c000000"; got != want {
		t.Errorf("common header %s, want %s", got, want)
	}
	if len(b) != 28 {
		t.Errorf("%d bytes, want 28", len(b))
	}
	// The check value of CRC32C (RFC 3720, B.4): guards against the wrong polynomial.
	if got := crc32.Checksum([]byte("123456789"), castagnoli()); got != 0xe3069283 {
		t.Errorf("CRC32C check value %08x", got)
	}
	r := NewReader(bytes.NewReader(b), HostSide, 0)
	r.HeaderDigest = true
	if _, err := r.Next(); err != nil {
		t.Error(err)
	}
}

func TestDamage(t *testing.T) {
	encode := func(p PDU) []byte {
		var buf bytes.Buffer
		w := NewWriter(&buf)
		w.HeaderDigest, w.DataDigest = true, true
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	next := func(b []byte) error {
		r := NewReader(bytes.NewReader(b), HostSide, 64)
		r.HeaderDigest, r.DataDigest = true, true
		_, err := r.Next()
		return err
	}
	data := &C2HData{CID: 1, Last: true, Data: []byte("0123456789")}

	b := encode(data)
	b[len(b)-5] ^= 1
	var dd *DataDigestError
	if err := next(b); !errors.As(err, &dd) {
		t.Errorf("damaged data gave %v", err)
	}
	b = encode(data)
	b[9] ^= 1
	var pe *ProtocolError
	if err := next(b); !errors.As(err, &pe) || pe.FES != FESHeaderDigest {
		t.Errorf("damaged header gave %v", err)
	}
	b = encode(data)
	if err := next(b[:len(b)-2]); err != io.ErrUnexpectedEOF {
		t.Errorf("truncated PDU gave %v", err)
	}
	b = encode(&C2HData{Data: make([]byte, 1000)})
	if err := next(b); !errors.As(err, &pe) || pe.FES != FESInvalidHeader {
		t.Errorf("PDU over the limit gave %v", err)
	}
	b = encode(data)
	b[16]++ // data length differs from what the PDU holds; the digest is made anew
	r := NewReader(bytes.NewReader(append(b[:24:24], b[28:38]...)), HostSide, 64)
	b[1] &^= flagHeaderDigest | flagDataDigest
	if _, err := r.Next(); !errors.Is(err, ErrNotNVMe) {
		t.Errorf("lying data length gave %v", err)
	}
}

func FuzzReader(f *testing.F) {
	for _, s := range samples {
		for _, on := range []bool{false, true} {
			var buf bytes.Buffer
			w := NewWriter(&buf)
			w.HeaderDigest, w.DataDigest = on, on
			w.Write(s.pdu)
			f.Add(buf.Bytes(), s.side == HostSide, on, on)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, host, hdr, data bool) {
		side := TargetSide
		if host {
			side = HostSide
		}
		r := NewReader(bytes.NewReader(b), side, 8192)
		r.HeaderDigest, r.DataDigest = hdr, data
		for range 8 {
			p, err := r.Next()
			if err != nil {
				return
			}
			var buf bytes.Buffer
			w := NewWriter(&buf)
			w.HeaderDigest, w.DataDigest = hdr, data
			if err := w.Write(p); err != nil {
				t.Fatal(err)
			}
			again := NewReader(&buf, side, 8192)
			again.HeaderDigest, again.DataDigest = hdr, data
			q, err := again.Next()
			if err != nil {
				t.Fatalf("cannot read back %#v: %v", p, err)
			}
			if diff := cmp.Diff(p, q); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
