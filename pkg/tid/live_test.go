package tid

import (
	"fmt"
	"testing"

	"github.com/stas-go/stas/pkg/nvme"
)

// TestFitPinning goes through host-iface, host-traddr and src_addr, each set or not set, right
// or wrong, on either side, for both families. What fits is said a second time, in words.
func TestFitPinning(t *testing.T) {
	families := []struct{ remote, right, wrong string }{
		{"192.0.2.10", "192.0.2.1", "198.51.100.1"},
		{"2001:db8::10", "2001:db8::1", "2001:db8:ffff::1"},
	}
	for _, f := range families {
		ifaces := owners{f.right: "eth0", f.wrong: "eth1"}
		pins := []string{"", f.right, f.wrong}
		n := 0
		for _, wantIface := range []string{"", "eth0"} {
			for _, wantAddr := range []string{"", f.right} {
				for _, pinnedIface := range []string{"", "none", "eth0", "eth1"} {
					for _, pinnedAddr := range pins {
						for _, src := range pins {
							for _, known := range []Interfaces{nil, ifaces} {
								n++
								id := with(io4(), func(t *TID) { t.Traddr, t.HostIface, t.HostTraddr = f.remote, wantIface, wantAddr })
								l := with(live4(), func(l *Live) { l.Traddr, l.HostIface, l.HostTraddr, l.SrcAddr = f.remote, pinnedIface, pinnedAddr, src })
								iface := pinnedIface
								if iface == "none" {
									iface = ""
								}
								// From the wrong address: by its pin or, without one, by its socket.
								wrongAddr := wantAddr != "" && (pinnedAddr == f.wrong || pinnedAddr == "" && src == f.wrong)
								// Over the wrong interface: by its pin or, without one, by the owner of its socket's address.
								wrongIface := wantIface != "" && (iface == "eth1" || iface == "" && src == f.wrong && known != nil)
								want := Compatible
								switch {
								case wrongAddr || wrongIface:
									want = NoFit
								case iface == wantIface && (pinnedAddr != "") == (wantAddr != ""):
									want = Exact
								}
								if got := l.FitTo(IO, id, known); got != want {
									t.Errorf("want iface %q addr %q; connection iface %q addr %q src %q, interfaces known %v: fit %d, want %d",
										wantIface, wantAddr, pinnedIface, pinnedAddr, src, known != nil, got, want)
								}
							}
						}
					}
				}
			}
		}
		if n != 2*2*4*3*3*2 {
			t.Errorf("%d combinations", n)
		}
	}
}

func TestFitIdentity(t *testing.T) {
	dc := TID{Transport: nvme.TCP, Traddr: "192.0.2.10", Trsvcid: "8009", NQN: nvme.DiscoveryNQN, HostNQN: hostNQN}
	liveDC := with(live4(), func(l *Live) { l.Trsvcid, l.NQN, l.Kind = "8009", nvme.DiscoveryNQN, Discovery })
	fc := TID{Transport: nvme.FC, Traddr: wwn, NQN: subsys, HostTraddr: hba, HostNQN: hostNQN}
	liveFC := with(live4(), func(l *Live) { l.Transport, l.Traddr, l.Trsvcid, l.HostTraddr = nvme.FC, wwn, "none", hba })
	loop := TID{Transport: nvme.Loop, NQN: subsys, HostNQN: hostNQN}
	liveLoop := with(live4(), func(l *Live) { l.Transport, l.Traddr, l.Trsvcid = nvme.Loop, "(null)", "none" })
	ll := with(io4(), func(t *TID) { t.Traddr = "fe80::1%eth0" })
	liveLL := with(live4(), func(l *Live) { l.Traddr = "fe80::1%eth0" })

	tests := []struct {
		name string
		kind Kind
		id   TID
		live Live
		want Fit
	}{
		{"equal", IO, io4(), live4(), Exact},
		{"another port", IO, io4(), with(live4(), func(l *Live) { l.Trsvcid = "4421" }), NoFit},
		{"another address", IO, io4(), with(live4(), func(l *Live) { l.Traddr = "192.0.2.11" }), NoFit},
		{"another transport", IO, io4(), with(live4(), func(l *Live) { l.Transport = nvme.RDMA }), NoFit},
		{"another NQN", IO, io4(), with(live4(), func(l *Live) { l.NQN = subsys + "0" }), NoFit},
		{"NQN in another case", IO, io4(), with(live4(), func(l *Live) { l.NQN = "nqn.2026-01.test:S1" }), NoFit},
		{"kind unknown", IO, io4(), with(live4(), func(l *Live) { l.KindKnown = false }), NoFit},
		{"a discovery controller for I/O", IO, io4(), with(live4(), func(l *Live) { l.Kind = Discovery }), NoFit},
		{"boot's host NQN", IO, io4(), with(live4(), func(l *Live) { l.HostNQN = bootNQN }), NoFit},
		{"host NQN not told", IO, io4(), with(live4(), func(l *Live) { l.HostNQN = "" }), NoFit},
		{"any host NQN", IO, with(io4(), func(t *TID) { t.HostNQN = "" }), live4(), Exact},
		{"IPv4-mapped", IO, io4(), with(live4(), func(l *Live) { l.Traddr = "::ffff:192.0.2.10" }), Exact},

		{"well-known on both sides", Discovery, dc, liveDC, Exact},
		{"unique NQN of a DC for the well-known", Discovery, dc, with(liveDC, func(l *Live) { l.NQN = uniqueDC }), Exact},
		{"well-known for a unique one", Discovery, with(dc, func(t *TID) { t.NQN = uniqueDC }), liveDC, Exact},
		{"two unique ones", Discovery, with(dc, func(t *TID) { t.NQN = uniqueDC }), with(liveDC, func(l *Live) { l.NQN = uniqueDC + "2" }), NoFit},
		{"well-known never matches I/O", IO, with(dc, func(t *TID) { t.Trsvcid = "4420" }), live4(), NoFit},
		{"an I/O controller for a DC", Discovery, dc, with(liveDC, func(l *Live) { l.Kind = IO }), NoFit},

		{"FC", IO, fc, liveFC, Exact},
		{"FC in upper case", IO, fc, with(liveFC, func(l *Live) { l.Traddr = "nn-0x10000000C9000001:pn-0x20000000C9000001" }), Exact},
		{"FC with comma", IO, fc, with(liveFC, func(l *Live) { l.Traddr = "nn-0x10000000c9000001,pn-0x20000000c9000001" }), Exact},
		{"FC in short", IO, with(fc, func(t *TID) { t.Traddr = "nn-0x0000000000000001:pn-0x0000000000000002" }),
			with(liveFC, func(l *Live) { l.Traddr = "nn-0x1:pn-0x2" }), Exact},
		{"another FC port", IO, fc, with(liveFC, func(l *Live) { l.Traddr = hba }), NoFit},
		{"another local FC port", IO, fc, with(liveFC, func(l *Live) { l.HostTraddr = wwn }), NoFit},
		{"local FC port not told", IO, fc, with(liveFC, func(l *Live) { l.HostTraddr = "" }), NoFit},
		{"any local FC port", IO, with(fc, func(t *TID) { t.HostTraddr = "" }), liveFC, Compatible},

		{"loop", IO, loop, liveLoop, Exact},
		{"loop without text", IO, loop, with(liveLoop, func(l *Live) { l.Traddr, l.Trsvcid = "", "" }), Exact},
		{"another loop", IO, loop, with(liveLoop, func(l *Live) { l.Traddr = "2" }), NoFit},

		{"link-local, same link", IO, ll, liveLL, Exact},
		{"link-local, another link", IO, ll, with(liveLL, func(l *Live) { l.Traddr = "fe80::1%eth1" }), NoFit},
		{"link-local, spelled out", IO, ll, with(liveLL, func(l *Live) { l.Traddr = "FE80:0::0001%eth0" }), Exact},
		{"link-local, scope not told, pinned to the link", IO, ll, with(liveLL, func(l *Live) { l.Traddr, l.HostIface = "fe80::1", "eth0" }), Compatible},
		{"link-local, scope not told, pinned to another", IO, ll, with(liveLL, func(l *Live) { l.Traddr, l.HostIface = "fe80::1", "eth1" }), NoFit},
		{"link-local, scope not asked for", IO, with(ll, func(t *TID) { t.Traddr = "fe80::1" }), liveLL, Exact},
		{"link-local, iface instead of scope", IO, with(ll, func(t *TID) { t.Traddr, t.HostIface = "fe80::1", "eth0" }), liveLL, Compatible},
		{"link-local, another iface instead of scope", IO, with(ll, func(t *TID) { t.Traddr, t.HostIface = "fe80::1", "eth1" }), liveLL, NoFit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.live.FitTo(tt.kind, tt.id, nil); got != tt.want {
				t.Errorf("fit %d, want %d\n%+v\n%+v", got, tt.want, tt.id, tt.live)
			}
		})
	}
}

// A scope in the source address of a link-local socket does not hide its owner.
func TestFitSourceWithScope(t *testing.T) {
	id := with(io4(), func(t *TID) { t.HostIface = "eth0" })
	for owner, want := range map[string]Fit{"eth0": Compatible, "eth1": NoFit, "": Compatible} {
		l := with(live4(), func(l *Live) { l.SrcAddr = "fe80::5%2" })
		if got := l.FitTo(IO, id, owners{"fe80::5": owner}); got != want {
			t.Errorf("owner %q: fit %d, want %d", owner, got, want)
		}
	}
}

func TestOverlaps(t *testing.T) {
	dc := TID{Transport: nvme.TCP, Traddr: "192.0.2.10", Trsvcid: "8009", NQN: nvme.DiscoveryNQN, HostNQN: hostNQN}
	tests := []struct {
		name string
		kind Kind
		a, b TID
		want bool
	}{
		{"equal", Discovery, dc, dc, true},
		{"unique and well-known", Discovery, dc, with(dc, func(t *TID) { t.NQN = uniqueDC }), true},
		{"two unique", Discovery, with(dc, func(t *TID) { t.NQN = uniqueDC }), with(dc, func(t *TID) { t.NQN = uniqueDC + "2" }), false},
		{"NQN counts for I/O", IO, dc, with(dc, func(t *TID) { t.NQN = uniqueDC }), false},
		{"one names an interface", Discovery, dc, with(dc, func(t *TID) { t.HostIface = "eth0" }), true},
		{"two interfaces", Discovery, with(dc, func(t *TID) { t.HostIface = "eth1" }), with(dc, func(t *TID) { t.HostIface = "eth0" }), false},
		{"two sources", Discovery, with(dc, func(t *TID) { t.HostTraddr = "192.0.2.1" }), with(dc, func(t *TID) { t.HostTraddr = "192.0.2.2" }), false},
		{"two hosts", Discovery, dc, with(dc, func(t *TID) { t.HostNQN = bootNQN }), false},
		{"two ports", Discovery, dc, with(dc, func(t *TID) { t.Trsvcid = "8010" }), false},
		{"scope and interface", Discovery, with(dc, func(t *TID) { t.Traddr = "fe80::1%eth0" }),
			with(dc, func(t *TID) { t.Traddr, t.HostIface = "fe80::1", "eth0" }), true},
		{"two scopes", Discovery, with(dc, func(t *TID) { t.Traddr = "fe80::1%eth0" }), with(dc, func(t *TID) { t.Traddr = "fe80::1%eth1" }), false},
	}
	for _, tt := range tests {
		if a, b := tt.a.Overlaps(tt.kind, tt.b), tt.b.Overlaps(tt.kind, tt.a); a != tt.want || b != tt.want {
			t.Errorf("%s: %v and %v, want %v", tt.name, a, b, tt.want)
		}
	}
}

func TestScopedLike(t *testing.T) {
	tests := []struct{ addr, parent, iface, want string }{
		{"fe80::1", "fe80::9%eth0", "", "fe80::1%eth0"},
		{"fe80::1", "192.0.2.1", "eth1", "fe80::1%eth1"},
		{"fe80::1", "fe80::9%eth0", "eth1", "fe80::1%eth1"},
		{"fe80::1", "192.0.2.1", "", "fe80::1"},
		{"fe80::1%eth7", "fe80::9%eth0", "", "fe80::1%eth7"},
		{"2001:db8::1", "fe80::9%eth0", "", "2001:db8::1"},
		{"192.0.2.1", "fe80::9%eth0", "", "192.0.2.1"},
		{"", "fe80::9%eth0", "", ""},
	}
	for _, tt := range tests {
		got := TID{Traddr: tt.addr}.ScopedLike(TID{Traddr: tt.parent, HostIface: tt.iface}).Traddr
		if got != tt.want {
			t.Errorf("%s listed by %s over %q: %s, want %s", tt.addr, tt.parent, tt.iface, got, tt.want)
		}
	}
}

func TestFamily(t *testing.T) {
	for want, ids := range map[int][]TID{
		4: {{Transport: nvme.TCP, Traddr: "192.0.2.1"}, {Transport: nvme.RDMA, Traddr: "192.0.2.1"}},
		6: {{Transport: nvme.TCP, Traddr: "fe80::1%eth0"}},
		0: {{Transport: nvme.FC, Traddr: wwn}, {Transport: nvme.Loop}},
	} {
		for _, id := range ids {
			if got := id.Family(); got != want {
				t.Errorf("%s: family %d, want %d", id, got, want)
			}
		}
	}
	// An IPv4-mapped address counts as IPv4, as it is spelled so.
	id, err := New(IO, with(io4(), func(t *TID) { t.Traddr = "::FFFF:192.0.2.1" }))
	if err != nil || id.Family() != 4 {
		t.Errorf("%v, %v", id, err)
	}
}

// What fits is found at the same place, in whatever spelling the kernel shows it.
func TestWhere(t *testing.T) {
	tests := []struct {
		transport nvme.Transport
		in, want  string
	}{
		{nvme.TCP, "FE80:0::1%eth0", "fe80::1"}, {nvme.RDMA, "::ffff:192.0.2.1", "192.0.2.1"}, {nvme.TCP, "192.0.2.1", "192.0.2.1"},
		{nvme.FC, "nn-0x10000000C9000001,pn-0x20000000C9000001", wwn}, {nvme.FC, wwn, wwn}, {nvme.FC, "x", "x"},
		{nvme.Loop, "(null)", ""}, {nvme.Loop, "none", ""}, {nvme.Loop, "", ""}, {nvme.Loop, "2", "2"},
	}
	for _, tt := range tests {
		if got := Where(tt.transport, tt.in); got != tt.want {
			t.Errorf("Where(%s, %s) = %s, want %s", tt.transport, tt.in, got, tt.want)
		}
	}
}

func BenchmarkFitTo(b *testing.B) {
	id := with(io4(), func(t *TID) { t.HostIface = "eth0" })
	l := with(live4(), func(l *Live) { l.SrcAddr = "192.0.2.1" })
	ifaces := owners{"192.0.2.1": "eth0"}
	b.ReportAllocs()
	for b.Loop() {
		if l.FitTo(IO, id, ifaces) == NoFit {
			b.Fatal(fmt.Sprint(l))
		}
	}
}
