package nvme

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const testHostNQN = "nqn.2014-08.org.nvmexpress:uuid:f8e78f19-a131-45ab-b1f6-3a4fc8e093ea"

func testDIM() *DIM {
	id, _ := HostIDFromNQN(testHostNQN)
	return &DIM{EntityType: DIMHost, NQN: testHostNQN, Name: "host-1", Version: "Linux 6.12", Entries: []DIMEntry{{
		DiscoveryEntry: DiscoveryEntry{Transport: TransportTypeTCP, AddrFamily: AddrFamilyIPv4, SubNQN: testHostNQN, Traddr: "192.0.2.9"},
		HostID:         id,
	}}}
}

func TestEncodeDIM(t *testing.T) {
	b, err := testDIM().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != 2076 {
		t.Fatalf("%d bytes, a host without symbolic name sends 2076", len(b))
	}
	want := make([]byte, 2076)
	binary.LittleEndian.PutUint32(want, 2076)
	want[8], want[16], want[18], want[22] = 1, 2, 1, 0x5F
	copy(want[24:], testHostNQN)
	copy(want[280:], "host-1")
	copy(want[536:], "Linux 6.12")
	e := want[1024:]
	e[0], e[1] = 3, 1
	copy(e[32:64], strings.Repeat(" ", 32))
	copy(e[256:], testHostNQN)
	copy(e[512:768], spaced("192.0.2.9", 256))
	binary.LittleEndian.PutUint32(e[1024:], 1052)
	e[1028], e[1032], e[1034] = 1, 1, 16
	copy(e[1036:], "\xf8\xe7\x8f\x19\xa1\x31\x45\xab\xb1\xf6\x3a\x4f\xc8\xe0\x93\xea")
	if d := cmp.Diff(want, b); d != "" {
		t.Error(d)
	}
}

func TestDIMBackAndForth(t *testing.T) {
	d := testDIM()
	d.PortLocal = true
	d.Entries[0].SymbolicName = "rack 7"
	d.Entries[0].Label = "Gestell 7 öst"
	d.Entries = append(d.Entries, d.Entries[0])
	d.Entries[1].Traddr = ""
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeDIM(append(b, 1, 2, 3, 4))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, got); diff != "" {
		t.Error(diff)
	}
}

// libnvme fills the symbolic name up with spaces, and other hosts may send basic entries.
func TestDecodeDIMOfOthers(t *testing.T) {
	d := testDIM()
	d.Entries[0].SymbolicName = "abcdefgh"
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)-8:], "abc     ")
	got, err := DecodeDIM(b)
	if err != nil || got.Entries[0].SymbolicName != "abc" {
		t.Errorf("%+v, %v", got, err)
	}
	b = b[:2048]
	b[16] = 1
	binary.LittleEndian.PutUint32(b, 2048)
	got, err = DecodeDIM(b)
	if err != nil || got.Entries[0].Traddr != "192.0.2.9" || !got.Entries[0].HostID.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDecodeDIMErrors(t *testing.T) {
	good, err := testDIM().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		bend func(b []byte) []byte
		fail string
	}{
		{"empty", func([]byte) []byte { return nil }, "0 bytes"},
		{"short", func(b []byte) []byte { return b[:1023] }, "1023 bytes"},
		{"huge", func([]byte) []byte { return make([]byte, MaxDIMSize+1) }, "65537 bytes"},
		{"length longer than data", func(b []byte) []byte { return b[:2072] }, "total data length is 2076"},
		{"length 0", func(b []byte) []byte { clear(b[:4]); return b }, "total data length is 0"},
		{"no entries", func(b []byte) []byte { b[8] = 0; return b }, "0 entries"},
		{"many entries", func(b []byte) []byte { b[15] = 0xFF; return b }, "entries, allowed"},
		{"one entry too few", func(b []byte) []byte { b[8] = 2; return b }, "entry 2 of 2: 0 bytes are left"},
		{"format", func(b []byte) []byte { b[16] = 3; return b }, "entry format is 3"},
		{"NQN", func(b []byte) []byte { b[24] = 'i'; return b }, "does not start with"},
		{"entry NQN", func(b []byte) []byte { b[1024+260] = ','; return b }, "subnqn has a comma"},
		{"entry length", func(b []byte) []byte { b[2048] = 0xFC; return b }, "total entry length is"},
		{"entry length short", func(b []byte) []byte { b[2048], b[2049] = 4, 0; return b }, "total entry length is 4"},
		{"attribute count", func(b []byte) []byte { b[2052] = 2; return b }, "attribute 2 of 2 is missing"},
		{"attribute length", func(b []byte) []byte { b[2058] = 20; return b }, "attribute 1 has length 20"},
		{"attribute length odd", func(b []byte) []byte { b[2058] = 15; return b }, "attribute 1 has length 15"},
		{"host ID length", func(b []byte) []byte { b[2058] = 12; return b }, "host ID has 12 bytes"},
		{"name length", func(b []byte) []byte { b[2056], b[2058] = 2, 0; return b }, "text has 0 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.bend(append([]byte(nil), good...))
			if _, err := DecodeDIM(b); err == nil || !strings.Contains(err.Error(), tt.fail) {
				t.Fatalf("error is %v, want one with %q", err, tt.fail)
			}
		})
	}
}

func TestEncodeDIMErrors(t *testing.T) {
	for name, bend := range map[string]func(*DIM){
		"no NQN": func(d *DIM) { d.NQN = "" }, "no entry": func(d *DIM) { d.Entries = nil },
		"33 entries":         func(d *DIM) { d.Entries = make([]DIMEntry, 33) },
		"name not ASCII":     func(d *DIM) { d.Entries[0].SymbolicName = "ö" },
		"name too long":      func(d *DIM) { d.Entries[0].SymbolicName = strings.Repeat("n", 257) },
		"name ends in space": func(d *DIM) { d.Entries[0].SymbolicName = "a " },
		"label not UTF-8":    func(d *DIM) { d.Entries[0].Label = "\xff" },
		"address too long":   func(d *DIM) { d.Entries[0].Traddr = strings.Repeat("1", 257) },
	} {
		d := testDIM()
		bend(d)
		if _, err := d.Encode(); err == nil {
			t.Errorf("%s: encodes", name)
		}
	}
	d := testDIM()
	d.Version = "x" + strings.Repeat("ö", 33)
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeDIM(b); err != nil || got.Version != "x"+strings.Repeat("ö", 31) {
		t.Errorf("version is cut to %q, %v", got.Version, err)
	}
}
