package nvme

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var sameAddr = cmpopts.EquateComparable(netip.Addr{})

// checksummed makes the sum of all bytes zero.
func checksummed(b []byte) []byte {
	b[9] = 0
	b[9] = -nbftSum(b[:min(uint64(len(b)), uint64(binary.LittleEndian.Uint32(b[4:])))])
	return b
}

// rawNBFT is a table built by hand from the layout of the Boot Specification: one interface, one
// subsystem, one discovery controller. Descriptors are 4 bytes further apart than they are long.
func rawNBFT() []byte {
	b := make([]byte, 1024)
	p16 := func(at int, v uint16) { binary.LittleEndian.PutUint16(b[at:], v) }
	p32 := func(at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
	heap := 512
	obj := func(at int, content string) {
		p32(at, uint32(heap))
		p16(at+4, uint16(len(content)))
		heap += copy(b[heap:], content+"\x00")
	}
	copy(b, "NBFT")
	p32(4, 1024)
	b[8] = 1
	p32(36, 512)
	p32(40, 512)
	b[64], b[65], b[70] = 1, 1, 1
	p16(68, 64)
	p32(72, 128)
	p16(76, 32)
	for i, g := range [][3]uint32{{160, 36, 1}, {200, 132, 1}, {0, 64, 0}, {400, 36, 1}} {
		p32(80+8*i, g[0])
		p16(84+8*i, uint16(g[1]))
		b[86+8*i], b[87+8*i] = 1, byte(g[2])
	}
	// Host.
	b[128], b[129] = 2, 0x01|0x04|0x08
	copy(b[130:], "0123456789abcdef")
	obj(146, "nqn.2026-01.test:host")
	// Interface and its transport information.
	b[160], b[161], b[162], b[163] = 3, 7, 1, 3
	info := heap
	obj(176, strings.Repeat("\x00", 128))
	copy(b[info:], "\x07\x01\x03\x01\x07\x00\x05\x00\x03\x00\x00\x52\x54\x00\x01\x02\x03\x64\x00\x03")
	copy(b[info+20:], "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x09")
	b[info+36] = 24
	copy(b[info+37:], "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01")
	p16(info+54, 500)
	copy(b[info+56:], "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x35")
	obj(info+104, "host-1")
	p32(info+110, 0xDEADBEEF) // heap garbage, as trinfo_version is 1
	// Subsystem.
	b[200] = 4
	p16(201, 0x0101)
	p16(203, 0x0001|0x0010|0x0040|0x0080)
	b[205] = 3
	p16(206, 0x0005)
	b[208] = 9
	obj(210, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x14")
	obj(216, "4420")
	p16(222, 0x1234)
	p32(224, 148)
	b[228] = 2
	copy(b[229:], "0123456789ABCDEF")
	b[245], b[246] = 99, 7 // the security index means nothing without its flag
	obj(248, "\x07\x07")
	obj(254, "nqn.2026-01.test:boot")
	obj(260, "\x09\x01\x01\x01\x01\x00\x00\x00\x42\x10\x20\x00\x00\x00\x00\x00\x00\x00")
	// Discovery.
	b[400], b[401], b[402], b[403], b[404] = 6, 1, 9, 7, 0
	obj(406, "nvme+tcp://[2001:DB8::1]/")
	return checksummed(b)
}

func wantRawNBFT() *NBFT {
	return &NBFT{
		Host: NBFTHost{HostID: HostID([]byte("0123456789abcdef")), HostNQN: "nqn.2026-01.test:host", HostNQNConfigured: true},
		Interfaces: []NBFTInterface{{
			Index: 7, Transport: TransportTypeTCP, PCI: 0x300, MAC: [6]byte{0x52, 0x54, 0, 1, 2, 3}, VLAN: 100, Origin: 3,
			IP: netip.MustParseAddr("192.0.2.9"), Prefix: 24, Gateway: netip.MustParseAddr("192.0.2.1"), RouteMetric: 500,
			DNS: [2]netip.Addr{netip.MustParseAddr("2001:db8::35")}, HostName: "host-1", DHCP: true,
		}},
		Subsystems: []NBFTSubsystem{{
			Index: 0x101, Transport: TransportTypeTCP, Traddr: netip.MustParseAddr("192.0.2.20"), Trsvcid: "4420",
			SubNQN: "nqn.2026-01.test:boot", Interfaces: []uint8{7}, Discovery: 9, PortID: 0x1234, NSID: 148, NIDType: 2,
			NID: [16]byte([]byte("0123456789ABCDEF")), CntlID: 0x1042, DataDigest: true, Discovered: true, Availability: NBFTAvailable,
		}},
		Discovery: []NBFTDiscovery{{
			Index: 9, Interface: 7, URI: "nvme+tcp://[2001:DB8::1]/", NQN: DiscoveryNQN,
			Transport: TransportTypeTCP, Traddr: "2001:db8::1", Trsvcid: "8009",
		}},
	}
}

func TestParseNBFT(t *testing.T) {
	raw := rawNBFT()
	got, err := ParseNBFT(append(raw, "trailing"...))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wantRawNBFT(), got, sameAddr); d != "" {
		t.Error(d)
	}
}

func TestParseNBFTErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		bend func(b []byte) []byte
		fail string
	}{
		{"empty", func([]byte) []byte { return nil }, "0 bytes"},
		{"short", func(b []byte) []byte { return b[:127] }, "127 bytes"},
		{"huge", func([]byte) []byte { return make([]byte, maxNBFT+1) }, "1048577 bytes"},
		{"signature", func(b []byte) []byte { b[0] = 'X'; return checksummed(b) }, `signature is "XBFT"`},
		{"truncated", func(b []byte) []byte { return b[:1023] }, "length is 1024, there are 1023"},
		{"length too short", func(b []byte) []byte { b[4], b[5] = 127, 0; return checksummed(b) }, "length is 127"},
		{"major version", func(b []byte) []byte { b[8] = 2; return checksummed(b) }, "major version is 2"},
		{"checksum", func(b []byte) []byte { b[500]++; return b }, "checksum"},
		{"heap", func(b []byte) []byte { b[40]++; return checksummed(b) }, "heap ends at 1025"},
		{"heap overflow", func(b []byte) []byte { copy(b[36:], "\xff\xff\xff\xff\xff\xff\xff\xff"); return checksummed(b) }, "heap ends"},
		{"control ID", func(b []byte) []byte { b[64] = 2; return checksummed(b) }, "control descriptor"},
		{"control flag", func(b []byte) []byte { b[70] = 0; return checksummed(b) }, "control descriptor"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseNBFT(tt.bend(rawNBFT())); err == nil || !strings.Contains(err.Error(), tt.fail) {
				t.Fatalf("error is %v, want one with %q", err, tt.fail)
			}
		})
	}
}

// What is broken is left out or marked; what tells which connection is meant stays.
func TestParseNBFTSkips(t *testing.T) {
	info := func(b []byte) int { return int(binary.LittleEndian.Uint32(b[176:])) }
	kept := func(n *NBFT) string {
		return fmt.Sprintf("%d/%d/%d", len(n.Interfaces), len(n.Subsystems), len(n.Discovery))
	}
	for _, tt := range []struct {
		name string
		bend func(b []byte)
		kept string
		note string // empty for no note at all
	}{
		{"interface not valid", func(b []byte) { b[162] = 0 }, "0/1/1", "interface 7 is not there"},
		{"interface ID", func(b []byte) { b[160] = 9 }, "0/1/1", "interface 0: descriptor ID is 9"},
		{"interface transport", func(b []byte) { b[163] = 1 }, "0/1/1", "transport rdma is not known"},
		{"interface information outside", func(b []byte) { b[177] = 0 }, "0/1/1", "are not in the heap"},
		{"interface information of another", func(b []byte) { b[161] = 8 }, "0/1/1", "is that of index 7, not 8"},
		{"interfaces beyond the end", func(b []byte) { b[80], b[81] = 0xF0, 3 }, "0/1/1", "do not fit the table"},
		{"interfaces at 4 GiB", func(b []byte) { copy(b[80:], "\xff\xff\xff\xff\xff\xff\x01\xff") }, "0/1/1", "do not fit the table"},
		{"interface stride", func(b []byte) { b[84] = 31 }, "0/1/1", "length 31 is shorter than 32"},
		{"subsystem not valid", func(b []byte) { b[203] &^= 1 }, "1/0/1", ""},
		{"subsystem transport", func(b []byte) { b[205] = 2 }, "1/0/1", "transport fc is not known"},
		{"subsystem without address", func(b []byte) { b[214] = 0 }, "1/0/1", "traddr is missing"},
		{"subsystem with half an address", func(b []byte) { b[214] = 8 }, "1/0/1", "traddr is missing"},
		{"subsystem without NQN", func(b []byte) { b[258] = 0 }, "1/0/1", "NQN is missing"},
		{"subsystem NQN outside", func(b []byte) { b[257] = 1 }, "1/0/1", "are not in the heap"},
		{"subsystem without port", func(b []byte) { b[220] = 0 }, "1/1/1", "taken as 4420"},
		{"subsystem security dangling", func(b []byte) { b[203] |= 4 }, "1/1/1", "security 99 is not there"},
		{"subsystem discovery dangling", func(b []byte) { b[208] = 3 }, "1/1/1", "discovery 3 is not there"},
		{"subsystem extension of another", func(b []byte) { b[201] = 2 }, "1/1/1", "extended information is not valid"},
		{"subsystem extension outside", func(b []byte) { b[263] = 1 }, "1/1/1", "extended information: 18 bytes"},
		{"discovery URI missing", func(b []byte) { b[410] = 0 }, "1/1/0", `URI "" is not of the form`},
		{"discovery NQN outside", func(b []byte) { b[416] = 5 }, "1/1/0", "NQN: 5 bytes at 0 are not in the heap"},
		{"host name outside", func(b []byte) { b[info(b)+107] = 1 }, "1/1/1", "interface 7: host name"},
		{"interface information not valid", func(b []byte) { b[info(b)+6] = 0 }, "0/1/1", "information is not valid"},
		{"discovery interface dangling", func(b []byte) { b[403] = 8 }, "1/1/1", "discovery 9: interface 8 is not there"},
		{"secondary interfaces outside", func(b []byte) { b[251] = 1 }, "1/1/1", "secondary interfaces: 2 bytes"},
		{"host not valid", func(b []byte) { b[129] = 0 }, "1/1/1", "host: not valid"},
		{"host outside", func(b []byte) { b[74] = 1 }, "1/1/1", "are no host descriptor"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := rawNBFT()
			tt.bend(b)
			got, err := ParseNBFT(checksummed(b))
			if err != nil {
				t.Fatal(err)
			}
			if kept(got) != tt.kept {
				t.Errorf("kept %s, want %s", kept(got), tt.kept)
			}
			notes := strings.Join(got.Notes, "; ")
			if tt.note == "" && notes != "" || !strings.Contains(notes, tt.note) {
				t.Errorf("notes are %q, want one with %q", notes, tt.note)
			}
		})
	}
}

func TestNBFTDiscoveryURI(t *testing.T) {
	for uri, want := range map[string]string{
		"nvme+tcp://100.71.103.50:8009/": "100.71.103.50 8009", "nvme+tcp://192.0.2.1": "192.0.2.1 8009",
		"nvme+tcp://[2001:DB8:0::1]:4420/": "2001:db8::1 4420", "nvme+tcp://dc.example.org:8010/x": "dc.example.org 8010",
		"nvme+tcp://[::ffff:192.0.2.1]/": "192.0.2.1 8009",
		"nvme+rdma://192.0.2.1":          "", "http://192.0.2.1": "", "": "", "nvme+tcp://": "", "nvme+tcp://:8009/": "",
		"nvme+tcp://u:p@192.0.2.1/": "", "nvme+tcp://a%2Cb/": "", "nvme+tcp://192.0.2.1:x/": "",
	} {
		c := NBFTDiscovery{URI: uri}
		err := c.parseURI()
		got := strings.TrimSpace(c.Traddr + " " + c.Trsvcid)
		if (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q gives %q, %v; want %q", uri, got, err, want)
		}
	}
}

func fullNBFT() *NBFT {
	full := wantRawNBFT()
	full.Host.HostIDConfigured = true
	second := full.Interfaces[0]
	second.Index, second.IP, second.Gateway, second.GlobalRoute, second.Autoconf, second.DHCP = 8, netip.Addr{}, netip.Addr{}, true, true, false
	full.Interfaces = append(full.Interfaces, second)
	full.Security = []NBFTSecurity{{Index: 1, Auth: NBFTRequired, Channel: NBFTSupported, SecretType: 2, KeyURI: "file:key"}}
	s := full.Subsystems[0]
	s.Index, s.Traddr, s.Interfaces, s.Discovery, s.Security, s.Secure = 2, netip.MustParseAddr("2001:db8::20"), []uint8{8, 7}, 0, 1, true
	s.RootPath, s.ASQSize, s.HeaderDigest, s.NonBootable, s.SeparateDC, s.Availability = "NVMe+TCP:x", 64, true, true, true, NBFTUnavailable
	full.Subsystems = append(full.Subsystems, s)
	full.Discovery = append(full.Discovery, NBFTDiscovery{Index: 10, Interface: 8, Security: 1, URI: "nvme+tcp://192.0.2.1:8010/",
		NQN: "nqn.2026-01.test:dc", Transport: TransportTypeTCP, Traddr: "192.0.2.1", Trsvcid: "8010"})
	return full
}

func TestBuildNBFT(t *testing.T) {
	for name, want := range map[string]*NBFT{"full": fullNBFT(), "empty": {}} {
		b, err := BuildNBFT(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseNBFT(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, sameAddr); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if _, err := BuildNBFT(&NBFT{Subsystems: make([]NBFTSubsystem, 256)}); err == nil {
		t.Error("256 subsystems fit a byte")
	}
	if _, err := BuildNBFT(&NBFT{Host: NBFTHost{HostNQN: strings.Repeat("n", 1<<16)}}); err == nil {
		t.Error("a text of 64 KiB fits")
	}
}

func FuzzParseNBFT(f *testing.F) {
	full, err := BuildNBFT(fullNBFT())
	if err != nil {
		f.Fatal(err)
	}
	bases := [][]byte{rawNBFT(), full}
	f.Add(false, []byte(nil), uint(1<<20))
	f.Add(true, []byte(nil), uint(1<<20))
	f.Add(true, piece(80, "\xff\xff\xff\xff\xff\xff\x01\xff"), uint(1<<20))
	f.Add(false, piece(248, "\x00\x02\x00\x00\xff\x01"), uint(1<<20))
	f.Add(false, piece(36, "\xff\xff\xff\xff\xff\xff\xff\xff"), uint(1<<20))
	f.Fuzz(func(t *testing.T, second bool, pieces []byte, size uint) {
		base := bases[0]
		if second {
			base = bases[1]
		}
		b := patched(base, pieces, size)
		if len(b) > 9 {
			checksummed(b) // the fuzzer cannot guess it
		}
		n, err := ParseNBFT(b)
		if err != nil {
			return
		}
		soundText(t, "host", n.Host.HostNQN)
		for _, s := range n.Subsystems {
			soundText(t, "subsystem", s.SubNQN, s.Trsvcid)
			if !s.Traddr.IsValid() || s.SubNQN == "" || s.Trsvcid == "" || slices.ContainsFunc(s.Interfaces, func(i uint8) bool {
				_, ok := n.InterfaceByIndex(i)
				return !ok
			}) {
				t.Errorf("subsystem %+v", s)
			}
		}
		for _, d := range n.Discovery {
			soundText(t, "discovery", d.NQN, d.Traddr, d.Trsvcid)
			if d.NQN == "" || d.Traddr == "" || d.Trsvcid == "" {
				t.Errorf("discovery %+v", d)
			}
		}
	})
}
