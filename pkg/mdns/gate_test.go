package mdns

import (
	"testing"

	"github.com/godbus/dbus/v5"
)

func TestGate(t *testing.T) {
	const avahi, other = ":1.7", ":1.8"
	g := newGate()
	defer g.stop()
	out := make(chan *dbus.Signal, 16)
	g.AddSignal(out)
	send := func(from, intf, name string, body ...any) {
		g.DeliverSignal(intf, name, &dbus.Signal{Sender: from, Path: "/b1", Name: intf + "." + name, Body: body})
	}
	send(avahi, browserIface, "ItemNew") // nobody is the owner yet
	send(other, busName, "NameOwnerChanged", avahiName, "", other)
	if o := g.currentOwner(); o != "" {
		t.Fatalf("owner %q by a forged change", o)
	}
	g.asked(avahi)
	send(avahi, browserIface, "ItemNew")
	send(other, browserIface, "ItemRemove")
	send("", browserIface, "ItemRemove")
	send(other, browserIface, "AllForNow")
	send(other, browserIface, "Failure", "forged")
	if n, items, failure := g.browse(); n != 0 || items != 0 || failure != "" {
		t.Errorf("browse is %d, %d, %q", n, items, failure)
	}
	send(avahi, browserIface, "AllForNow")
	send(avahi, browserIface, "ItemNew")
	if n, items, _ := g.browse(); n != 1 || items != 1 {
		t.Errorf("browse is %d, %d", n, items)
	}
	send(busName, busName, "NameOwnerChanged", "org.example", "", other)
	send(busName, busName, "NameOwnerChanged", "too", "short")
	if o := g.currentOwner(); o != avahi {
		t.Errorf("owner %q", o)
	}
	send(busName, busName, "NameOwnerChanged", avahiName, avahi, "")
	send("", browserIface, "ItemRemove")
	send(avahi, browserIface, "ItemRemove")
	for _, want := range []string{"ItemNew", "AllForNow", "ItemNew"} {
		if s := <-out; s.Sender != avahi || s.Name != browserIface+"."+want {
			t.Errorf("passed on %s of %s, want %s", s.Name, s.Sender, want)
		}
	}
	select {
	case s := <-out:
		t.Errorf("passed on %s of %q too", s.Name, s.Sender)
	default:
	}
}

// The bus may tell of a change before we have taken in its answer to the question who it was.
func TestGateChangeBeatsAnswer(t *testing.T) {
	g := newGate()
	defer g.stop()
	g.DeliverSignal(busName, "NameOwnerChanged", &dbus.Signal{Sender: busName, Body: []any{avahiName, ":1.7", ""}})
	g.asked(":1.7")
	if o := g.currentOwner(); o != "" {
		t.Errorf("owner %q", o)
	}
}
