package exclusion

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	n  = "nqn.2014-08.com.example:array1"
	hn = "nqn.2014-08.org.nvmexpress:uuid:3a3f9475-2f25-48d3-9025-0c2f288a4e88"
	id = "3a3f9475-2f25-48d3-9025-0c2f288a4e88"
)

// c is the connection of the specification's cases, changed by edits such as "host-iface=eth1".
func c(edits ...string) Connection {
	conn := Connection{Transport: "tcp", Traddr: "192.168.1.10", Trsvcid: "4420", NQN: n, HostNQN: hn}
	for _, e := range edits {
		name, value, _ := strings.Cut(e, "=")
		*fieldOf(&conn, name, false) = value
	}
	return conn
}

func fc(edits ...string) Connection {
	return c(append([]string{
		"transport=fc", "trsvcid=",
		"traddr=nn-0x20001100aa000001:pn-0x20001100aa000002",
		"host-traddr=nn-0x20001100ab000001:pn-0x20001100ab000002",
	}, edits...)...)
}

// TC-36 .. TC-40 and TC-43 .. TC-46, TC-49
func TestMatch(t *testing.T) {
	const yes, no = true, false
	for _, tc := range []struct {
		id, entry string
		conn      Connection
		want      bool
	}{
		{"TC-36 full", "transport=tcp;traddr=192.168.1.10;trsvcid=4420;nqn=" + n + ";hostnqn=" + hn, c(), yes},
		{"TC-36 subset", "traddr=192.168.1.10", c(), yes},
		{"TC-36 subset", "nqn=" + n, c(), yes},
		{"TC-36 transport alone", "transport=tcp", c(), yes},
		{"TC-36 differs", "transport=rdma;traddr=192.168.1.10", c(), no},
		{"TC-36 differs", "traddr=192.168.1.11;nqn=" + n, c(), no},
		{"TC-36 differs", "traddr=192.168.1.10;nqn=" + n + "x", c(), no},
		{"TC-36 differs", "traddr=192.168.1.10;hostnqn=" + hn + "x", c(), no},

		{"TC-37 pinned", "host-iface=eth1", c("host-iface=eth1"), yes},
		{"TC-37 not pinned", "host-iface=eth1", c(), no},
		{"TC-37 case", "host-iface=ETH1", c("host-iface=eth1"), no},
		{"TC-37 elsewhere", "host-iface=eth1;transport=tcp", c("host-iface=eth10"), no},
		{"host address pinned", "host-traddr=192.168.1.1", c("host-traddr=192.168.1.1"), yes},
		{"host address not pinned", "host-traddr=192.168.1.1", c(), no},
		{"no address at all", "traddr=192.168.1.10", Connection{Transport: "loop", NQN: n}, no},

		{"TC-38 last empty", "traddr=192.168.1.10;", c(), yes},
		{"TC-38 spaces", " traddr =\t192.168.1.10 ; ; trsvcid = 4420", c(), yes},

		{"TC-40 last wins", "traddr=10.0.0.1;traddr=192.168.1.10", c(), yes},
		{"TC-40 last wins", "traddr=192.168.1.10;traddr=10.0.0.1", c(), no},

		{"transport case", "transport=tcp;traddr=192.168.1.10", c("transport=TCP"), no},

		{"TC-43 expanded", "traddr=2001:0db8:0:0:0:0:0:1", c("traddr=2001:db8::1"), yes},
		{"TC-43 case", "traddr=2001:DB8::A", c("traddr=2001:db8::a"), yes},
		{"TC-43 scope on the entry", "traddr=fe80::1%eth0", c("traddr=fe80::1"), yes},
		{"TC-43 scope on the connection", "traddr=fe80::1", c("traddr=fe80::1%eth0"), yes},
		{"TC-43 other scope", "transport=tcp;traddr=fe80::1%eth0", c("traddr=fe80::1%eth1"), yes},
		{"TC-43 brackets", "traddr=[2001:db8::1]", c("traddr=2001:db8::1"), no},
		{"TC-43 mapped entry", "traddr=::ffff:192.168.1.10", c(), yes},
		{"TC-43 mapped connection", "traddr=192.168.1.10", c("traddr=::FFFF:192.168.1.10"), yes},
		{"TC-43 mapped in hex", "traddr=::ffff:c0a8:10a", c(), yes},
		{"TC-43 leading zeros", "traddr=192.168.001.010", c(), no},
		{"host address spelling", "host-traddr=2001:DB8::A", c("host-traddr=2001:db8::a"), yes},

		{"TC-44 hex case", "traddr=nn-0x20001100AA000001:pn-0x20001100AA000002", fc(), yes},
		{"TC-44 hex case, transport", "transport=fc;traddr=nn-0x20001100AA000001:pn-0x20001100AA000002", fc(), yes},
		{"TC-44 comma, transport", "transport=fc;traddr=nn-0x20001100aa000001,pn-0x20001100aa000002", fc(), yes},
		{"TC-44 comma alone", "traddr=nn-0x20001100aa000001,pn-0x20001100aa000002", fc(), no},
		{"TC-44 prefix case", "traddr=NN-0x20001100aa000001:PN-0x20001100aa000002", fc(), yes},
		{"TC-44 host port", "host-traddr=nn-0x20001100ab000001:pn-0x20001100AB000002", fc(), yes},
		{"TC-44 other port", "traddr=nn-0x20001100aa000001:pn-0x20001100aa000003", fc(), no},
		{"FC names by value", "transport=fc;traddr=nn-0x1:pn-0x2", fc("traddr=nn-0x0000000000000001:pn-0x0000000000000002"), yes},
		{"FC comma in the connection", "transport=fc;traddr=nn-0x1:pn-0x2", fc("traddr=nn-0x1,pn-0x2"), yes},
		{"FC text over tcp", "traddr=nn-0xA:pn-0xB", c("transport=loop", "traddr=nn-0xa:pn-0xb"), no},

		{"TC-45 service as text", "trsvcid=04420", c(), no},
		{"TC-45 hostid", "hostid=" + id, c("hostid=" + id), yes},
		{"TC-45 hostid case", "hostid=" + strings.ToUpper(id), c("hostid=" + id), no},
		{"TC-45 hostid absent", "hostid=" + id, c(), no},

		{"TC-46 resolved", "traddr=192.168.1.10", c(), yes},
		{"TC-46 name in the entry", "traddr=array1.example.com", c(), no},
		{"TC-46 not resolved yet", "nqn=" + n, c("traddr=array1.example.com"), no},
		{"TC-46 not resolved yet", "traddr=array1.example.com", c("traddr=array1.example.com"), no},
		{"other transports take any text", "traddr=foo", c("transport=loop", "traddr=foo"), yes},

		{"TC-49 default service", "transport=tcp;trsvcid=8009", c("trsvcid=8009"), yes},
	} {
		e, err := ParseEntry(tc.entry)
		if err != nil {
			t.Errorf("%s: %q: %v", tc.id, tc.entry, err)
			continue
		}
		if got := e.Matches(tc.conn); got != tc.want {
			t.Errorf("%s: %q on %+v: %v", tc.id, tc.entry, tc.conn, got)
		}
		if _, got := NewList(e).Match(tc.conn); got != tc.want {
			t.Errorf("%s: list of %q on %+v: %v", tc.id, tc.entry, tc.conn, got)
		}
	}
}

// TC-38, TC-39, TC-44: such entries are dropped as a whole.
func TestParseEntryRefuses(t *testing.T) {
	for text, want := range map[string]error{
		"":                                                   ErrEmpty,
		" \t":                                                ErrEmpty,
		";;;":                                                ErrEmpty,
		"traddr=192.168.1.10;subsysnqn=" + n:                 ErrMalformed,
		"traddr=192.168.1.10;host-nqn=" + hn:                 ErrMalformed,
		"traddr=192.168.1.10;TRANSPORT=tcp":                  ErrMalformed,
		"traddr=192.168.1.10;host_iface=eth1":                ErrMalformed,
		"traddr=192.168.1.10;foo":                            ErrMalformed,
		"traddr=192.168.1.10;=tcp":                           ErrMalformed,
		"transport=tcp;traddr=":                              ErrMalformed,
		"transport=tcp;traddr= ;nqn=" + n:                    ErrMalformed,
		"nqn=" + n + ";trsvcid=44\x0020":                     ErrMalformed,
		"nqn=" + n + "\nnqn=" + n:                            ErrMalformed,
		"transport=tcp;traddr=array1.example.com":            ErrMalformed,
		"transport=rdma;traddr=[2001:db8::1]":                ErrMalformed,
		"transport=tcp;traddr=192.168.001.010":               ErrMalformed,
		"transport=tcp;host-traddr=eth0":                     ErrMalformed,
		"transport=fc;traddr=NN-0x1:pn-0x2":                  ErrMalformed,
		"transport=fc;traddr=nn-0x1":                         ErrMalformed,
		"transport=fc;traddr=nn-0x1:pn-0x":                   ErrMalformed,
		"transport=fc;traddr=nn-0x1:pn-0xg":                  ErrMalformed,
		"transport=fc;traddr=nn-0x1:pn-0x2:":                 ErrMalformed,
		"transport=fc;traddr=nn-0x1,pn-0x2,":                 ErrMalformed,
		"transport=fc;traddr=nn-0x1:pn-0x00000000000000002":  ErrMalformed,
		"transport=fc;host-traddr=192.168.1.10":              ErrMalformed,
		"transport=fc;traddr=nn-0x1:pn-0x2;host-traddr=pn-0": ErrMalformed,
	} {
		e, err := ParseEntry(text)
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
		if e != (Entry{}) || e.Matches(c()) || e.Matches(Connection{}) {
			t.Errorf("%q: the refused entry is not inert: %v", text, e)
		}
	}
}

func TestParseOwn(t *testing.T) {
	for _, tc := range []struct {
		line string
		conn Connection
		want bool
	}{
		{"subsysnqn=" + n, c(), true},
		{"nqn=" + n + ";host-nqn=" + hn, c(), true},
		{"hostnqn=" + hn, c(), true},
		{"transport=tcp;traddr=192.168.1.10;trsvcid=4420", c(), true},
		{"host-traddr=192.168.1.1", c(), false},
		{"host-traddr=192.168.1.1", c("host-traddr=::ffff:192.168.1.1"), true},
		{"transport=tcp;traddr=array1.example.com", c(), false},
		{"transport=tcp;traddr=array1.example.com", c("traddr=array1.example.com"), true},
		{"transport=tcp;traddr=FE80::1", c("traddr=fe80::1%eth0"), true},
		{"transport=tcp", c("traddr=array1.example.com"), true},
	} {
		e, err := ParseOwn(tc.line)
		if err != nil {
			t.Errorf("%q: %v", tc.line, err)
		} else if _, got := NewList(e).Match(tc.conn); got != tc.want {
			t.Errorf("%q on %+v: %v", tc.line, tc.conn, got)
		}
	}
	for line, want := range map[string]error{
		"": ErrEmpty, " ; ": ErrEmpty, "hostid=" + id: ErrMalformed, "foo": ErrMalformed, "kato=5": ErrMalformed, "nqn=": ErrMalformed,
	} {
		if e, err := ParseOwn(line); !errors.Is(err, want) || e.Matches(c()) || e.Matches(Connection{}) {
			t.Errorf("%q: %v, want %v", line, err, want)
		}
	}
	for line, want := range map[string]bool{
		"traddr=192.168.1.10 # old array": true, "traddr=192.168.1.10\t# old": true, "nqn=nqn.2014-08.x:a#1": false, "traddr=192.168.1.10": false,
	} {
		e, err := ParseOwn(line)
		if err != nil || e.LooksCommented() != want {
			t.Errorf("%q: %v, %v", line, e.LooksCommented(), err)
		}
	}
}

func TestMatchGivesTheEntry(t *testing.T) {
	entries, problems := Parse(strings.NewReader("[exclusions]\nexclusion=traddr=10.0.0.1\n\nexclusion=trsvcid=4420\nexclusion=transport=tcp\n"), "x.conf")
	if problems != nil {
		t.Error(problems)
	}
	e, ok := NewList(entries...).Match(c())
	if !ok || e.Where() != "x.conf:4" || e.String() != "trsvcid=4420" {
		t.Errorf("%v at %s, %v", e, e.Where(), ok)
	}
	var none *List
	if _, ok := none.Match(c()); ok || none.Len() != 0 || none.Entries() != nil || none.Generation() != 0 {
		t.Error("the nil list excludes something")
	}
}

func TestEntryStringAndEqual(t *testing.T) {
	e, err := ParseEntry("hostid=x; nqn = a=b ;transport=fc;traddr=nn-0xA,pn-0xB")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("transport=fc;traddr=nn-0xA:pn-0xB;nqn=a=b;hostid=x", e.String()); diff != "" {
		t.Error(diff)
	}
	for _, p := range []struct {
		a, b string
		want bool
	}{
		{"traddr=fe80::1", "traddr=FE80:0::1", true},
		{"traddr=1.2.3.4", "traddr=::ffff:1.2.3.4", true},
		{"traddr=1.2.3.4", "traddr=1.2.3.5", false},
		{"traddr=1.2.3.4", "transport=tcp;traddr=1.2.3.4", false},
		{"nqn=a", "traddr=1.2.3.4", false},
		{"nqn=a", "nqn=a;traddr=1.2.3.4", false},
		{"nqn=a", "nqn=b", false},
		{"transport=fc;traddr=nn-0xA:pn-0xb", "traddr=nn-0xa:pn-0xb;transport=fc", true},
		{"traddr=foo", "traddr=FOO", false},
	} {
		a, errA := ParseEntry(p.a)
		b, errB := ParseEntry(p.b)
		if errA != nil || errB != nil || a.Equal(b) != p.want || b.Equal(a) != p.want {
			t.Errorf("%q and %q: %v (%v, %v)", p.a, p.b, a.Equal(b), errA, errB)
		}
	}
}

// The cost of one decision with a list far longer than any administrator writes.
func BenchmarkMatch(b *testing.B) {
	var text strings.Builder
	text.WriteString("[exclusions]\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "exclusion = transport=tcp;traddr=2001:db8::%x;trsvcid=4420;nqn=%s%d\n", i, n, i)
	}
	entries, problems := Parse(strings.NewReader(text.String()), "bench")
	if len(entries) != 1000 || problems != nil {
		b.Fatal(len(entries), problems)
	}
	list := NewList(entries...)
	for _, bc := range []struct {
		name string
		conn Connection
		want bool
	}{
		{"miss", c("traddr=2001:db8::ffff"), false},
		{"last", c("traddr=2001:DB8::3e7", "nqn="+n+"999"), true},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := list.Match(bc.conn); ok != bc.want {
					b.Fatal(ok)
				}
			}
		})
	}
}
