package bus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/test/privatebus"
)

func waitUpdate(t *testing.T, c *PagesClient) Changes {
	t.Helper()
	select {
	case <-c.Updates():
		return c.Take()
	case <-time.After(20 * time.Second):
		t.Fatal("no update within 20 s")
		panic("unreachable")
	}
}

func testPage(key string, revision uint64) Page {
	return Page{
		Key: key, HostID: "f8e78f19-a131-45ab-b1f6-3a4fc8e093ea", Disposition: Active, Complete: true,
		ID:       ID{"tcp", "192.0.2.1", "8009", nvme.DiscoveryNQN, "192.0.2.9", "eth0", recordedHost},
		Revision: revision, GenCtr: 7, ReadAt: time.Now().Add(-time.Minute), Records: 2, Dropped: 1,
	}
}

var testEntries = []nvme.DiscoveryEntry{
	{
		Transport: nvme.TransportTypeTCP, AddrFamily: nvme.AddrFamilyIPv4, Subtype: nvme.SubtypeNVMe, TReq: 4,
		PortID: 1, CntlID: 0xFFFF, ASQSize: 32, EFlags: nvme.NCC, TSAS: nvme.TSAS{SecType: nvme.SecTLS13},
		Trsvcid: "4420", SubNQN: "nqn.2026-01.test:a", Traddr: "192.0.2.1",
	},
	{
		Transport: nvme.TransportTypeRDMA, AddrFamily: nvme.AddrFamilyIPv6, Subtype: nvme.SubtypeReferral,
		TSAS: nvme.TSAS{QPType: 1, PRType: 4, CMS: 1, PKey: 0xffff}, Trsvcid: "8009", SubNQN: nvme.DiscoveryNQN, Traddr: "2001:db8::1",
	},
}

func TestPagesReachTheConnector(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	f.setPage(testPage("dc1", 5), testEntries)
	client := NewPagesClient(options(b))
	start(t, client)
	s := startFinder(t, options(b), f)

	ctx := context.Background()
	ch := waitUpdate(t, client)
	if !ch.All || !ch.State.Available {
		t.Fatalf("first changes are %+v", ch)
	}
	pages, err := client.List(ctx)
	if err != nil || len(pages) != 1 {
		t.Fatalf("List: %v, %v", pages, err)
	}
	page, entries, err := client.Get(ctx, "dc1")
	if err != nil {
		t.Fatal(err)
	}
	want := testPage("dc1", 5)
	for _, p := range []*Page{&pages[0], &page} {
		if age := time.Since(p.ReadAt); age < time.Minute || age > 2*time.Minute {
			t.Errorf("age is %v, want a minute", age)
		}
		p.ReadAt = want.ReadAt
		if d := cmp.Diff(want, *p); d != "" {
			t.Error(d)
		}
	}
	if d := cmp.Diff(testEntries, entries); d != "" {
		t.Error(d)
	}

	f.setPage(testPage("dc1", 6), nil)
	s.PageChanged("dc1", 6)
	if ch := waitUpdate(t, client); ch.All || ch.Changed["dc1"] != 6 {
		t.Fatalf("changes are %+v", ch)
	}
	if page, entries, err := client.Get(ctx, "dc1"); err != nil || page.Revision != 6 || len(entries) != 0 || page.Records != 0 {
		t.Fatalf("Get: %+v %v %v", page, entries, err)
	}
	s.PageRemoved("dc1", "excluded")
	if ch := waitUpdate(t, client); ch.Removed["dc1"] != "excluded" || len(ch.Changed) != 0 {
		t.Fatalf("changes are %+v", ch)
	}
}

func TestNoFinderIsNoEmptyList(t *testing.T) {
	b := privatebus.Start(t)
	client := NewPagesClient(options(b))
	if _, err := client.List(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("before Run: %v", err)
	}
	start(t, client)
	f := &fakeDaemon{}
	f.setPage(testPage("dc1", 1), testEntries)
	for range 2 {
		s := NewFinderServer(options(b), f, f, f)
		stop := start(t, s)
		ch := waitUpdate(t, client)
		if !ch.All || !ch.State.Available {
			t.Fatalf("the finder came: %+v", ch)
		}
		if pages, err := client.List(t.Context()); err != nil || len(pages) != 1 {
			t.Errorf("List: %v, %v", pages, err)
		}
		if _, _, err := client.Get(t.Context(), "none"); !errors.Is(err, ErrNoPage) {
			t.Errorf("Get of nothing: %v", err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		gone := waitUpdate(t, client)
		if gone.State.Available || !gone.All || gone.State.Epoch <= ch.State.Epoch {
			t.Errorf("the finder went: %+v", gone)
		}
		if pages, err := client.List(t.Context()); !errors.Is(err, ErrUnavailable) || pages != nil {
			t.Errorf("List: %v, %v", pages, err)
		}
	}
}

func TestHungFinderIsAnError(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	f.setPage(testPage("dc1", 1), testEntries)
	startFinder(t, options(b), f)
	opts := options(b)
	opts.CallTimeout = 200 * time.Millisecond
	client := NewPagesClient(opts)
	start(t, client)
	waitUpdate(t, client)
	f.set(func() { f.hang = true })
	if pages, err := client.List(t.Context()); !errors.Is(err, context.DeadlineExceeded) || pages != nil {
		t.Errorf("List: %v, %v", pages, err)
	}
	if _, entries, err := client.Get(t.Context(), "dc1"); !errors.Is(err, context.DeadlineExceeded) || entries != nil {
		t.Errorf("Get: %v, %v", entries, err)
	}
	f.set(func() { f.hang = false })
	eventually(t, "Get succeeds again", func() bool { // for which 200 ms may not be enough
		_, _, err := client.Get(t.Context(), "dc1")
		return err == nil
	})
}

func TestClientOutlivesTheBus(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	f.setPage(testPage("dc1", 1), testEntries)
	startFinder(t, options(b), f)
	client := NewPagesClient(options(b))
	start(t, client)
	epoch := uint64(0)
	for range 3 {
		eventually(t, "the finder is there", func() bool { return client.State().Available })
		if now := client.State().Epoch; now <= epoch {
			t.Fatalf("epoch %d after %d", now, epoch)
		}
		epoch = client.State().Epoch
		if pages, err := client.List(t.Context()); err != nil || len(pages) != 1 {
			t.Errorf("List: %v, %v", pages, err)
		}
		b.Kill()
		eventually(t, "the finder is not there", func() bool { return !client.State().Available })
		if _, err := client.List(t.Context()); err == nil {
			t.Error("List without a bus succeeds")
		}
		b.Run()
	}
	// A bus that hangs is found out by the call.
	eventually(t, "the finder is there", func() bool { return client.State().Available })
	b.Stop()
	defer b.Continue()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if pages, err := client.List(ctx); err == nil {
		t.Errorf("List over a bus that hangs: %v", pages)
	}
}

func TestForgedSignals(t *testing.T) {
	b := privatebus.StartOpen(t)
	f := &fakeDaemon{}
	f.setPage(testPage("dc1", 1), testEntries)
	s := startFinder(t, options(b), f)
	client := NewPagesClient(options(b))
	start(t, client)
	before := waitUpdate(t, client)
	client.mu.Lock()
	victim := client.watch.conn.Names()[0]
	client.mu.Unlock()

	forger := connectAs(t, b, options(b), nobody)
	for range 200 {
		for name, body := range map[string][]any{
			pagesInterface + ".PageChanged":  {"dc1", uint64(99)},
			pagesInterface + ".PageRemoved":  {"dc1", "forged"},
			busName + ".NameOwnerChanged":    {FinderName, "", forger.Names()[0]},
			pagesInterface + ".PageRemoved2": {"dc1"},
		} {
			path := dbus.ObjectPath(finderPath)
			if err := forger.Emit(path, name, body...); err != nil {
				t.Fatal(err)
			}
			// Right to the victim: no match rule is asked then.
			i := strings.LastIndex(name, ".")
			msg := &dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldPath: dbus.MakeVariant(path), dbus.FieldInterface: dbus.MakeVariant(name[:i]),
				dbus.FieldMember: dbus.MakeVariant(name[i+1:]), dbus.FieldDestination: dbus.MakeVariant(victim),
				dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body...)),
			}}
			if call := forger.Send(msg, nil); call.Err != nil {
				t.Fatal(call.Err)
			}
		}
	}
	// A call of the forger is answered after its signals were delivered; then a true signal.
	if err := forger.BusObject().Call(busName+".GetId", 0).Err; err != nil {
		t.Fatal(err)
	}
	s.PageChanged("dc1", 2)
	ch := waitUpdate(t, client)
	if ch.State != before.State || ch.All || len(ch.Removed) != 0 || len(ch.Changed) != 1 || ch.Changed["dc1"] != 2 {
		t.Errorf("changes are %+v", ch)
	}
}

func TestLargePageComesWhole(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	entries := make([]nvme.DiscoveryEntry, 2*pageChunk+1)
	for i := range entries {
		entries[i] = testEntries[i%2]
		entries[i].PortID = uint16(i)
	}
	f.setPage(testPage("dc1", 1), entries)
	startFinder(t, options(b), f)
	client := NewPagesClient(options(b))
	start(t, client)
	waitUpdate(t, client)
	page, got, err := client.Get(t.Context(), "dc1")
	if err != nil || int(page.Records) != len(entries) || !slices.Equal(got, entries) {
		t.Fatalf("Get: %d of %d entries, page %+v, %v", len(got), len(entries), page, err)
	}
	// A page that changes all the time is no page.
	f.set(func() { f.moving = true })
	if _, got, err := client.Get(t.Context(), "dc1"); err == nil || got != nil {
		t.Errorf("Get of a moving page: %d entries, %v", len(got), err)
	}
}

func TestManyChangesBecomeAll(t *testing.T) {
	c := NewPagesClient(Options{})
	c.mu.Lock()
	for i := range maxChanges + 10 {
		c.note(fmt.Sprint(i), 1, i%2 == 0, "gone")
	}
	c.mu.Unlock()
	if ch := c.Take(); !ch.All || len(ch.Changed)+len(ch.Removed) != 0 {
		t.Errorf("changes are %+v", ch)
	}
	c.mu.Lock()
	c.note("a", 1, false, "")
	c.note("a", 0, true, "gone")
	c.note("b", 0, true, "gone")
	c.note("b", 7, false, "")
	c.mu.Unlock()
	if ch := c.Take(); ch.All || len(ch.Changed) != 1 || ch.Changed["b"] != 7 || len(ch.Removed) != 1 || ch.Removed["a"] != "gone" {
		t.Errorf("changes are %+v", ch)
	}
}

// FuzzPages feeds the decoders any message that the library lets through.
func FuzzPages(f *testing.F) {
	for _, body := range [][]any{
		{[]wirePage{newWirePage(&Page{Key: "k", Disposition: Active, Complete: true, ReadAt: time.Unix(1, 0)}, time.Now())}},
		{newWirePage(&Page{Key: "k", Disposition: Frozen}, time.Now()), []wireEntry{newWireEntry(&testEntries[0])}},
		{"s", uint32(1)},
		{dbus.MakeVariant([]string{"x"})},
	} {
		var b bytes.Buffer
		msg := &dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(uint32(1)), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body...)),
		}}
		if err := msg.EncodeTo(&b, binary.LittleEndian); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// An array of empty structures keeps godbus busy for ever. No bus lets such a message through: the type is not
		// allowed (D-Bus specification, "Container types").
		if bytes.Contains(b, []byte("()")) {
			return
		}
		msg, err := dbus.DecodeMessage(bytes.NewReader(b))
		if err != nil {
			return
		}
		if pages, err := decodePages(msg.Body); err == nil {
			for _, p := range pages {
				if p.Key == "" || p.Complete == p.ReadAt.IsZero() || p.Records > nvme.MaxRecords {
					t.Errorf("page %+v", p)
				}
			}
		}
		if p, _, err := decodePage(msg.Body); err == nil && p.Key == "" {
			t.Errorf("page %+v", p)
		}
	})
}
