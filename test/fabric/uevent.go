package fabric

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Uevent is an event of the kernel for a device of class nvme.
type Uevent struct {
	Time   time.Time
	Action string            // add, remove, change
	Name   string            // nvme3
	Env    map[string]string // NVME_AEN, NVME_EVENT, …
}

// Recorder holds every nvme uevent since it was made, seen by a reader that shares nothing with the daemons.
type Recorder struct {
	mu     sync.Mutex
	events []Uevent
	more   chan struct{} // closed with the next event
	err    error
}

// Record starts to record the kernel's uevents (netlink group 1) until the end of the test.
func Record(t testing.TB) *Recorder {
	t.Helper()
	awaitAnnounced()
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, syscall.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		t.Fatal(err)
	}
	// Room for everything that happens while this process does not run; best effort, overflow is an error below.
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 32<<20)
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: 1}); err != nil {
		_ = syscall.Close(fd)
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(fd), "uevents") // non-blocking, so that Close ends Read
	r := &Recorder{more: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.read(socket)
	}()
	t.Cleanup(func() {
		_ = socket.Close()
		<-done
		if r.err != nil {
			t.Errorf("the record of uevents is not complete: %v", r.err)
		}
	})
	return r
}

// awaitAnnounced waits until the kernel has told of every controller that is gone: it takes the name out of its class, by which the tests know
// the controllers, announces the removal, and takes the device away in the end (device_del in drivers/base/core.c).
func awaitAnnounced() {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		devices, _ := filepath.Glob("/sys/devices/virtual/nvme-fabrics/ctl/nvme*")
		if !slices.ContainsFunc(devices, func(d string) bool {
			_, err := os.Stat("/sys/class/nvme/" + filepath.Base(d))
			return err != nil
		}) {
			return
		}
	}
}

func (r *Recorder) read(socket *os.File) {
	b := make([]byte, 64<<10)
	for {
		n, err := socket.Read(b)
		now := time.Now()
		if err != nil {
			r.mu.Lock()
			if !errors.Is(err, os.ErrClosed) {
				r.err = err
			}
			r.mu.Unlock()
			return
		}
		if !bytes.Contains(b[:n], []byte("\x00SUBSYSTEM=nvme\x00")) {
			continue
		}
		e := Uevent{Time: now, Env: make(map[string]string)}
		for i, field := range bytes.Split(b[:n], []byte{0}) {
			if k, v, ok := strings.Cut(string(field), "="); ok && i > 0 {
				e.Env[k] = v
			}
		}
		e.Action = e.Env["ACTION"]
		e.Name = e.Env["DEVPATH"][strings.LastIndexByte(e.Env["DEVPATH"], '/')+1:]
		r.mu.Lock()
		r.events = append(r.events, e)
		close(r.more)
		r.more = make(chan struct{})
		r.mu.Unlock()
	}
}

// Events are all those so far.
func (r *Recorder) Events() []Uevent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Uevent(nil), r.events...)
}

// Count says how many events so far have the action and, where event is not empty, NVME_EVENT or NVME_AEN equal to it.
func (r *Recorder) Count(action, event string) int {
	n := 0
	for _, e := range r.Events() {
		if e.is(action, event) {
			n++
		}
	}
	return n
}

func (e Uevent) is(action, event string) bool {
	return e.Action == action && (event == "" || e.Env["NVME_EVENT"] == event || e.Env["NVME_AEN"] == event)
}

// Await waits until n events so far have the action and event, as Count counts them. It looks at each event once, when it
// comes: while many controllers are being made, looking at sysfs or at all events every few milliseconds would take the
// machine from those who make them. For the same reason long waits have a slow heartbeat.
func (r *Recorder) Await(t testing.TB, within time.Duration, n int, action, event string) {
	t.Helper()
	stalls, end := watch(min(max(within/1000, 20*time.Millisecond), 200*time.Millisecond))
	defer end()
	start, late := time.Now(), time.NewTimer(Slow(within))
	defer late.Stop()
	for have, seen := 0, 0; ; {
		r.mu.Lock()
		fresh, more := r.events[seen:], r.more
		r.mu.Unlock()
		seen += len(fresh)
		for _, e := range fresh {
			if e.is(action, event) {
				have++
			}
		}
		if have >= n {
			return
		}
		select {
		case <-more:
		case <-late.C:
			if TooLong(start, within, stalls) {
				t.Fatalf("not within %v: %d of %d events %s %s", Slow(within), have, n, action, event)
			}
			late.Reset(time.Second)
		}
	}
}

// NoneRemoved fails the test when a controller was removed, or lost its connection and made a new one.
func (r *Recorder) NoneRemoved(t testing.TB) {
	t.Helper()
	for _, e := range r.Events() {
		if e.Action == "remove" {
			t.Errorf("%s was removed at %s", e.Name, e.Time.Format("15:04:05.000"))
		}
	}
}
