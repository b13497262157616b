package bus

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/godbus/dbus/v5"

	"github.com/stas-go/stas/test/privatebus"
)

// encoded is a message of a type with a body of about n bytes.
func encoded(tb testing.TB, typ dbus.Type, n int, order binary.ByteOrder) []byte {
	tb.Helper()
	body := []any{strings.Repeat("x", n)}
	msg := &dbus.Message{Type: typ, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/a")), dbus.FieldInterface: dbus.MakeVariant("a.b"),
		dbus.FieldMember: dbus.MakeVariant("m"), dbus.FieldReplySerial: dbus.MakeVariant(uint32(1)),
		dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body...)),
	}}
	var b bytes.Buffer
	if err := msg.EncodeTo(&b, order); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestLargeCallsAndSignalsAreLeftOut(t *testing.T) {
	var in bytes.Buffer
	in.WriteString("OK 1234\r\n")
	var want []int
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, m := range []struct {
			typ  dbus.Type
			size int
			kept bool
		}{
			{dbus.TypeMethodCall, 10, true},
			{dbus.TypeMethodCall, maxUnasked, false},
			{dbus.TypeSignal, 1 << 20, false},
			{dbus.TypeMethodReply, 1 << 20, true},
			{dbus.TypeSignal, 0, true},
		} {
			in.Write(encoded(t, m.typ, m.size, order))
			if m.kept {
				want = append(want, m.size)
			}
		}
	}
	f := &frames{from: iotest.OneByteReader(&in)}
	line := make([]byte, len("OK 1234\r\n"))
	if _, err := io.ReadFull(f, line); err != nil || string(line) != "OK 1234\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	f.begin()
	for _, size := range want {
		msg, err := dbus.DecodeMessage(f)
		if err != nil || len(msg.Body[0].(string)) != size {
			t.Fatalf("got %v, want a body of %d: %v", msg, size, err)
		}
	}
	if _, err := dbus.DecodeMessage(f); err == nil {
		t.Error("there is more")
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(encoded(f, dbus.TypeMethodCall, 5, binary.LittleEndian))
	f.Add(encoded(f, dbus.TypeSignal, maxUnasked, binary.BigEndian))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &frames{from: bytes.NewReader(b)}
		r.begin()
		out, _ := io.ReadAll(r)
		if len(out) > len(b) {
			t.Errorf("%d bytes became %d", len(b), len(out))
		}
	})
}

func TestLargeMessagesOfStrangers(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	s := startFinder(t, options(b), f)
	guest := connectAs(t, b, options(b), nobody)
	o := guest.Object(FinderName, finderPath)
	large := strings.Repeat("x", 8<<20)
	for range 4 {
		o.Go(FinderName+".get_log_pages", dbus.FlagNoReplyExpected, nil, large, "", "", "", "", "", "")
	}
	var list []map[string]string
	if err := o.Call(FinderName+".list_controllers", 0, false).Store(&list); err != nil {
		t.Fatal(err)
	}
	if !s.Connected() {
		t.Error("the server lost the bus")
	}
}
