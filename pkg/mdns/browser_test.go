package mdns

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/holoplot/go-avahi"
)

func fresh(n int) func(State) bool {
	return func(s State) bool { return s.Available && len(s.Services) == n && stale(s) == 0 }
}

func stale(s State) int {
	n := 0
	for _, svc := range s.Services {
		if svc.Stale {
			n++
		}
	}
	return n
}

func TestFindsAndForgets(t *testing.T) {
	bus := startBus(t)
	f := serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(2) })
	w := browse(t, bus, nil)
	s := w.until("two services", fresh(2))
	want := Service{Transport: "tcp", Traddr: "10.0.0.1", Trsvcid: "8009", NQN: "nqn.2014-08.org.nvmexpress.discovery",
		Interface: "lo", IfIndex: 1, Protocol: IPv4, Name: "dc0", Type: TypeTCP, Domain: "local"}
	if s.Services[0] != want {
		t.Errorf("got %+v, want %+v", s.Services[0], want)
	}
	f.Announce(dc(2))
	w.until("three services", fresh(3))
	f.Withdraw(dc(0)) // a goodbye, as Avahi tells it
	s = w.until("a service withdrawn", fresh(2))
	if s.Services[0].Name != "dc1" {
		t.Errorf("wrong one left: %+v", s.Services)
	}
	if s.Epoch != 1 {
		t.Errorf("epoch %d", s.Epoch)
	}
}

// Lookups run while the browsers talk: go-avahi's dispatcher must never wait for something
// that waits for the dispatcher.
func TestNoDeadlockInBurst(t *testing.T) {
	bus := startBus(t)
	f := serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(200) })
	w := browse(t, bus, nil)
	w.until("200 services", fresh(200))
	for i := 200; i < 1000; i++ {
		f.Announce(dc(i))
	}
	w.until("1000 services", fresh(1000))
	for i := range 999 {
		f.Withdraw(dc(i))
	}
	w.until("one service", fresh(1))
}

// Freeing a browser while signals of it arrive makes go-avahi panic; epochs are ended as a whole.
func TestNoPanicWhenEpochEndsInBurst(t *testing.T) {
	bus := startBus(t)
	for range 10 {
		f := serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(300) })
		w := browse(t, bus, nil)
		w.until("some services", func(s State) bool { return len(s.Services) > 10 })
		burst := make(chan struct{})
		go func() {
			defer close(burst)
			for i := range 300 {
				f.Withdraw(dc(i))
				f.Announce(dc(i))
			}
		}()
		w.stop()
		f.Leave()
		<-burst
	}
}

func TestBusDiesAndComesBack(t *testing.T) {
	bus := startBus(t)
	serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(3) })
	w := browse(t, bus, nil)
	first := w.until("three services", fresh(3))
	bus.Kill()
	w.until("a dead bus", func(s State) bool { return !s.Available && len(s.Services) == 3 && stale(s) == 3 })
	before := cpu(t)
	w.never("services lost", 1500*time.Millisecond, func(s State) bool { return len(s.Services) != 3 || s.Available })
	if used := cpu(t) - before; used > 300*time.Millisecond {
		t.Errorf("%v of processor time in 1.5 s without a bus", used)
	}
	bus.Start()
	serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(3) })
	s := w.until("three services again", fresh(3))
	if s.Epoch <= first.Epoch {
		t.Errorf("epoch went from %d to %d", first.Epoch, s.Epoch)
	}
}

func TestNoBusAtAll(t *testing.T) {
	bus := startBus(t)
	bus.Kill()
	w := browse(t, bus, nil)
	before := cpu(t)
	w.never("Avahi", time.Second, func(s State) bool { return s.Available })
	if used := cpu(t) - before; used > 200*time.Millisecond {
		t.Errorf("%v of processor time in 1 s without a bus", used)
	}
	if n := strings.Count(w.log.String(), "\n"); n != 1 {
		t.Errorf("%d log lines, want one:\n%s", n, w.log)
	}
	bus.Start()
	serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(1) })
	w.until("one service", fresh(1))
}

// A bus that is alive and does not read blocks godbus in Close and in writes.
func TestBusStalls(t *testing.T) {
	bus := startBus(t)
	f := serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(2) })
	w := browse(t, bus, func(tm *timing) { tm.call = 500 * time.Millisecond })
	w.until("two services", fresh(2))
	bus.Signal(syscall.SIGSTOP)
	w.Recheck()
	w.until("the stall to be seen", func(s State) bool { return !s.Available && stale(s) == 2 })
	bus.Signal(syscall.SIGCONT)
	w.until("two services again", fresh(2))
	bus.Signal(syscall.SIGSTOP)
	start := time.Now()
	w.stop()
	if d := time.Since(start); d > 10*time.Second { // without its own end it would be for ever
		t.Errorf("Run took %v to end on a stalled bus", d)
	}
	bus.Signal(syscall.SIGCONT)
	f.Leave()
}

func TestAvahiHangs(t *testing.T) {
	bus := startBus(t)
	hang := make(chan struct{})
	f := serveAvahi(t, bus, func(f *fakeAvahi) { f.items, f.hang = dcs(30), hang })
	w := browse(t, bus, func(tm *timing) { tm.call = 300 * time.Millisecond })
	w.until("a second try", func(s State) bool { return s.Epoch >= 2 })
	f.mu.Lock()
	f.hang = nil
	f.mu.Unlock()
	close(hang)
	w.until("30 services", fresh(30))
}

// Nothing is taken away by a restart; what the new Avahi has not seen goes when it has looked around.
func TestAvahiRestart(t *testing.T) {
	bus := startBus(t)
	f := serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(4) })
	w := browse(t, bus, nil)
	w.until("four services", fresh(4))
	f.Leave()
	w.until("all stale", func(s State) bool { return !s.Available && len(s.Services) == 4 && stale(s) == 4 })
	w.never("services lost without Avahi", 500*time.Millisecond, func(s State) bool { return len(s.Services) != 4 })

	f = serveAvahi(t, bus, func(f *fakeAvahi) { f.items, f.silent = dcs(3), true })
	w.until("three confirmed", func(s State) bool { return !s.Available && len(s.Services) == 4 && stale(s) == 1 })
	f.signal(f.path(TypeTCP), "AllForNow")
	w.never("services lost before all browsers said AllForNow", 600*time.Millisecond, func(s State) bool { return len(s.Services) != 4 || s.Available })
	f.AllForNow()
	s := w.until("three left", fresh(3))
	if s.Services[2].Name != "dc2" {
		t.Errorf("wrong ones left: %+v", s.Services)
	}
	for range 6 {
		f.Leave()
		w.until("no Avahi", func(s State) bool { return !s.Available })
		f = serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(3) })
		w.until("three services", fresh(3))
	}
}

func TestAvahiFailureSignal(t *testing.T) {
	bus := startBus(t)
	f := serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(2) })
	w := browse(t, bus, nil)
	w.until("two services", fresh(2))
	f.signal(f.path(TypeTCP), "Failure", "out of\x07 objects")
	w.until("a new epoch", func(s State) bool { return s.Epoch == 2 && fresh(2)(s) })
	if log := w.log.String(); !strings.Contains(log, "stopped browsing") || strings.Contains(log, "\x07") {
		t.Errorf("log:\n%s", log)
	}
}

func TestForgedSignals(t *testing.T) {
	bus := startBus(t)
	f := serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(3) })
	w := browse(t, bus, nil)
	w.until("three services", fresh(3))
	evil := bus.ConnAs(65534)
	f.mu.Lock()
	to := f.client
	f.mu.Unlock()
	path := f.path(TypeTCP)
	var uid uint32
	err := f.conn.BusObject().Call(busName+".GetConnectionUnixUser", 0, evil.Names()[0]).Store(&uid)
	if err != nil || uid != 65534 {
		t.Fatalf("the forger has uid %d, %v", uid, err)
	}
	for i := range 500 {
		sendSignal(evil, to, path, browserIface, "ItemRemove", itemBody(dc(i%3))...)
		sendSignal(evil, to, path, browserIface, "ItemNew", itemBody(dc(100+i))...)
		sendSignal(evil, to, path, browserIface, "Failure", "forged")
		sendSignal(evil, to, "/org/freedesktop/DBus", busName, "NameOwnerChanged", avahiName, f.conn.Names()[0], evil.Names()[0])
	}
	// The bus hands messages of the forger over before its answer to the forger's own call; the
	// true announcement after that shows that the browser has seen all of them.
	if err := evil.BusObject().Call(busName+".GetId", 0).Err; err != nil {
		t.Fatal(err)
	}
	f.Announce(dc(50))
	s := w.until("four services", fresh(4))
	if s.Epoch != 1 {
		t.Errorf("epoch %d after forged signals\n%s", s.Epoch, w.log)
	}
	for _, svc := range s.Services {
		if svc.Name == "dc100" {
			t.Errorf("forged service: %+v", svc)
		}
	}
	if _, err := evil.RequestName(avahiName, dbus.NameFlagReplaceExisting); err == nil {
		t.Error("the policy of the test bus lets the forger own Avahi's name")
	}
}

// A lookup that fails comes again, and takes nothing away.
func TestLookupRetried(t *testing.T) {
	bus := startBus(t)
	f := serveAvahi(t, bus, func(f *fakeAvahi) {
		f.items = dcs(1)
		f.resolve = func(s avahi.Service, n int) (avahi.Service, error) {
			if n <= 3 {
				return s, errors.New("Too many objects")
			}
			return answer(s, n)
		}
	})
	w := browse(t, bus, nil)
	w.until("one service", fresh(1))
	if n := strings.Count(w.log.String(), "Too many objects"); n != 1 {
		t.Errorf("failure logged %d times:\n%s", n, w.log)
	}
	f.mu.Lock()
	f.resolve = func(s avahi.Service, n int) (avahi.Service, error) { return s, errors.New("Timeout reached") }
	n := f.lookups
	f.mu.Unlock()
	w.Recheck()
	w.never("the service lost", 500*time.Millisecond, func(s State) bool { return len(s.Services) != 1 || stale(s) != 0 })
	f.lookedUp(t, n+2)
	f.mu.Lock()
	f.resolve = func(s avahi.Service, n int) (avahi.Service, error) {
		s, err := answer(s, n)
		s.Address = "10.9.9.9"
		return s, err
	}
	f.mu.Unlock()
	w.until("the new address", func(s State) bool { return len(s.Services) == 1 && s.Services[0].Traddr == "10.9.9.9" })
}

// What is announced and could not be looked up yet is not known to lead nowhere: the list without it is not all there is.
func TestUnresolvedIsNotAbsent(t *testing.T) {
	bus := startBus(t)
	f := serveAvahi(t, bus, func(f *fakeAvahi) {
		f.items = dcs(2)
		f.resolve = func(s avahi.Service, n int) (avahi.Service, error) {
			if s.Name == "dc1" {
				return s, errors.New("Timeout reached")
			}
			return answer(s, n)
		}
	})
	w := browse(t, bus, nil)
	w.until("the other service", func(s State) bool { return len(s.Services) == 1 })
	w.never("a whole list", time.Second, func(s State) bool { return s.Available })
	f.mu.Lock()
	f.resolve = nil
	f.mu.Unlock()
	w.until("both services", fresh(2))
}

// A bad record is an answer, but no withdrawal: it changes nothing and is told once.
func TestBadRecordChangesNothing(t *testing.T) {
	bus := startBus(t)
	f := serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(1) })
	w := browse(t, bus, nil)
	w.until("one service", fresh(1))
	f.mu.Lock()
	f.resolve = func(s avahi.Service, n int) (avahi.Service, error) {
		s, err := answer(s, n)
		s.Txt = [][]byte{[]byte("p=carrier pigeon")}
		return s, err
	}
	seen := f.lookups
	f.mu.Unlock()
	for i := range 3 {
		w.Recheck()
		f.lookedUp(t, seen+i+1)
	}
	w.never("a change", 100*time.Millisecond, func(s State) bool { return !fresh(1)(s) })
	if n := strings.Count(w.log.String(), "carrier pigeon"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, w.log)
	}
}

// The interface of a withdrawal need not exist any more.
func TestWithdrawnFromVanishedInterface(t *testing.T) {
	bus := startBus(t)
	gone := dc(1)
	gone.Interface = 4711
	f := serveAvahi(t, bus, func(f *fakeAvahi) { f.items = []avahi.Service{dc(0), gone} })
	w := browse(t, bus, nil)
	w.until("one service", fresh(1))
	f.Withdraw(gone)
	f.Announce(dc(2))
	w.until("two services", fresh(2))
}

func TestUnwantedAnnouncements(t *testing.T) {
	bus := startBus(t)
	wide, unknown := dc(1), dc(2)
	wide.Flags |= avahi.LookupResultWideArea
	unknown.Flags = 0
	serveAvahi(t, bus, func(f *fakeAvahi) { f.items = []avahi.Service{wide, unknown, dc(0)} })
	w := browse(t, bus, nil)
	w.until("one service", fresh(1))
}

func TestTooManyAnnouncements(t *testing.T) {
	bus := startBus(t)
	f := serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(30) })
	w := browse(t, bus, nil)
	w.until("30 services", fresh(30))
	w.stop()

	b := New(Options{Address: bus.Address})
	b.t = quick()
	b.set.limit = 20
	w = run(t, b)
	w.until("a warning", func(s State) bool { return !s.Available && len(s.Services) == 20 && len(s.Warnings) == 1 })
	w.never("a set that claims to be complete", 500*time.Millisecond, func(s State) bool { return s.Available })
	f.mu.Lock()
	f.items = dcs(18)
	f.mu.Unlock()
	for i := range 30 {
		f.Withdraw(dc(i))
	}
	w.until("a new look around", fresh(18))
}

// Avahi that was stopped on purpose is not started by us.
func TestAvahiIsNotActivated(t *testing.T) {
	bus := startBus(t)
	w := browse(t, bus, nil)
	w.never("Avahi", 300*time.Millisecond, func(s State) bool { return s.Available })
	dir := filepath.Dir(strings.TrimPrefix(bus.Address, "unix:path="))
	if _, err := os.Stat(filepath.Join(dir, "activated")); err == nil {
		t.Error("Avahi was activated")
	}
	// A call that comes just after the stop must not do it either.
	l, err := dial(t.Context(), bus.Address, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	err = l.conn.Object(avahiName, "/").Call(avahiName+".Server.GetState", 0).Err
	if err == nil {
		t.Error("a call reached Avahi")
	}
	if _, err := os.Stat(filepath.Join(dir, "activated")); err == nil {
		t.Error("Avahi was activated by a call")
	}
}

// An epoch has a connection of its own, which go-avahi closes; nothing of it stays.
func TestEpochsLeaveNothing(t *testing.T) {
	bus := startBus(t)
	bystander := bus.Conn()
	f := serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(5) })
	w := browse(t, bus, nil)
	count := func() (goroutines, files int) {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return runtime.NumGoroutine(), len(entries)
	}
	w.until("five services", fresh(5))
	goroutines, files := count()
	for range 15 {
		f.Leave()
		w.until("no Avahi", func(s State) bool { return !s.Available })
		f = serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(5) })
		w.until("five services", fresh(5))
	}
	if !bystander.Connected() {
		t.Error("another connection of the process was closed")
	}
	var g, n int
	for range 1000 { // those that end take a moment
		if g, n = count(); g <= goroutines+2 && n <= files {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("goroutines %d -> %d, files %d -> %d", goroutines, g, files, n)
}

// An idle browser does not run at all.
func TestIdleCostsNothing(t *testing.T) {
	bus := startBus(t)
	serveAvahi(t, bus, func(f *fakeAvahi) { f.items = dcs(100) })
	w := browse(t, bus, nil)
	w.until("100 services", fresh(100))
	before := cpu(t)
	w.never("a change", time.Second, func(s State) bool { return !fresh(100)(s) })
	if used := cpu(t) - before; used > 50*time.Millisecond {
		t.Errorf("%v of processor time in 1 s of idling", used)
	}
	select {
	case <-w.Updates():
		t.Error("an update without a change")
	default:
	}
}
