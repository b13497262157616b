package fabricsim

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// everything has each key of each section once.
const everything = `
# comment
; comment
[fabricsim]
control = /tmp/s
memory = 2G
announce = yes
io-queues = 4
[port p]
address = ::
service = 4420
advertise-address = 192.0.2.1
advertise-service = 4421
[dc d]
type = cdc
nqn = nqn.2024-01.org.example:d
ports = p
zoning = yes
register = no
aen = no
log-pages = no
port-local = no
extended = no
self = no
epcsd = yes
ncc = yes
dupretinfo = yes
padding = nul
announce = no
subsystems = s t
referral = e,
  nvme+tcp://192.0.2.1:8009
generation = 0x10
[subsystem s]
nqn = nqn.2024-01.org.example:s%d
count = 2
ports = p
namespace = 64M
namespace = 4K
block-size = 4096
hosts = h nqn.2024-01.org.example:i
serial = 42
model = box
treq = required disable-sqflow
sectype = tls1.3
dupretinfo = yes
[host h]
nqn = nqn.2024-01.org.example:h
dhchap-key = DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:
dhchap-ctrl-key = DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:
dhchap-hash = sha384
dhchap-dhgroup = ffdhe3072
[zone z]
members = h
members = s1, s2
[entry e]
dc = d
trtype = rdma
adrfam = ipv6
subtype = 2
treq = 2
sectype = none
port-id = 7
cntlid = 0x10
eflags = 1
traddr = fe80::1
trsvcid = 4420
nqn = odd name
[fault f]
port = p
dc = d
host = h
step = identify
skip = 1
times = 2
action = status=0x4181
`

func TestEveryKey(t *testing.T) {
	got := parse(t, everything)
	no := false
	want := &Config{Control: "/tmp/s", Memory: 2 << 30, Announce: true, IOQueues: 4,
		Ports: []PortConfig{{"p", netip.MustParseAddrPort("[::]:4420"), "192.0.2.1", "4421"}},
		DCs: []DCConfig{{Name: "d", Type: nvme.DCTypeCDC, NQN: "nqn.2024-01.org.example:d", Ports: []string{"p"}, Zoning: true,
			EFlags: nvme.EPCSD | nvme.NCC | nvme.DUPRETINFO, PadNUL: true, Announce: &no, Subsystems: []string{"s", "t"},
			Referrals: []string{"e", "nvme+tcp://192.0.2.1:8009"}, Generation: 16}},
		Subsystems: []SubsystemConfig{{Name: "s", NQN: "nqn.2024-01.org.example:s%d", Count: 2, Ports: []string{"p"},
			Namespaces: []uint64{64 << 20, 4096}, BlockSize: 4096, Access: AccessList, Hosts: []string{"h", "nqn.2024-01.org.example:i"},
			Serial: "42", Model: "box", TReq: nvme.TReqRequired | nvme.TReqDisableSQFlow, SecType: nvme.SecTLS13, EFlags: nvme.DUPRETINFO}},
		Hosts: []HostConfig{{Name: "h", NQN: "nqn.2024-01.org.example:h",
			Auth: nvmetcp.AuthPolicy{Hash: nvme.HashSHA384, Group: nvmetcp.FFDHE3072}}},
		Zones: []ZoneConfig{{"z", []string{"h", "s1", "s2"}}},
		Entries: []EntryConfig{{"e", []string{"d"}, nvme.DiscoveryEntry{Transport: nvme.TransportTypeRDMA, AddrFamily: nvme.AddrFamilyIPv6,
			Subtype: nvme.SubtypeNVMe, TReq: 2, PortID: 7, CntlID: 16, ASQSize: 32, EFlags: 1, Traddr: "fe80::1", Trsvcid: "4420", SubNQN: "odd name"}}},
		Faults: []FaultConfig{{"f", "p", "d", "h", "identify", 1, 2, "status=0x4181"}},
	}
	if got.Hosts[0].Auth.Host.Key.Len() != 32 || got.Hosts[0].Auth.Controller.Key.Len() != 32 {
		t.Error("keys are missing")
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.IgnoreUnexported(Config{}), cmpopts.IgnoreFields(nvmetcp.AuthPolicy{}, "Host", "Controller")); diff != "" {
		t.Error(diff)
	}
}

// Entries of the configuration arrive as they are, whatever the padding.
func TestOddEntries(t *testing.T) {
	f := start(t, sample+`
[entry odd]
dc = cdc
trtype = 200
adrfam = 77
subtype = 9
treq = 0x3f
cntlid = 0xfffe
eflags = 0xffff
traddr = 0.0.0.0
trsvcid = none
nqn = x
`)
	h := connect(t, f, "p1", alice, "")
	want := nvme.DiscoveryEntry{Transport: 200, AddrFamily: 77, Subtype: 9, TReq: 0x3f, CntlID: nvme.CntlIDStatic, ASQSize: 32,
		EFlags: 0xffff, Traddr: "0.0.0.0", Trsvcid: "none", SubNQN: "x"}
	for _, padding := range []string{"space", "nul"} {
		if err := f.SetDC("cdc", "padding", padding); err != nil {
			t.Fatal(err)
		}
		log, err := h.ReadDiscoveryLog(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, log.Entries[len(log.Entries)-1]); diff != "" {
			t.Error(diff)
		}
	}
}

// What nvme-cli shows comes from these.
func TestStatus(t *testing.T) {
	f := start(t, sample)
	h := connect(t, f, "p2", alice, "nqn.2024-01.org.example:s1")
	if _, err := h.OpenQueues(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	smart := make([]byte, 512)
	if err := h.GetLog(t.Context(), nvme.LogSMART, 0, 0, smart, true); err != nil || smart[3] != 100 {
		t.Errorf("SMART log: %v", err)
	}
	if err := h.GetLog(t.Context(), 0xc0, 0, 0, smart, true); err == nil {
		t.Error("vendor log page is there")
	}
	hosts := f.Hosts().Controllers
	if len(hosts) != 1 || hosts[0].Name != "alice" || hosts[0].Type != "io" || hosts[0].Queues != 2 || hosts[0].KeepAlive != 30 || hosts[0].Port != "p2" {
		t.Errorf("hosts: %+v", hosts)
	}
	if dcs := f.DCs(); len(dcs) != 2 || dcs[0].Type != "cdc" || !dcs[0].Zoning || dcs[0].Hosts != 0 {
		t.Errorf("discovery controllers: %+v", dcs)
	}
	if subs := f.Subsystems(); len(subs) != 4 || strings.Join(subs[0].Zones, " ") != "za" || subs[0].Namespaces[0] != 8<<20 {
		t.Errorf("subsystems: %+v", subs)
	}
	if err := f.Disconnect("s1"); err != nil {
		t.Error(err)
	}
	<-h.Done()
	if err := f.Disconnect("nobody"); err == nil {
		t.Error("what is not there was disconnected")
	}
	await(t, func() bool { return len(f.Hosts().Controllers) == 0 })
}
