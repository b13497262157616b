package bus

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/test/privatebus"
	"github.com/stas-go/stas/test/recording"
)

// recordedOperation is the state of an operation that has succeeded.
var recordedOperation = Dict(Object{{"fail count", 0}, {"completed", true}, {"alive", true}})

// recordedFabric is the fabric that was recorded.
func recordedFabric() (staf, stac *fakeDaemon) {
	entry := nvme.DiscoveryEntry{
		Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4, Subtype: nvme.SubtypeDiscovery,
		TReq: nvme.TReqDisableSQFlow, PortID: 1, CntlID: nvme.CntlIDDynamic, ASQSize: 32,
		Traddr: "127.0.0.1", Trsvcid: "8009", SubNQN: nvme.DiscoveryNQN,
	}
	subsystem := entry
	subsystem.Subtype, subsystem.SubNQN = nvme.SubtypeNVMe, "nqn.2026-01.test:a"
	host := []Field{{"hostid", "f8e78f19-a131-45ab-b1f6-3a4fc8e093ea"}, {"hostnqn", recordedHost}, {"model", "Linux"}}
	dc := Controller{
		ID:     ID{"tcp", "127.0.0.1", "8009", nvme.DiscoveryNQN, "", "", recordedHost},
		Device: "nvme0", Tunables: []Field{{"kato", "20"}},
		Info: []Field{
			{"connect attempts", "0"}, {"retry connect timer", Timer(60e9, -1)}, {"origin", "configured"},
			{"get log page operation", recordedOperation}, {"get supported log page operation", recordedOperation},
		},
		Details: append(host[:3:3], Field{"serial", "81e0608bb36a8e10f648"}, Field{"dctype", "none"},
			Field{"cntrltype", "discovery"}, Field{"connected", True(true)}),
	}
	ioc := Controller{
		ID:     ID{"tcp", "127.0.0.1", "8009", "nqn.2026-01.test:a", "", "", recordedHost},
		Device: "nvme1",
		Info:   []Field{{"connect attempts", "0"}, {"retry connect timer", Timer(60e9, -1)}},
		Details: append(host[:3:3], Field{"serial", "efe95fca749ca7051247"}, Field{"dctype", "none"}, Field{"cntrltype", "io"},
			Field{"connected", True(true)}, Field{"dlpe", EntryDict(&subsystem)}, Field{"dlpe.eflags.ncc", True(false)}),
	}
	process := func(name string) Object {
		return Object{
			{"tron", false}, {"log-level", "INFO"}, {"hostnqn", recordedHost}, {"hostid", host[0].Value}, {"hostkey", nil}, {"symname", nil},
			{"last known config file", "/run/" + name + "/last-known-config.pickle"}, {"config soak timer", Timer(1.5e9, -1)},
			{"kernel support.TP8013", "True"}, {"kernel support.host_iface", "True"}, {"terminator.audit timer", Timer(30e9, -1)},
		}
	}
	staf = &fakeDaemon{
		controllers: []Controller{dc},
		logs:        []ControllerLog{{dc, []nvme.DiscoveryEntry{entry, subsystem}}},
		info: append(process("stafd"), Member{"avahi", Object{
			{"avahi wake up timer", Timer(60e9, -1)}, {"service types", []string{}}, {"services", Object{}},
		}}),
	}
	stac = &fakeDaemon{controllers: []Controller{ioc}, info: process("stacd")}
	return staf, stac
}

func TestRepliesEqualTheRecording(t *testing.T) {
	b := privatebus.Start(t)
	staf, stac := recordedFabric()
	startFinder(t, options(b), staf)
	cs := NewConnectorServer(options(b), stac, stac)
	start(t, cs)
	onBus(t, cs.server)

	calls, introspection := recording.Calls(), recording.Introspection()
	if len(calls) != 13 || len(introspection) != 2 {
		t.Fatalf("the recording has %d calls and %d introspections", len(calls), len(introspection))
	}
	for _, r := range calls {
		out := b.Busctl(append([]string{"--json=short", "call", r.Name, r.Path, r.Interface, r.Member}, r.Args...)...)
		var reply struct {
			Type string
			Data []json.RawMessage
		}
		if err := json.Unmarshal([]byte(out), &reply); err != nil || len(reply.Data) != 1 {
			t.Fatalf("%s %v: %s: %v", r.Member, r.Args, out, err)
		}
		if reply.Type != r.Type {
			t.Errorf("%s %v has type %s, recorded is %s", r.Member, r.Args, reply.Type, r.Type)
		}
		data := []byte(reply.Data[0])
		if reply.Type == "s" {
			var text string
			if err := json.Unmarshal(data, &text); err != nil {
				t.Fatal(err)
			}
			data = []byte(text)
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, data, "", " "); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r.Reply, indented.String()); d != "" {
			t.Errorf("%s %s %v (-recorded +ours):\n%s", r.Interface, r.Member, r.Args, d)
		}
	}
	for name, want := range introspection {
		path := "/" + strings.ReplaceAll(name, ".", "/")
		got := interfacesOf(b.Busctl("introspect", name, path))
		for iface, members := range interfacesOf(want) {
			if d := cmp.Diff(members, got[iface]); d != "" {
				t.Errorf("%s (-recorded +ours):\n%s", iface, d)
			}
			delete(got, iface)
		}
		for _, later := range []string{pagesInterface, objectManager, ioEventsInterface} {
			delete(got, later)
		}
		if len(got) != 0 {
			t.Errorf("%s has more interfaces than were recorded: %v", name, got)
		}
	}
}

// interfacesOf reads the table of busctl introspect: the members of each interface,
// without the column widths.
func interfacesOf(table string) map[string][]string {
	m := make(map[string][]string)
	iface := ""
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2 || fields[0] == "NAME":
		case fields[1] == "interface":
			iface = fields[0]
			m[iface] = nil
		default:
			m[iface] = append(m[iface], strings.Join(fields, " "))
		}
	}
	return m
}

// The arguments after the NQN have been mistaken for each other before.
func TestHostTraddrComesBeforeHostIface(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	for _, id := range []ID{
		{"tcp", "192.0.2.1", "8009", nvme.DiscoveryNQN, "192.0.2.9", "", ""},
		{"tcp", "192.0.2.1", "8009", nvme.DiscoveryNQN, "", "eth0", ""},
	} {
		c := Controller{ID: id, Info: []Field{{"origin", id.HostTraddr + id.HostIface}}}
		f.controllers = append(f.controllers, c)
		f.logs = append(f.logs, ControllerLog{c, []nvme.DiscoveryEntry{{Traddr: id.HostTraddr + id.HostIface}}})
	}
	startFinder(t, options(b), f)
	for _, c := range [][3]string{{"192.0.2.9", "", "192.0.2.9"}, {"", "eth0", "eth0"}} {
		for iface, member := range map[string]string{FinderName: "get_log_pages", FinderName + ".debug": "controller_info"} {
			out := b.Busctl("--json=short", "call", FinderName, finderPath, iface, member,
				"sssssss", "tcp", "192.0.2.1", "8009", nvme.DiscoveryNQN, c[0], c[1], "")
			if !strings.Contains(out, c[2]) {
				t.Errorf("%s(host_traddr=%q, host_iface=%q) is %s", member, c[0], c[1], out)
			}
		}
	}
}
