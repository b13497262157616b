package finder

import "testing"

// everyFact yields all combinations of the facts that order a session.
func everyFact(yield func(facts)) int {
	const bits = 11
	for i := range 1 << (bits + 4) {
		b := func(n int) bool { return i>>n&1 != 0 }
		f := facts{busy: b(0), live: b(1), identified: b(2), registrable: b(3), registered: b(4), listsPages: b(5), wantsPLEO: b(6), knowsPages: b(7),
			dirty: b(8), held: b(9)}
		for n, s := range []step{identify, register, supported, read} {
			f.backedOff[s] = b(10 + n)
		}
		yield(f)
	}
	return 1 << (bits + 4)
}

// TestNextKeepsTheOrder states what must hold of the next step, whatever the facts: identify before
// all, register before reading, and never a step that waits after a failure.
func TestNextKeepsTheOrder(t *testing.T) {
	seen := map[step]int{}
	everyFact(func(f facts) {
		s := next(f)
		seen[s]++
		bad := func(why string) { t.Fatalf("%s: %s on %+v", why, s, f) }
		wantsRegister := f.registrable && !f.registered
		wantsSupported := f.listsPages && f.wantsPLEO && !f.knowsPages
		switch {
		case s != rest && (f.busy || !f.live):
			bad("one step at a time, and only to a live controller")
		case s != rest && s != identify && !f.identified:
			bad("nothing is said to a controller that has not identified itself")
		case s != rest && f.backedOff[s]:
			bad("a step that has failed waits")
		case s == identify && f.identified:
			bad("identify once a connection")
		case s == register && !wantsRegister:
			bad("register once, and only where it is taken")
		case s == supported && !wantsSupported:
			bad("ask for the supported pages once, and only where it is of use")
		case s == read && !f.dirty:
			bad("a page that has not changed is not read")
		case s == read && wantsRegister && !f.backedOff[register]:
			bad("register before reading")
		case s == read && wantsSupported && !f.backedOff[supported]:
			bad("know the kinds of pages before reading")
		case s == closing && (f.held || f.dirty):
			bad("a connection is let go of only after reading, and where it is not held")
		case s == closing && wantsRegister && !f.backedOff[register]:
			bad("register before letting go")
		case s == rest && !f.busy && f.live && f.identified && f.dirty && !f.backedOff[read]:
			bad("what may have changed is read; a registration that fails holds nothing up")
		case s == rest && !f.busy && f.live && !f.identified && !f.backedOff[identify]:
			bad("a live controller is asked who it is")
		case s == rest && !f.busy && f.live && f.identified && wantsRegister && !f.backedOff[register]:
			bad("a controller that takes registrations gets one")
		}
	})
	for s := rest; s < steps; s++ {
		if seen[s] == 0 {
			t.Errorf("no facts lead to %s", s)
		}
	}
}
