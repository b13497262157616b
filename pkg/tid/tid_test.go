package tid

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stas-go/stas/pkg/nvme"
)

func TestNewNormalises(t *testing.T) {
	tests := []struct {
		name     string
		kind     Kind
		in, want TID
	}{
		{"ports of a DC", Discovery, TID{Transport: "TCP", Traddr: "192.0.2.1"}, TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "8009", NQN: nvme.DiscoveryNQN}},
		{"port of an I/O controller", IO, TID{Transport: "tcp", Traddr: "192.0.2.1", NQN: subsys}, TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: subsys}},
		{"port over RDMA", Discovery, TID{Transport: "rdma", Traddr: "192.0.2.1", NQN: uniqueDC, HostIface: "ib0"}, TID{Transport: "rdma", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: uniqueDC}},
		{"leading zeros of a port", IO, TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "04420", NQN: subsys}, TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: subsys}},
		{"IPv6, padded", IO, TID{Transport: "tcp", Traddr: " FE80:0::1%eth0 ", NQN: subsys, HostTraddr: "2001:DB8::0"},
			TID{Transport: "tcp", Traddr: "fe80::1%eth0", Trsvcid: "4420", NQN: subsys, HostTraddr: "2001:db8::"}},
		{"scope on IPv4, empty scope", IO, TID{Transport: "tcp", Traddr: "1.2.3.4%eth0", NQN: subsys, HostTraddr: "fe80::1%"},
			TID{Transport: "tcp", Traddr: "1.2.3.4", Trsvcid: "4420", NQN: subsys, HostTraddr: "fe80::1"}},
		{"mapped", IO, TID{Transport: "tcp", Traddr: "::ffff:1.2.3.4", NQN: subsys}, TID{Transport: "tcp", Traddr: "1.2.3.4", Trsvcid: "4420", NQN: subsys}},
		{"literals for nothing", IO, TID{Transport: "tcp", Traddr: "1.2.3.4", Trsvcid: "none", NQN: subsys, HostTraddr: "(null)", HostIface: "none", HostNQN: "none"},
			TID{Transport: "tcp", Traddr: "1.2.3.4", Trsvcid: "4420", NQN: subsys}},
		{"FC", IO, TID{Transport: "fc", Traddr: "NN-0x10000000C9000001,PN-0x2", Trsvcid: "none", NQN: subsys, HostTraddr: hba, HostIface: "eth0"},
			TID{Transport: "fc", Traddr: "nn-0x10000000c9000001:pn-0x0000000000000002", NQN: subsys, HostTraddr: hba}},
		{"loop", IO, TID{Transport: "loop", Traddr: "", Trsvcid: "4420", NQN: subsys, HostTraddr: "1.2.3.4", HostIface: "lo"}, TID{Transport: "loop", NQN: subsys}},
	}
	for _, tt := range tests {
		if got, err := New(tt.kind, tt.in); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v\nwant %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := TID{Transport: nvme.TCP, Traddr: "192.0.2.1", NQN: subsys}
	tests := []struct {
		name, in string
		change   func(*TID)
	}{
		{"host name", "host.example", func(t *TID) { t.Traddr = "host.example" }},
		{"brackets", "[fe80::1]", func(t *TID) { t.Traddr = "[fe80::1]" }},
		{"leading zeros", "192.168.001.010", func(t *TID) { t.Traddr = "192.168.001.010" }},
		{"no address", "traddr", func(t *TID) { t.Traddr = "" }},
		{"port 0", "1 to 65535", func(t *TID) { t.Trsvcid = "0" }},
		{"port too large", "1 to 65535", func(t *TID) { t.Trsvcid = "65536" }},
		{"port of many digits", "1 to 65535", func(t *TID) { t.Trsvcid = strings.Repeat("9", 40) }},
		{"port name", "1 to 65535", func(t *TID) { t.Trsvcid = "nvme" }},
		{"PCIe", "pcie", func(t *TID) { t.Transport = nvme.PCIe }},
		{"no transport", "transport", func(t *TID) { t.Transport = "" }},
		{"no NQN", "nqn", func(t *TID) { t.NQN = "" }},
		{"option in the address", "character", func(t *TID) { t.Traddr = "192.0.2.1,tls" }},
		{"option in the interface", "character", func(t *TID) { t.HostIface = "eth0,nqn=x" }},
		{"option in the scope", "character", func(t *TID) { t.Traddr = "fe80::1%eth0,tls" }},
		{"line end in the host NQN", "character", func(t *TID) { t.HostNQN = "a\nb" }},
		{"DEL", "character", func(t *TID) { t.HostIface = "a\x7f" }},
		{"FC without names", "nn-0x", func(t *TID) { t.Transport, t.Traddr = nvme.FC, "192.0.2.1" }},
		{"17 digits", "nn-0x", func(t *TID) { t.Transport, t.Traddr = nvme.FC, "nn-0x10000000c90000011:pn-0x1" }},
		{"FC host address", "host-traddr", func(t *TID) { t.Transport, t.Traddr, t.HostTraddr = nvme.FC, wwn, "192.0.2.1" }},
	}
	for _, tt := range tests {
		got, err := New(IO, with(good, tt.change))
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tt.in)) || got != (TID{}) {
			t.Errorf("%s: %+v, %v; want an error with %q", tt.name, got, err, tt.in)
		}
	}
}

// Normalising is idempotent, in whatever spelling a Transport ID comes, and leaves nothing
// that would begin another option.
func TestNewIsIdempotent(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := func(name string, usual ...string) string {
			return rapid.OneOf(rapid.SampledFrom(usual), rapid.StringN(0, 12, 12)).Draw(r, name)
		}
		ips := []string{"192.0.2.1", "::1", "FE80::1%eth0", "fe80::1%", "::ffff:1.2.3.4%x", "1.2.3.4%y", "::1.2.3.4", "fe80::1%a%b", "none", "", "nn-0xA:pn-0xb", wwn}
		in := TID{
			Transport:  nvme.Transport(text("transport", "tcp", "TCP", "rdma", "fc", "loop")),
			Traddr:     text("traddr", ips...),
			Trsvcid:    text("trsvcid", "", "none", "4420", "008009", "65535", "+1"),
			NQN:        text("nqn", subsys, nvme.DiscoveryNQN, ""),
			HostTraddr: text("host-traddr", ips...), HostIface: text("host-iface", "", "eth0", "none", "(null)"),
			HostNQN: text("hostnqn", "", hostNQN),
		}
		kind := rapid.SampledFrom([]Kind{IO, Discovery}).Draw(r, "kind")
		once, err := New(kind, in)
		if err != nil {
			return
		}
		twice, err := New(kind, once)
		if err != nil || once != twice {
			r.Fatalf("%+v\nbecomes %+v\nand then %+v, %v", in, once, twice, err)
		}
		for _, s := range []string{once.Traddr, once.Trsvcid, once.NQN, once.HostTraddr, once.HostIface, once.HostNQN, string(once.Transport)} {
			if strings.ContainsAny(s, ",\n\r\x00 ") {
				r.Fatalf("%q would reach the kernel", s)
			}
		}
		if !once.Transport.Fabric() {
			r.Fatalf("transport %q", once.Transport)
		}
		if once.Compare(twice) != 0 || once.Compare(TID{}) == 0 {
			r.Fatal("Compare")
		}
	})
}

// All spellings of one address are one key.
func TestSameIP(t *testing.T) {
	same := [][]string{
		{"fe80::1", "FE80:0::1", "fe80::1%eth0", "fe80:0:0:0:0:0:0:1%eth1"},
		{"192.0.2.1", "::ffff:192.0.2.1", "::FFFF:C000:0201"},
		{"host", "host"},
	}
	for i, a := range same {
		for j, b := range same {
			for _, x := range a {
				for _, y := range b {
					if SameIP(x, y) != (i == j) {
						t.Errorf("SameIP(%s, %s) = %v", x, y, i != j)
					}
				}
			}
		}
	}
	if SameIP("192.168.1.10", "192.168.001.010") || SameIP("fe80::1", "[fe80::1]") {
		t.Error("what is not numeric equals an address")
	}
}

func TestCompareOrdersEveryField(t *testing.T) {
	a := TID{"a", "a", "a", "a", "a", "a", "a"}
	for i, f := range []func(*TID){
		func(t *TID) { t.Transport = "b" }, func(t *TID) { t.Traddr = "b" }, func(t *TID) { t.Trsvcid = "b" }, func(t *TID) { t.NQN = "b" },
		func(t *TID) { t.HostTraddr = "b" }, func(t *TID) { t.HostIface = "b" }, func(t *TID) { t.HostNQN = "b" },
	} {
		if b := with(a, f); a.Compare(b) != -1 || b.Compare(a) != 1 {
			t.Errorf("field %d is not compared", i)
		}
	}
}

func TestString(t *testing.T) {
	id := TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "8009", NQN: nvme.DiscoveryNQN, HostIface: "eth0", HostTraddr: "192.0.2.9", HostNQN: hostNQN}
	if got, want := id.String(), "(tcp, 192.0.2.1, 8009, nqn.2014-08.org.nvmexpress.discovery, eth0, 192.0.2.9)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := (TID{Transport: "loop", NQN: subsys}).String(), "(loop, "+subsys+")"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
