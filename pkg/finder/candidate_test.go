package finder

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

const (
	hostNQN = "nqn.2014-08.org.nvmexpress:uuid:3a3f9475-2f25-48d3-9025-0c2f288a4e88"
	hostID  = "3a3f9475-2f25-48d3-9025-0c2f288a4e88"
)

func dcTID(traddr string) tid.TID {
	return tid.TID{Transport: nvme.TCP, Traddr: traddr, Trsvcid: "8009", NQN: nvme.DiscoveryNQN, HostNQN: hostNQN}
}

func from(o Origin, t tid.TID) Candidate { return Candidate{TID: t, Source: Source{o, o.String()}} }

func pinned(t tid.TID, iface string) tid.TID { t.HostIface = iface; return t }

func unique(t tid.TID, nqn string) tid.TID { t.NQN = nqn; return t }

func TestMerge(t *testing.T) {
	a := dcTID("10.0.0.1")
	tests := []struct {
		name string
		in   []Candidate
		want []Want
	}{
		{"nothing", nil, nil},
		{"config and mDNS with its interface are one, as the configuration has it", []Candidate{from(Announced, pinned(a, "eth0")), from(Configured, a)},
			[]Want{{from(Configured, a), []Source{{Configured, "configured"}, {Announced, "mdns"}}}}},
		{"mDNS and a referral are one", []Candidate{from(Referred, a), from(Announced, pinned(a, "eth0"))},
			[]Want{{from(Announced, pinned(a, "eth0")), []Source{{Announced, "mdns"}, {Referred, "referral"}}}}},
		{"a unique NQN and the well-known one are one", []Candidate{from(Announced, unique(a, "nqn.2026-01.test:dc")), from(Configured, a)},
			[]Want{{from(Configured, a), []Source{{Configured, "configured"}, {Announced, "mdns"}}}}},
		{"two unique NQNs are two", []Candidate{from(Announced, unique(a, "nqn.2026-01.test:dc2")), from(Announced, unique(a, "nqn.2026-01.test:dc1"))},
			[]Want{{from(Announced, unique(a, "nqn.2026-01.test:dc1")), []Source{{Announced, "mdns"}}},
				{from(Announced, unique(a, "nqn.2026-01.test:dc2")), []Source{{Announced, "mdns"}}}}},
		{"two interfaces are two", []Candidate{from(Announced, pinned(a, "eth1")), from(Announced, pinned(a, "eth0"))},
			[]Want{{from(Announced, pinned(a, "eth0")), []Source{{Announced, "mdns"}}}, {from(Announced, pinned(a, "eth1")), []Source{{Announced, "mdns"}}}}},
		{"a vague one joins the first precise one", []Candidate{from(Announced, a), from(Announced, pinned(a, "eth1")), from(Announced, pinned(a, "eth0"))},
			[]Want{{from(Announced, pinned(a, "eth0")), []Source{{Announced, "mdns"}}}, {from(Announced, pinned(a, "eth1")), []Source{{Announced, "mdns"}}}}},
		{"two addresses are two", []Candidate{from(Configured, dcTID("10.0.0.2")), from(Configured, a)},
			[]Want{{from(Configured, a), []Source{{Configured, "configured"}}}, {from(Configured, dcTID("10.0.0.2")), []Source{{Configured, "configured"}}}}},
		{"two hosts are two", []Candidate{from(Configured, a), from(Announced, tid.TID{Transport: a.Transport, Traddr: a.Traddr, Trsvcid: a.Trsvcid, NQN: a.NQN, HostNQN: "nqn.2026-01.test:h"})},
			[]Want{{from(Configured, a), []Source{{Configured, "configured"}}},
				{from(Announced, tid.TID{Transport: a.Transport, Traddr: a.Traddr, Trsvcid: a.Trsvcid, NQN: a.NQN, HostNQN: "nqn.2026-01.test:h"}), []Source{{Announced, "mdns"}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := merge(slices.Clone(tt.in))
			if !slices.EqualFunc(got, tt.want, func(a, b Want) bool { return a.Candidate == b.Candidate && slices.Equal(a.Sources, b.Sources) }) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// TestMergeAnyOrder: the result does not depend on the order of the candidates, no source is
// lost, no two results overlap with one of a more deliberate origin, and every candidate is in one.
// A boot connection is made as the host of the boot table, also where a line names it too.
func TestMergeKeepsTheHostOfTheBootTable(t *testing.T) {
	line, table := from(Configured, dcTID("10.0.0.1")), from(Firmware, dcTID("10.0.0.1"))
	line.Host, table.Host = testHost, tid.Host{NQN: hostNQN, ID: "11111111-2222-3333-4444-555555555555"}
	for _, in := range [][]Candidate{{line, table}, {table, line}, {line, table, from(Referred, line.TID)}} {
		if got := merge(in); len(got) != 1 || got[0].Origin != Configured || got[0].Host != table.Host {
			t.Errorf("%+v", got)
		}
	}
	if got := merge([]Candidate{line, from(Referred, line.TID)}); len(got) != 1 || got[0].Host != testHost {
		t.Errorf("%+v", got)
	}
}

func TestMergeAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		one := rapid.Custom(func(rt *rapid.T) Candidate {
			c := dcTID(rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "fe80::1", "fe80::1%eth0", "fe80::1%eth1"}).Draw(rt, "traddr"))
			c.NQN = rapid.SampledFrom([]string{nvme.DiscoveryNQN, "nqn.2026-01.test:a", "nqn.2026-01.test:b"}).Draw(rt, "nqn")
			c.HostIface = rapid.SampledFrom([]string{"", "eth0", "eth1"}).Draw(rt, "iface")
			c.HostTraddr = rapid.SampledFrom([]string{"", "", "10.0.0.9"}).Draw(rt, "host-traddr")
			return from(Origin(rapid.IntRange(0, int(Referred)).Draw(rt, "origin")), c)
		})
		in := rapid.SliceOfN(one, 0, 12).Draw(rt, "candidates")
		got := merge(slices.Clone(in))
		other := merge(rapid.Permutation(in).Draw(rt, "order"))
		same := func(a, b Want) bool {
			x, y := slices.Clone(a.Sources), slices.Clone(b.Sources)
			order := func(a, b Source) int { return int(a.Origin) - int(b.Origin) }
			slices.SortFunc(x, order)
			slices.SortFunc(y, order)
			return a.TID == b.TID && a.Origin == b.Origin && slices.Equal(x, y)
		}
		if !slices.EqualFunc(got, other, same) {
			rt.Fatalf("the order counts:\n%+v\n%+v", got, other)
		}
		for _, c := range in {
			if !slices.ContainsFunc(got, func(w Want) bool {
				return (w.TID == c.TID || w.TID.Overlaps(tid.Discovery, c.TID)) && slices.Contains(w.Sources, c.Source)
			}) {
				rt.Fatalf("%+v is lost in %+v", c, got)
			}
		}
		for i, w := range got {
			for _, earlier := range got[:i] {
				if earlier.TID.Overlaps(tid.Discovery, w.TID) {
					rt.Fatalf("%+v and %+v are one", earlier.TID, w.TID)
				}
			}
		}
	})
}

func TestReferredInherits(t *testing.T) {
	parent := Candidate{TID: dcTID("fe80::1%eth0"), Host: tid.Host{NQN: hostNQN, ID: hostID}, Params: &tid.Params{KeepAliveTmo: tid.SetInt(7)}}
	parent.TID.HostTraddr = "fe80::99"
	e := referral("FE80::2")
	c, err := referred(parent, "key", e)
	if err != nil {
		t.Fatal(err)
	}
	want := tid.TID{Transport: nvme.TCP, Traddr: "fe80::2%eth0", Trsvcid: "8009", NQN: nvme.DiscoveryNQN, HostTraddr: "fe80::99", HostNQN: hostNQN}
	if c.TID != want || c.Host != parent.Host || c.Params != parent.Params || c.Source != (Source{Referred, "key"}) {
		t.Errorf("%+v", c)
	}
	e.Traddr = "not-an-address"
	if _, err := referred(parent, "key", e); err == nil {
		t.Error("a referral to nowhere is followed")
	}
}

// A referral to a port that demands TLS is followed by TLS, wherever it was found.
func TestReferredSecurely(t *testing.T) {
	e := nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4, Traddr: "192.0.2.7", Trsvcid: "8009",
		SubNQN: nvme.DiscoveryNQN, TReq: nvme.TReqRequired, TSAS: nvme.TSAS{SecType: nvme.SecTLS13}}
	plain := &tid.Params{Concat: tid.On}
	c, err := referred(Candidate{Params: plain}, "key", e)
	if err != nil || !c.Params.WantsTLS() || c.Params.Concat == tid.On {
		t.Errorf("TLS demanded: %+v, %v", c.Params, err)
	}
	if plain.TLS != tid.Unset {
		t.Error("the parameters of the parent were changed")
	}
	e.TSAS.SecType = nvme.SecNone // TREQ alone says nothing
	if c, err = referred(Candidate{Params: plain}, "key", e); err != nil || c.Params != plain {
		t.Errorf("no TLS: %+v, %v", c.Params, err)
	}
}
