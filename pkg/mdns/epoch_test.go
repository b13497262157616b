package mdns

import (
	"testing"

	"github.com/godbus/dbus/v5"
)

// While items wait that Avahi sent before AllForNow, what they would confirm must not be removed.
func TestSettleWaitsForBacklog(t *testing.T) {
	b := New(Options{})
	b.t = quick()
	l := &link{gate: newGate()}
	defer l.gate.stop()
	l.gate.asked(":1.7")
	b.set.begin()
	b.set.add(key(1))
	b.set.begin()
	e := newEpoch(b, l, ":1.7")
	b.live = true
	for _, path := range []dbus.ObjectPath{"/a", "/b"} {
		for _, name := range []string{"ItemNew", "AllForNow"} {
			l.gate.DeliverSignal(browserIface, name, &dbus.Signal{Sender: ":1.7", Path: path})
		}
	}
	e.handled = 1
	e.settleNow()
	if b.settled || len(b.set.entries) != 1 {
		t.Errorf("settled with one item of two handled: %v, %d entries", b.settled, len(b.set.entries))
	}
	e.handled = 2
	e.settleNow()
	if !b.settled || len(b.set.entries) != 0 {
		t.Errorf("not settled with all items handled: %v, %d entries", b.settled, len(b.set.entries))
	}
}
