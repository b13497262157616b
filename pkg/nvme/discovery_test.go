package nvme

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

// rawHeader and rawEntry build bytes from the offset tables of the specification, not
// by the package's own encoder.
func rawHeader(genctr, numrec uint64, recfmt uint16, flags byte, length uint32) []byte {
	b := make([]byte, 1024)
	binary.LittleEndian.PutUint64(b[0:], genctr)
	binary.LittleEndian.PutUint64(b[8:], numrec)
	b[16], b[17] = byte(recfmt), byte(recfmt>>8)
	b[18] = flags
	binary.LittleEndian.PutUint32(b[20:], length)
	return b
}

func rawEntry(trtype, adrfam, subtype, treq byte, trsvcid, subnqn, traddr string) []byte {
	b := make([]byte, 1024)
	b[0], b[1], b[2], b[3] = trtype, adrfam, subtype, treq
	b[4], b[5] = 0x34, 0x12 // portid
	b[6], b[7] = 0xFF, 0xFF // cntlid
	b[8], b[9] = 32, 0      // asqsz
	copy(b[32:64], trsvcid)
	copy(b[256:512], subnqn)
	copy(b[512:768], traddr)
	return b
}

// spaced fills a field up with spaces, as the specification says.
func spaced(s string, n int) string { return s + strings.Repeat(" ", n-len(s)) }

func TestDecodeDiscoveryEntry(t *testing.T) {
	const nqn = "nqn.2026-01.test:a"
	base := DiscoveryEntry{
		Transport: TransportTypeTCP, AddrFamily: AddrFamilyIPv4, Subtype: SubtypeNVMe, TReq: 4,
		PortID: 0x1234, CntlID: CntlIDDynamic, ASQSize: 32, SubNQN: nqn, Traddr: "192.0.2.1", Trsvcid: "4420",
	}
	with := func(f func(e *DiscoveryEntry)) DiscoveryEntry { e := base; f(&e); return e }
	tests := []struct {
		name string
		raw  []byte
		want DiscoveryEntry
		fail string
	}{
		{name: "NUL padded", raw: rawEntry(3, 1, 2, 4, "4420", nqn, "192.0.2.1"), want: base},
		{name: "space padded", raw: rawEntry(3, 1, 2, 4, spaced("4420", 32), nqn, spaced("192.0.2.1", 256)), want: base},
		{name: "spaces, then NUL, then garbage", raw: rawEntry(3, 1, 2, 4, "4420  \x00\xff,", nqn+"\x00junk,", "192.0.2.1 \x00\x01"), want: base},
		{name: "fc comma", raw: rawEntry(2, 4, 2, 4, "none", nqn, "nn-0x10000000C9000001,pn-0x20000000C9000001"),
			want: with(func(e *DiscoveryEntry) {
				e.Transport, e.AddrFamily, e.Trsvcid = TransportTypeFC, AddrFamilyFC, "none"
				e.Traddr = "nn-0x10000000C9000001:pn-0x20000000C9000001"
			})},
		{name: "tls and flags", raw: func() []byte {
			b := rawEntry(3, 1, 2, 4, "4420", nqn, "192.0.2.1")
			b[10], b[768], b[769] = 6, 2, 9
			return b
		}(), want: with(func(e *DiscoveryEntry) { e.EFlags, e.TSAS.SecType = EPCSD|NCC, SecTLS13 })},
		{name: "rdma", raw: func() []byte {
			b := rawEntry(1, 1, 2, 4, "4420", nqn, "192.0.2.1")
			b[768], b[769], b[770], b[776], b[777] = 1, 4, 1, 0xCD, 0xAB
			return b
		}(), want: with(func(e *DiscoveryEntry) {
			e.Transport, e.TSAS = TransportTypeRDMA, TSAS{QPType: 1, PRType: 4, CMS: 1, PKey: 0xABCD}
		})},
		{name: "self without address", raw: rawEntry(3, 1, 3, 4, "", nqn, ""),
			want: with(func(e *DiscoveryEntry) { e.Subtype, e.Traddr, e.Trsvcid = SubtypeDiscovery, "", "" })},
		{name: "unknown types are kept", raw: rawEntry(77, 9, 8, 4, "4420", nqn, "192.0.2.1"),
			want: with(func(e *DiscoveryEntry) { e.Transport, e.AddrFamily, e.Subtype = 77, 9, 8 })},
		{name: "longest NQN", raw: rawEntry(3, 1, 2, 4, "4420", strings.Repeat("n", 223), "192.0.2.1"),
			want: with(func(e *DiscoveryEntry) { e.SubNQN = strings.Repeat("n", 223) })},
		{name: "NQN too long", raw: rawEntry(3, 1, 2, 4, "4420", strings.Repeat("n", 224), "192.0.2.1"), fail: "subnqn of 224 bytes"},
		{name: "comma in NQN", raw: rawEntry(3, 1, 2, 4, "4420", nqn+",tls", "192.0.2.1"), fail: "subnqn has a comma"},
		{name: "comma in address", raw: rawEntry(3, 1, 2, 4, "4420", nqn, "192.0.2.1,x"), fail: "traddr has a comma"},
		{name: "two commas in fc address", raw: rawEntry(2, 4, 2, 4, "", nqn, "nn-0x1,pn-0x2,x"), fail: "traddr has a comma"},
		{name: "newline", raw: rawEntry(3, 1, 2, 4, "44\n20", nqn, "192.0.2.1"), fail: "trsvcid has character U+000A"},
		{name: "escape", raw: rawEntry(3, 1, 2, 4, "4420", nqn, "\x1b[2J"), fail: "traddr has character U+001B"},
		{name: "inner space", raw: rawEntry(3, 1, 2, 4, "4420", nqn, "192.0.2.1 x"), fail: "traddr has character U+0020"},
		{name: "bidi override", raw: rawEntry(3, 1, 2, 4, "4420", "nqn.\u202e", "192.0.2.1"), fail: "U+202E"},
		{name: "not UTF-8", raw: rawEntry(3, 1, 2, 4, "4420", "nqn.\xff", "192.0.2.1"), fail: "subnqn not UTF-8"},
		{name: "all zero", raw: make([]byte, 1024), fail: "all zero"},
		{name: "short", raw: make([]byte, 1023), fail: "1023 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeDiscoveryEntry(tt.raw)
			if tt.fail != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fail) {
					t.Fatalf("error is %v, want one with %q", err, tt.fail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Fatal(cmp.Diff(tt.want, got))
			}
		})
	}
}

func TestDecodeDiscoveryLogDropsOnlyTheBroken(t *testing.T) {
	page := rawHeader(7, 40, 0, PagePortLocal, 0)
	for i := range 40 {
		traddr := fmt.Sprintf("192.0.2.%d", i)
		if i%2 == 1 {
			traddr = "192.0.2.1,x"
		}
		page = append(page, rawEntry(3, 1, 2, 0, "4420", "nqn.2026-01.test:a", traddr)...)
	}
	log, err := DecodeDiscoveryLog(page)
	if err != nil {
		t.Fatal(err)
	}
	if log.GenCtr != 7 || log.NumRec != 40 || log.Flags != PagePortLocal {
		t.Errorf("header is %d, %d, %#x", log.GenCtr, log.NumRec, log.Flags)
	}
	if len(log.Entries) != 20 || log.Entries[19].Traddr != "192.0.2.38" {
		t.Errorf("%d entries, the last %+v", len(log.Entries), log.Entries[len(log.Entries)-1])
	}
	if log.Complete() || log.Dropped != 20 || len(log.DropReasons) != MaxDropReasons || log.DropReasons[15].Index != 31 {
		t.Errorf("dropped %d, reasons %v", log.Dropped, log.DropReasons)
	}
}

func TestDecodeDiscoveryLogErrors(t *testing.T) {
	entry := rawEntry(3, 1, 2, 0, "4420", "nqn.2026-01.test:a", "192.0.2.1")
	extended := func(tel uint32) []byte {
		b := append(rawHeader(1, 1, 0, PageExtended, 0), entry...)
		b = binary.LittleEndian.AppendUint32(b, tel)
		return append(b, make([]byte, 100)...)
	}
	for _, tt := range []struct {
		name string
		page []byte
		fail string
	}{
		{"empty", nil, "0 bytes are no header"},
		{"short header", make([]byte, 23), "23 bytes are no header"},
		{"record format", rawHeader(1, 0, 1, 0, 0), "record format is 1"},
		{"too many", rawHeader(1, MaxRecords+1, 0, 0, 0), "65536 records"},
		{"absurdly many", rawHeader(1, 1<<63, 0, 0, 0), "records are more"},
		{"truncated", append(rawHeader(1, 2, 0, 0, 0), append(entry, entry[:1023]...)...), "ends in entry 1 of 2"},
		{"header only", rawHeader(1, 2, 0, 0, 0)[:24], "ends in entry 0 of 2"},
		{"entry length 0", extended(0), "total entry length is 0"},
		{"entry length odd", extended(1034), "total entry length is 1034"},
		{"entry length huge", extended(1 << 31), "total entry length is 2147483648"},
		{"entry length past the end", extended(1032 + 100), "ends in entry 0 of 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := DecodeDiscoveryLog(tt.page); err == nil || !strings.Contains(err.Error(), tt.fail) {
				t.Fatalf("error is %v, want one with %q", err, tt.fail)
			}
		})
	}
}

func TestDecodeDiscoveryLogExtended(t *testing.T) {
	page := rawHeader(3, 3, 0, PageExtended, 0)
	for i, attrs := range []string{"", "\x02\x00\x04\x00abcd", "\x63\x00\x08\x0012345678\x03\x00\x04\x00abcd"} {
		page = append(page, rawEntry(3, 1, 2, 0, "4420", "nqn.2026-01.test:a", fmt.Sprintf("192.0.2.%d", i))...)
		page = binary.LittleEndian.AppendUint32(page, uint32(1032+len(attrs)))
		page = append(page, byte(i), 0, 0, 0)
		page = append(page, attrs...)
	}
	log, err := DecodeDiscoveryLog(page)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range log.Entries {
		if e.Traddr != fmt.Sprintf("192.0.2.%d", i) {
			t.Errorf("entry %d has address %q", i, e.Traddr)
		}
	}
	if len(log.Entries) != 3 || !log.Complete() {
		t.Errorf("%d entries, %d dropped", len(log.Entries), log.Dropped)
	}
}

func TestEncodeDiscoveryLog(t *testing.T) {
	for _, flags := range []uint8{0, PageExtended | PageAllSubsystems} {
		for _, pad := range []byte{0, ' '} {
			want := &DiscoveryLog{GenCtr: 9, NumRec: 2, Flags: flags, Entries: []DiscoveryEntry{
				{TransportTypeTCP, AddrFamilyIPv6, SubtypeNVMe, 6, 1, CntlIDStatic, 64, EPCSD, TSAS{SecType: SecTLS13}, "4420", "nqn.2026-01.test:a", "2001:db8::1"},
				{TransportTypeRDMA, AddrFamilyIPv4, SubtypeReferral, 0, 2, 5, 32, 0, TSAS{QPType: 2, PRType: 3, CMS: 4, PKey: 5}, "8009", DiscoveryNQN, "192.0.2.1"},
			}}
			got, err := DecodeDiscoveryLog(want.Encode(pad))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("flags %#x, pad %q: %s", flags, pad, d)
			}
		}
	}
	// The bytes themselves, against a page built by hand.
	e := DiscoveryEntry{Transport: 3, AddrFamily: 1, Subtype: 2, TReq: 4, PortID: 0x1234, CntlID: 0xFFFF, ASQSize: 32,
		Trsvcid: "4420", SubNQN: "nqn.2026-01.test:a", Traddr: "192.0.2.1"}
	want := append(rawHeader(5, 1, 0, 0, 2048), rawEntry(3, 1, 2, 4, spaced("4420", 32), e.SubNQN, spaced("192.0.2.1", 256))...)
	if got := (&DiscoveryLog{GenCtr: 5, Entries: []DiscoveryEntry{e}}).Encode(' '); !bytes.Equal(got, want) {
		t.Error("encoded page differs from the one built by hand")
	}
}

func TestLegacySpellings(t *testing.T) {
	for _, tt := range []struct {
		got  fmt.Stringer
		want string
	}{
		{TransportType(0), "unspecified"}, {TransportTypeRDMA, "rdma"}, {TransportTypeFC, "fc"},
		{TransportTypeTCP, "tcp"}, {TransportTypeLoop, "loop"}, {TransportType(9), "9"},
		{AddrFamilyPCI, "pci"}, {AddrFamilyIPv4, "ipv4"}, {AddrFamilyIPv6, "ipv6"}, {AddrFamilyIB, "infiniband"},
		{AddrFamilyFC, "fc"}, {AddrFamilyLoop, "254"},
		{Subtype(0), "0"}, {SubtypeReferral, "referral"}, {SubtypeNVMe, "nvme"}, {SubtypeDiscovery, "discovery"}, {Subtype(4), "4"},
		{TReq(0), "not specified"}, {TReq(1), "required"}, {TReq(2), "not required"}, {TReq(3), "3"},
		{TReq(4), "disable sqflow"}, {TReq(5), "5"}, {TReq(6), "6"},
		{EFlags(0), "0"}, {DUPRETINFO | EPCSD | NCC, "7"},
	} {
		if got := tt.got.String(); got != tt.want {
			t.Errorf("%T %#v prints as %q, want %q", tt.got, tt.got, got, tt.want)
		}
	}
	if !(EPCSD | NCC).Has(EPCSD) || EPCSD.Has(EPCSD|NCC) || TReq(6).Secure() != TReqNotRequired {
		t.Error("flags are not told apart")
	}
	for _, tr := range []Transport{TCP, RDMA, FC, Loop} {
		if got := tr.Type().Transport(); got != tr {
			t.Errorf("%s comes back as %q", tr, got)
		}
	}
	if PCIe.Type() != 0 || TransportType(0).Transport() != "" {
		t.Error("a transport that no entry can name has a type")
	}
}

func TestHasAddress(t *testing.T) {
	for addr, want := range map[string]bool{"": false, "0.0.0.0": false, "::": false, "::1": true, "192.0.2.1": true} {
		if got := (&DiscoveryEntry{Traddr: addr}).HasAddress(); got != want {
			t.Errorf("HasAddress of %q is %t", addr, got)
		}
	}
}

func TestEntryIsCompact(t *testing.T) {
	if size := unsafe.Sizeof(DiscoveryEntry{}); size > 72 {
		t.Errorf("an entry takes %d bytes", size)
	}
}

// manyPage is a page of n entries: n/4 subsystems with four paths each.
func manyPage(n int) []byte {
	page := rawHeader(1, uint64(n), 0, 0, 0)
	for i := range n {
		page = append(page, rawEntry(3, 1, 2, 4, spaced("4420", 32), fmt.Sprintf("nqn.2026-01.org.example:array7:subsystem-%06d", i/4),
			spaced(fmt.Sprintf("10.%d.%d.%d", i%4, i>>8&255, i&255), 256))...)
	}
	return page
}

func TestDecodeSharesText(t *testing.T) {
	page := manyPage(2000)
	allocs := testing.AllocsPerRun(5, func() {
		if _, err := DecodeDiscoveryLog(page); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 200 {
		t.Errorf("decoding 2000 entries allocates %.0f times", allocs)
	}
}

func BenchmarkDecodeDiscoveryLog10000(b *testing.B) {
	page := manyPage(10000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeDiscoveryLog(page); err != nil {
			b.Fatal(err)
		}
	}
}
