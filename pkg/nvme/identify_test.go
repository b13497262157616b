package nvme

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeIdentify(t *testing.T) {
	b := make([]byte, 4096)
	put := func(at int, v ...byte) { copy(b[at:], v) }
	put(0, 0x34, 0x12)
	copy(b[4:24], spaced("SN1", 20))
	copy(b[24:64], "Linux\x00rest")
	copy(b[64:72], "6.12\x1b  x")
	put(76, 0x0A)
	put(77, 5)
	put(78, 0x02, 0x01)
	put(80, 0x00, 0x01, 0x02, 0x00)
	put(88, 1)
	put(92, 0, 0, 0, 0x80)
	put(96, 0x41, 0x80)
	put(111, 2)
	put(128, 3)
	put(256, 4)
	put(258, 5, 6, 7, 0x26, 8)
	put(320, 10)
	put(342, 11, 12, 13, 0, 0, 0, 14)
	put(512, 0x66, 0x44, 128, 0, 15, 0, 0, 0, 16)
	put(525, 17)
	put(536, 1, 0, 0x10, 0, 18)
	copy(b[768:], "nqn.2026-01.test:cdc")
	put(1792, 4, 0, 0, 0, 1, 0, 0, 0, 19, 0, 20, 21, 22, 0, 2)
	got, err := DecodeIdentify(b)
	if err != nil {
		t.Fatal(err)
	}
	want := &Identify{
		VID: 0x1234, SN: "SN1", MN: "Linux", FR: "6.12?  x", CMIC: CMICMultiController | CMICANA, MDTS: 5, CNTLID: 0x102, VER: 0x20100,
		RTD3E: 1, OAES: OAESDiscovery, CTRATT: CTRATTHostID128 | CTRATTTBKAS | CTRATTELBAS, CNTRLTYPE: ControllerDiscovery, CRDT1: 3,
		OACS: 4, ACL: 5, AERL: 6, FRMW: 7, LPA: LPAEffects | LPAExtendedData | LPASupportedLogPages, ELPE: 8, KAS: 10,
		ANATT: 11, ANACAP: 12, ANAGRPMAX: 13, NANAGRPID: 14, SQES: 0x66, CQES: 0x44, MAXCMD: 128, NN: 15, ONCS: 16, VWC: 17,
		SGLS: 0x100001, MNAN: 18, SUBNQN: "nqn.2026-01.test:cdc", IOCCSZ: 4, IORCSZ: 1, ICDOFF: 19, FCATT: 20, MSDBD: 21, OFCS: 22,
		DCTYPE: DCTypeCDC,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	back, err := DecodeIdentify(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, back); d != "" {
		t.Errorf("after encoding: %s", d)
	}
}

func TestDecodeIdentifyErrors(t *testing.T) {
	with := func(nqn string) []byte { b := make([]byte, 4096); copy(b[768:1024], nqn); return b }
	for fail, b := range map[string][]byte{
		"4095 bytes": make([]byte, 4095), "SUBNQN has a comma": with("nqn.2026-01.a,tls"),
		"U+000A": with("nqn\n"), "longer than 223": with(strings.Repeat("n", 256)), "not UTF-8": with("nqn\xff"),
	} {
		if _, err := DecodeIdentify(b); err == nil || !strings.Contains(err.Error(), fail) {
			t.Errorf("error is %v, want one with %q", err, fail)
		}
	}
}

func TestControllerTypeSpelling(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{ControllerType(0).String(), "reserved"}, {ControllerIO.String(), "io"}, {ControllerDiscovery.String(), "discovery"},
		{ControllerAdmin.String(), "admin"}, {DCTypeNone.String(), "none"}, {DCTypeDDC.String(), "ddc"}, {DCTypeCDC.String(), "cdc"},
		{DCType(3).String(), "reserved"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, sysfs says %q", tt.got, tt.want)
		}
	}
}
