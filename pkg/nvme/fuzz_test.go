package nvme

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// soundText fails when text from outside got through that could break an option
// string, a bus message or a terminal.
func soundText(t *testing.T, what string, texts ...string) {
	t.Helper()
	for _, s := range texts {
		bad := func(r rune) bool { return r == ',' || unicode.IsSpace(r) || !unicode.IsPrint(r) }
		if !utf8.ValidString(s) || strings.ContainsFunc(s, bad) {
			t.Errorf("%s %q", what, s)
		}
	}
}

// patched writes pieces over a copy of base and cuts it to size, so that the fuzzer's input is
// only what differs: each piece is an offset of two bytes, a length of one, and content. Inputs
// of whole pages are mostly padding, and the fuzzer spends its time there.
func patched(base, pieces []byte, size uint) []byte {
	b := append([]byte(nil), base...)
	for len(pieces) >= 3 {
		at, n := int(pieces[0])|int(pieces[1])<<8, min(int(pieces[2]), len(pieces)-3)
		copy(b[at%len(b):], pieces[3:3+n])
		pieces = pieces[3+n:]
	}
	return b[:min(size, uint(len(b)))]
}

// piece makes one piece of the input of patched.
func piece(at int, content string) []byte {
	return append([]byte{byte(at), byte(at >> 8), byte(len(content))}, content...)
}

func FuzzDecodeDiscoveryLog(f *testing.F) {
	bases := [][]byte{pageOf(1, 3), extendedPageOf(3, true), extendedPageOf(3, false)}
	f.Add(uint(0), []byte(nil), uint(1<<20), 4096)
	f.Add(uint(1), []byte(nil), uint(1<<20), 1024)
	f.Add(uint(2), []byte(nil), uint(1<<20), 2048)
	f.Add(uint(0), piece(8, "\xff\xff\x00\x00"), uint(1<<20), 0)
	f.Add(uint(0), append(piece(1024, "\x02"), piece(1024+512, "nn-0x1,pn-0x2")...), uint(3000), 1)
	f.Add(uint(0), piece(1024+256, "nqn,\x00\xff"), uint(4096), 1)
	f.Add(uint(1), piece(2048, "\x00\x00\x01\x00\xff\xff"), uint(4096), 1)
	f.Add(uint(2), piece(20, "\xff\xff\xff\xff"), uint(1<<20), 1)
	f.Fuzz(func(t *testing.T, base uint, pieces []byte, size uint, chunk int) {
		page := patched(bases[base%3], pieces, size)
		want, err := DecodeDiscoveryLog(page)
		if err == nil {
			if uint64(len(want.Entries)+want.Dropped) != want.NumRec {
				t.Fatalf("%d entries and %d dropped of %d", len(want.Entries), want.Dropped, want.NumRec)
			}
			for _, e := range want.Entries {
				soundText(t, "entry has", e.Trsvcid, e.SubNQN, e.Traddr)
			}
		}
		// Reading the page in pieces must come to the same. 65 thousand small pieces take so long on a busy machine that the
		// fuzzer believes it hangs.
		s := &pageServer{t: t, page: page, zeros: true}
		chunk %= 8192
		if h, err := DecodeDiscoveryHeader(page); err == nil && h.NumRec > 1024 {
			chunk += 64 << 10
		}
		got, readErr := ReadDiscoveryLog(s.get, ReadOptions{ChunkSize: chunk, MaxTries: 1})
		if err == nil && readErr == nil {
			if d := cmp.Diff(want.Entries, got.Entries); d != "" {
				t.Fatal(d)
			}
		}
		for _, call := range s.calls {
			if len(call) > 40 {
				t.Fatalf("asked for %s", call)
			}
		}
	})
}

func FuzzDecodeDIM(f *testing.F) {
	d := testDIM()
	d.Entries[0].SymbolicName, d.Entries[0].Label = "name", "läbel"
	d.Entries = append(d.Entries, d.Entries[0])
	good, err := d.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(nil), uint(1<<20))
	f.Add(piece(16, "\x01"), uint(1<<20))
	f.Add(piece(0, "\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff"), uint(2000))
	f.Add(piece(2048, "\xff\xff\x00\x00\xff\xff"), uint(1<<20))
	f.Fuzz(func(t *testing.T, pieces []byte, size uint) {
		b := patched(good, pieces, size)
		d, err := DecodeDIM(b)
		if err != nil {
			return
		}
		soundText(t, "NQN", d.NQN)
		for _, e := range d.Entries {
			soundText(t, "entry has", e.Trsvcid, e.SubNQN, e.Traddr)
			if !utf8.ValidString(e.SymbolicName) || !utf8.ValidString(e.Label) {
				t.Errorf("names %q, %q", e.SymbolicName, e.Label)
			}
		}
	})
}

func FuzzDecodeExtendedAttributes(f *testing.F) {
	f.Add([]byte("\x14\x04\x00\x00\x01\x00\x00\x00\x01\x00\x10\x000123456789abcdef"))
	f.Add([]byte("\xFF\xFF\xFF\xFF\xFF\xFF\x00\x00"))
	f.Fuzz(func(t *testing.T, tail []byte) {
		b := append(rawEntry(3, 1, 2, 0, "4420", "nqn.2026-01.test:a", "192.0.2.1"), tail...)
		e, size, err := decodeDIMEntry(b, true)
		if err == nil && (size > len(b) || size != int(binary.LittleEndian.Uint32(b[1024:])) || e.SubNQN != "nqn.2026-01.test:a") {
			t.Errorf("entry of %d bytes: %+v", size, e)
		}
	})
}

func FuzzDecodeIdentify(f *testing.F) {
	good := (&Identify{SN: "1", MN: "Linux", FR: "6.12", SUBNQN: DiscoveryNQN}).Encode()
	f.Add([]byte(nil), uint(4096))
	f.Add(piece(768, "\xff,\x00"), uint(4096))
	f.Add(piece(24, "\x1b\xff,"), uint(4095))
	f.Fuzz(func(t *testing.T, pieces []byte, size uint) {
		b := patched(good, pieces, size)
		id, err := DecodeIdentify(b)
		if err != nil {
			return
		}
		soundText(t, "SUBNQN", id.SUBNQN)
		for _, s := range []string{id.SN, id.MN, id.FR} {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("text %q", s)
			}
		}
		again, err := DecodeIdentify(id.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if again.SUBNQN != id.SUBNQN || again.OAES != id.OAES || again.DCTYPE != id.DCTYPE {
			t.Errorf("%+v comes back as %+v", id, again)
		}
	})
}

// What is too small for a target of its own: data of Connect, log page 00h, NVME_AEN=, host IDs.
func FuzzDecodeConnectData(f *testing.F) {
	good, err := (&ConnectData{HostID: HostID{1}, CntlID: CntlIDDynamic, SubNQN: DiscoveryNQN, HostNQN: "nqn.2026-01.test:h"}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(nil), uint(1<<20), "0x70f002")
	f.Add(piece(256, "nqn,\x00\xff"), uint(1<<20), "-1")
	f.Add(piece(512, "\xff\xff"), uint(1023), "6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	f.Fuzz(func(t *testing.T, pieces []byte, size uint, text string) {
		b := patched(good, pieces, size)
		if d, err := DecodeConnectData(b); err == nil {
			soundText(t, "Connect has", d.SubNQN, d.HostNQN)
			again, err := d.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := DecodeConnectData(again); err != nil || *back != *d {
				t.Errorf("%+v comes back as %+v, %v", d, back, err)
			}
		}
		if s, err := DecodeSupportedLogPages(b); err == nil {
			for lid := range 256 {
				_ = s.Supports(uint8(lid))
			}
			_ = s.DiscoveryLSP(0xff)
		}
		if e, err := ParseAsyncEvent(text); err == nil {
			if back, err := ParseAsyncEvent(e.String()); err != nil || back != e {
				t.Errorf("%q is %v, %v", text, back, err)
			}
		}
		if id, err := ParseHostID(text); err == nil && id.String() != strings.ToLower(text) {
			t.Errorf("%q is %v", text, id)
		}
		if id, ok := HostIDFromNQN(text); ok && !strings.EqualFold(id.NQN(), text) {
			t.Errorf("%q is of %v", text, id)
		}
	})
}
