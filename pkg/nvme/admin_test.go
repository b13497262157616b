package nvme

import (
	"errors"
	"fmt"
	"testing"
)

func TestStatus(t *testing.T) {
	s := Status(0x6001) // what the kernel's target answers to an unknown opcode
	if s.Code() != StatusInvalidOpcode || !s.DNR() || s.SCT() != 0 || s.SC() != 1 {
		t.Errorf("0x6001 is code %#x, SCT %d, SC %d", uint16(s.Code()), s.SCT(), s.SC())
	}
	if got, want := s.Error(), "NVMe status 0x001 (invalid opcode), do not retry"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if got, want := Status(0x7C3).Error(), "NVMe status 0x7c3"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if got, want := Status(0x7C3).String(), "status 0x7c3"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
	wrapped := fmt.Errorf("cannot connect: %w", StatusConnectHost|StatusDNR|StatusMore)
	if !errors.Is(wrapped, StatusConnectHost) || errors.Is(wrapped, StatusConnectInvalid) {
		t.Error("errors.Is does not compare the code")
	}
	if StatusMore.Err() != nil || StatusInvalidField.Err() == nil {
		t.Error("Err takes success for failure, or the other way round")
	}
	if StatusConnectHost.SCT() != 1 || StatusHostPathError.SCT() != 3 {
		t.Error("status code type is not bits 10:8")
	}
}

func TestAsyncEvent(t *testing.T) {
	e, err := ParseAsyncEvent("0x70f002")
	if err != nil || e != AENDiscoveryLogChange {
		t.Fatalf("%v, %v", e, err)
	}
	if e.Type() != EventTypeNotice || e.Info() != NoticeDiscovery || e.LogPage() != LogDiscovery || !e.DiscoveryChange() {
		t.Errorf("type %d, info %#x, page %#x", e.Type(), e.Info(), e.LogPage())
	}
	if AENNamespaceChange.DiscoveryChange() || AsyncEvent(0x70F001).DiscoveryChange() {
		t.Error("another event passes as a discovery change")
	}
	if e.String() != "0x70f002" || AENNamespaceChange.String() != "0x040002" {
		t.Errorf("prints as %q", e)
	}
	for _, bad := range []string{"", "0x", "x", "0x1234567890", "-1", "0x70f002\n"} {
		if e, err := ParseAsyncEvent(bad); err == nil {
			t.Errorf("%q parses as %v", bad, e)
		}
	}
}

func TestGetLogPageDwords(t *testing.T) {
	g := GetLogPage{LID: 0x70, LSP: 2, RAE: true, Length: 0x40000 + 4096, LSI: 7, Offset: 0x1_2345_6780}
	a, b, c, d := g.Dwords()
	// 0x41000 bytes are 0x10400 dwords, 0x103FF 0-based.
	if a != 0x03FF_8270 || b != 0x0007_0001 || c != 0x2345_6780 || d != 1 {
		t.Errorf("dwords %#08x %#08x %#08x %#08x", a, b, c, d)
	}
	if got := ParseGetLogPage(a, b, c, d); got != g {
		t.Errorf("comes back as %+v", got)
	}
	if got := ParseGetLogPage(0xFFFF_0070, 0xFFFF, 0, 0); got.Length != 0xFFFF_FFFC {
		t.Errorf("longest length is %#x", got.Length)
	}
}

func TestSupportedLogPages(t *testing.T) {
	raw := make([]byte, 1024)
	raw[0x00*4] = 1
	raw[0x70*4], raw[0x70*4+2] = 1, 0x02 // PLEOS
	s, err := DecodeSupportedLogPages(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Supports(0) || !s.Supports(LogDiscovery) || s.Supports(LogSMART) {
		t.Error("wrong pages are supported")
	}
	if got := s.DiscoveryLSP(LSPPortLocal | LSPExtended); got != LSPPortLocal {
		t.Errorf("LSP %#x", got)
	}
	if got := new(SupportedLogPages).DiscoveryLSP(0xFF); got != 0 {
		t.Errorf("nothing is supported, yet LSP %#x", got)
	}
	if string(s.Encode()) != string(raw) {
		t.Error("encoding differs")
	}
	if _, err := DecodeSupportedLogPages(raw[:1023]); err == nil {
		t.Error("a short page decodes")
	}
}

func TestConnectData(t *testing.T) {
	c := &ConnectData{HostID: HostID{1, 2, 3}, CntlID: CntlIDDynamic, SubNQN: DiscoveryNQN, HostNQN: "nqn.2026-01.test:h"}
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != 1024 || b[2] != 3 || b[16] != 0xFF || string(b[256:259]) != "nqn" || string(b[512:530]) != c.HostNQN {
		t.Errorf("bytes %x", b)
	}
	got, err := DecodeConnectData(b)
	if err != nil || *got != *c {
		t.Errorf("comes back as %+v, %v", got, err)
	}
	b[520] = ','
	if _, err := DecodeConnectData(b); err == nil {
		t.Error("a comma in the host NQN passes")
	}
	if _, err := DecodeConnectData(b[:1000]); err == nil {
		t.Error("short data passes")
	}
	if _, err := (&ConnectData{HostNQN: string(make([]byte, 224))}).Encode(); err == nil {
		t.Error("an NQN of 224 bytes passes")
	}
}

func TestNQN(t *testing.T) {
	for nqn, ok := range map[string]bool{
		DiscoveryNQN: true, "nqn.2026-01.test:a": true, "": false, "iqn.2026-01.test:a": false,
		"nqn.2026-13.test": false, "nqn.2026-00.test": false, "nqn.202-01.test:aa": false, "nqn.2026-01.": false,
		"nqn.2026-01.a,b": false, "nqn.2026-01.a b": false, "nqn.2026-01.\n": false, "nqn.2026-01.\xc3\xa4": false,
		"nqn.2026-01." + string(make([]byte, 300)): false,
	} {
		if err := CheckNQN(nqn); (err == nil) != ok {
			t.Errorf("%q: %v", nqn, err)
		}
	}
}

func TestDefaultPort(t *testing.T) {
	for _, tt := range []struct {
		tr        Transport
		discovery bool
		want      string
	}{{TCP, true, "8009"}, {TCP, false, "4420"}, {RDMA, true, "4420"}, {RDMA, false, "4420"}, {FC, true, ""}, {Loop, false, ""}} {
		if got := tt.tr.DefaultPort(tt.discovery); got != tt.want {
			t.Errorf("%s, discovery %t: %q", tt.tr, tt.discovery, got)
		}
	}
	if PCIe.Fabric() || !Loop.Fabric() || !RDMA.IP() || FC.IP() {
		t.Error("a transport is put into the wrong class")
	}
}
