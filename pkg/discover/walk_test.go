package discover_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stas-go/stas/pkg/discover"
	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fabric is three discovery controllers that refer to each other in a circle; one of
// them also to an address where nobody listens, to one without address, to RDMA, and
// to itself.
const fabric = `
[port p1]
address = 127.0.0.1
service = 0
[port p2]
address = 127.0.0.2
service = 0
[port p3]
address = ::1
service = 0
[dc cdc]
type = cdc
nqn = nqn.2024-01.org.example:cdc
ports = p1
epcsd = yes
referral = a
[dc a]
nqn = nqn.2024-01.org.example:a
ports = p2
referral = b a nvme+tcp://127.0.0.3:%d
[dc b]
type = none
nqn = nqn.2024-01.org.example:b
ports = p3
referral = cdc
[subsystem disk]
nqn = nqn.2024-01.org.example:disk
ports = p1 p3
namespace = 1G
[entry rdma]
dc = a
subtype = 1
trtype = rdma
traddr = 192.0.2.1
[entry nowhere]
dc = a
subtype = 1
traddr = 0.0.0.0
`

func start(t *testing.T, text string) *fabricsim.Fabric {
	t.Helper()
	cfg, err := fabricsim.ParseConfig(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	f, err := fabricsim.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// closedPort is a port of 127.0.0.3 where nobody listens.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func options(f *fabricsim.Fabric, port string) discover.Options {
	return discover.Options{Endpoint: nvmetcp.Endpoint{Addr: f.Addr(port)}, Recursive: true, Timeout: 20 * time.Second,
		HostNQN: "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555", HostID: nvme.HostID{1}}
}

func TestWalk(t *testing.T) {
	f := start(t, fmt.Sprintf(fabric, closedPort(t)))
	root, err := discover.Walk(t.Context(), options(f, "p1"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	var list func(p *discover.Page, indent string)
	list = func(p *discover.Page, indent string) {
		for _, r := range p.Referrals {
			switch {
			case r.Page == nil:
				got = append(got, indent+r.Entry.Traddr+" "+r.Reason)
			case r.Page.Err != nil:
				got = append(got, fmt.Sprint(indent, r.Page.Traddr, " refused ", errors.Is(r.Page.Err, nvmetcp.ErrRefused)))
			default:
				got = append(got, fmt.Sprint(indent, r.Page.Traddr, " ", r.Page.Controller.DCTYPE, " ", len(r.Page.Log.Entries)))
				list(r.Page, indent+"> ")
			}
		}
	}
	list(root, "")
	want := []string{
		"127.0.0.2 ddc 8",
		"> ::1 none 4",
		"> > 127.0.0.1 was read already", // under the well-known NQN
		"> 127.0.0.2 was read already",
		"> 127.0.0.3 refused true",
		"> 192.0.2.1 is reached over rdma",
		"> 0.0.0.0 has no address",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("walk went\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	output(t, root)
}

func output(t *testing.T, root *discover.Page) {
	var b bytes.Buffer
	if err := discover.WriteTree(&b, root); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CDC nqn.2024-01.org.example:cdc", "├─ nqn.2024-01.org.example:disk", "(is reached over rdma)", "error: "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("tree lacks %q:\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := discover.WriteTable(&b, root); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n != 1+4+8+4+1 {
		t.Errorf("table has %d lines:\n%s", n, b.String())
	}
	b.Reset()
	if err := discover.WriteJSON(&b, root); err != nil {
		t.Fatal(err)
	}
	var o struct {
		SubsysNQN string `json:"subsysnqn"`
		Records   []map[string]any
		Referrals []struct {
			DCType    string `json:"dctype"`
			Referrals []struct {
				NotFollowed string `json:"not-followed"`
				Error       string
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &o); err != nil {
		t.Fatal(err)
	}
	if o.SubsysNQN != "nqn.2024-01.org.example:cdc" || len(o.Records) != 4 || o.Records[1]["subtype"] != "nvme" ||
		o.Referrals[0].DCType != "ddc" || o.Referrals[0].Referrals[1].NotFollowed == "" || o.Referrals[0].Referrals[2].Error == "" {
		t.Errorf("JSON is\n%s", b.String())
	}
}

// A controller with two addresses is shown once, and so is what it refers to; where its
// pages differ, both are.
func TestTwoWays(t *testing.T) {
	const text = `
[port p1]
address = 127.0.0.1
service = 0
[port p2]
address = ::1
service = 0
[port p3]
address = 127.0.0.2
service = 0
[dc first]
nqn = nqn.2024-01.org.example:first
ports = p3
referral = two
[dc two]
nqn = nqn.2024-01.org.example:two
ports = p1 p2
referral = first
[subsystem disk]
nqn = nqn.2024-01.org.example:disk
ports = p1
`
	for _, differ := range []bool{false, true} {
		f := start(t, text)
		if differ {
			if err := f.AddFault(fabricsim.FaultConfig{Name: "x", Port: "p2", Action: "stuck-genctr"}); err != nil {
				t.Fatal(err)
			}
		}
		root, err := discover.Walk(t.Context(), options(f, "p3"))
		if err != nil {
			t.Fatal(err)
		}
		if len(root.Referrals) != 2 {
			t.Fatalf("%d referrals", len(root.Referrals))
		}
		one, two := root.Referrals[0].Page, root.Referrals[1].Page
		if one.Same != nil || (two.Same == one) == differ || (len(two.Referrals) == 0) == differ {
			t.Errorf("pages differ %t: second page is the first: %t, refers to %d", differ, two.Same == one, len(two.Referrals))
		}
		var tree, table, text bytes.Buffer
		if err := errors.Join(discover.WriteTree(&tree, root), discover.WriteTable(&table, root), discover.WriteJSON(&text, root)); err != nil {
			t.Fatal(err)
		}
		for out, word := range map[string]string{tree.String(): ", the same as at 127.0.0.1:", text.String(): `"same-as": "127.0.0.1:`} {
			if strings.Contains(out, word) == differ {
				t.Errorf("pages differ %t:\n%s", differ, out)
			}
		}
		if n := strings.Count(table.String(), "\n"); (n == 1+4+4) == differ {
			t.Errorf("pages differ %t:\n%s", differ, table.String())
		}
	}
}

// What goes wrong is told in one line that says where, and each thing once.
func TestTrouble(t *testing.T) {
	f := start(t, fmt.Sprintf(fabric, closedPort(t)))
	for _, tt := range []struct {
		nqn  string
		port string
		want string
	}{
		{"nqn.2024-01.org.example:disk", "p1", "nqn.2024-01.org.example:disk at %s: is no discovery controller, but of type io"},
		{"nqn.2024-01.org.example:none", "p1", "cannot connect to nqn.2024-01.org.example:none at %s: nobody of that name answers there: " +
			"connect of queue 0 failed: NVMe status 0x182 (invalid connect parameters), do not retry"},
		{"", "", "cannot connect to nqn.2014-08.org.nvmexpress.discovery at %s: connection refused"},
	} {
		o := options(f, "p1")
		o.NQN = tt.nqn
		if tt.port == "" {
			o.Addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), uint16(closedPort(t)))
		}
		_, err := discover.Walk(t.Context(), o)
		if want := fmt.Sprintf(tt.want, o.Addr); err == nil || err.Error() != want {
			t.Errorf("error is\n%v, want\n%s", err, want)
		}
	}
}

// A chain longer than eight referrals is followed no further.
func TestDepth(t *testing.T) {
	var text strings.Builder
	for i := range 12 {
		fmt.Fprintf(&text, "[port p%d]\naddress = 127.0.0.%d\nservice = 0\n[dc d%d]\nports = p%d\nreferral = d%d\n", i, i+1, i, i, (i+1)%12)
	}
	f := start(t, text.String())
	root, err := discover.Walk(t.Context(), options(f, "p0"))
	if err != nil {
		t.Fatal(err)
	}
	depth := 0
	for p := root; p != nil; p = p.Referrals[0].Page {
		if len(p.Referrals) != 1 {
			t.Fatalf("%d referrals at depth %d", len(p.Referrals), depth)
		}
		if p.Referrals[0].Page == nil && !strings.Contains(p.Referrals[0].Reason, "deep") {
			t.Errorf("walk ends by %q", p.Referrals[0].Reason)
		}
		depth++
	}
	if depth != 9 {
		t.Errorf("walk is %d pages deep, want 9", depth)
	}
}

func TestFirstFails(t *testing.T) {
	f := start(t, fmt.Sprintf(fabric, closedPort(t)))
	o := options(f, "p1")
	o.NQN = "nqn.2024-01.org.example:unknown"
	if _, err := discover.Walk(t.Context(), o); !errors.Is(err, nvme.StatusConnectInvalid) {
		t.Errorf("unknown NQN gave %v", err)
	}
	if err := f.SetPort("p1", fabricsim.PortBlackhole); err != nil {
		t.Fatal(err)
	}
	o = options(f, "p1")
	o.Timeout = 100 * time.Millisecond
	if _, err := discover.Walk(t.Context(), o); !errors.Is(err, nvmetcp.ErrTimeout) {
		t.Errorf("black hole gave %v", err)
	}
}

// Of a fabric that lists without end only so many entries are kept, and it is told where that ended.
func TestTooManyEntries(t *testing.T) {
	const text = `
[port p0]
address = 127.0.0.1
service = 0
[port p1]
address = 127.0.0.2
service = 0
[port p2]
address = 127.0.0.3
service = 0
[dc first]
nqn = nqn.2024-01.org.example:first
ports = p0
subsystems = few
referral = one two
[dc one]
nqn = nqn.2024-01.org.example:one
ports = p1
subsystems = many
referral = first
[dc two]
nqn = nqn.2024-01.org.example:two
ports = p2
subsystems = many
[subsystem few]
nqn = nqn.2024-01.org.example:few
ports = p0
count = 50
[subsystem many]
nqn = nqn.2024-01.org.example:many
ports = p0
count = 30
`
	f := start(t, text)
	o := options(f, "p0")
	const one, two = 32, 31 // entries
	for _, tt := range []struct{ limit, left int }{{one + two, 0}, {one + two - 1, 1}, {two - 1, 2}} {
		o.MaxEntries = tt.limit
		root, err := discover.Walk(t.Context(), o)
		if root == nil || len(root.Log.Entries) != 53 || len(root.Referrals) != 2 {
			t.Fatalf("limit %d: %+v, %v", tt.limit, root, err)
		}
		if tt.left == 0 {
			if err != nil || len(root.Referrals[0].Page.Log.Entries) != one || len(root.Referrals[1].Page.Log.Entries) != two {
				t.Errorf("limit %d: %v", tt.limit, err)
			}
			continue
		}
		left := 0
		var where string
		reason := fmt.Sprintf("more than %d entries in all", tt.limit)
		for i, r := range root.Referrals {
			if r.Page != nil && r.Page.Log != nil {
				continue
			}
			if left++; where == "" {
				where = f.Addr([]string{"p1", "p2"}[i]).String()
			}
			if r.Reason != reason && (r.Page == nil || r.Page.Err == nil || !strings.HasSuffix(r.Page.Err.Error(), reason)) {
				t.Errorf("limit %d: referral %d is not followed as %q, %+v", tt.limit, i, r.Reason, r.Page)
			}
		}
		want := fmt.Sprintf("the picture is incomplete: there are %s; %d discovery controllers are left out, the first is at %s", reason, tt.left, where)
		if left != tt.left || !errors.Is(err, discover.ErrIncomplete) || err.Error() != want {
			t.Errorf("limit %d: %d pages are left out, error\n%v, want %d,\n%s", tt.limit, left, err, tt.left, want)
		}
	}
}

// A walk that is interrupted says so.
func TestInterrupted(t *testing.T) {
	f := start(t, fmt.Sprintf(fabric, closedPort(t)))
	if err := f.AddFault(fabricsim.FaultConfig{Name: "x", Port: "p2", Step: nvmetcp.StepIdentify, Action: "silent"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, stop := f.Follow()
	defer stop()
	go func() {
		for e := range events {
			if e.Kind == "fault" && e.Port == "p2" {
				cancel()
			}
		}
	}()
	root, err := discover.Walk(ctx, options(f, "p1"))
	if root == nil || root.Log == nil || !errors.Is(err, discover.ErrIncomplete) || !errors.Is(err, context.Canceled) {
		t.Errorf("gave %+v, %v", root, err)
	}
}

// Without -r the tree tells of the referrals all the same, and a page without entries has records: none.
func TestNotRecursive(t *testing.T) {
	f := start(t, fmt.Sprintf(fabric, closedPort(t)))
	o := options(f, "p1")
	o.Recursive = false
	root, err := discover.Walk(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := discover.WriteTree(&b, root); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "─ "+f.Addr("p2").String()+" nqn.2024-01.org.example:a (referral)\n") {
		t.Errorf("tree lacks the referral:\n%s", b.String())
	}
	b.Reset()
	root.Log.Entries = nil
	if err := discover.WriteJSON(&b, root); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `"records": []`) {
		t.Errorf("JSON has no records:\n%s", b.String())
	}
}
