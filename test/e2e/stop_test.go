//go:build e2e

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// noProbe makes stacd hand every address to the kernel, also those that no probe would let through.
func noProbe(t *testing.T) {
	t.Helper()
	const dir = "/run/systemd/system/stacd.service.d"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/no-probe.conf", []byte("[Service]\nEnvironment=STAS_TEST_NO_PROBE=1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.RemoveAll(dir)
		fabric.Run(t, "systemctl", "daemon-reload")
	})
	fabric.Run(t, "systemctl", "daemon-reload")
}

// listen accepts on an address, and tells of every connection before it is served. The end of the test closes everything.
func listen(t *testing.T, address string, serve func(net.Conn)) (accepted <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan struct{}, 100)
	done := make(chan []net.Conn, 1)
	go func() {
		var all []net.Conn
		defer func() { done <- all }()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all = append(all, c)
			told <- struct{}{}
			go serve(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		for _, c := range <-done {
			_ = c.Close()
		}
	})
	return told
}

// silent accepts and says nothing.
func silent(net.Conn) {}

// initialized answers the ICReq and leaves the Connect command without an answer until the test ends. Then it refuses it: left alone
// the kernel would wait for a minute, and the next test with it.
type initialized struct {
	end     chan struct{}
	running sync.WaitGroup
}

func newInitialized() *initialized { return &initialized{end: make(chan struct{})} }

func (i *initialized) refuse() {
	close(i.end)
	i.running.Wait()
}

func (i *initialized) serve(c net.Conn) {
	i.running.Add(1)
	defer i.running.Done()
	request := make([]byte, 128)
	if _, err := io.ReadFull(c, request); err != nil {
		return
	}
	// ICResp (NVMe/TCP 1.0, 3.6.2.3): type 1, header and PDU length 128, version 0, no padding, no digests, MAXH2CDATA 128 KiB.
	response := make([]byte, 128)
	response[0], response[2], response[4] = 1, 128, 128
	response[14] = 2
	if _, err := c.Write(response); err != nil {
		return
	}
	command := make([]byte, 8+64) // header and SQE of the capsule; the identifier is at byte 2 of the SQE
	if _, err := io.ReadFull(c, command); err != nil {
		return
	}
	<-i.end
	// CapsuleResp (3.6.2.7): type 5, 24 bytes, CQE with status Connect Invalid Parameters, do not retry.
	answer := make([]byte, 24)
	answer[0], answer[2], answer[4] = 5, 24, 24
	copy(answer[8+12:], command[8+2:8+4])
	binary.LittleEndian.PutUint16(answer[8+14:], 0x4182<<1)
	_, _ = c.Write(answer)
}

// gate holds connections up until it is opened. The end of the test opens it.
type gate struct {
	opened chan struct{}
	once   sync.Once
}

func newGate(t *testing.T) *gate {
	g := &gate{opened: make(chan struct{})}
	t.Cleanup(g.open)
	return g
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// late passes everything on to the real target once the gate is open. ICReq and its answer pass before that: the kernel waits for
// ten seconds only for the one, and for a minute for what comes next.
func late(now *atomic.Pointer[gate]) func(net.Conn) {
	return func(c net.Conn) {
		defer func() { _ = c.Close() }()
		target, err := net.Dial("tcp", net.JoinHostPort(address, fmt.Sprint(service)))
		if err != nil {
			return
		}
		defer func() { _ = target.Close() }()
		if _, err := io.CopyN(target, c, 128); err != nil {
			return
		}
		if _, err := io.CopyN(c, target, 128); err != nil {
			return
		}
		<-now.Load().opened
		go func() { _, _ = io.Copy(target, c); _ = target.Close() }()
		_, _ = io.Copy(c, target)
	}
}

// stopped stops a unit and fails the test when that takes longer than 5 s or leaves it in another state than inactive.
func stopped(t *testing.T, unit string) {
	t.Helper()
	stalls, started := fabric.WatchStalls(t), time.Now()
	fabric.Stop(t, unit)
	took := time.Since(started)
	t.Logf("systemctl stop %s: %v", unit, took.Round(time.Millisecond))
	if fabric.TooLong(started, 5*time.Second, stalls) {
		t.Errorf("systemctl stop %s took %v", unit, took)
	}
	if state, result := fabric.Property(t, unit, "ActiveState"), fabric.Property(t, unit, "Result"); state != "inactive" || result != "success" {
		t.Errorf("%s is %s, result %s", unit, state, result)
	}
}

// TestStopWhilePending stops stacd with connects pending inside the kernel that nobody will ever answer, and starts it again.
func TestStopWhilePending(t *testing.T) {
	_, subs := serve(t, 1)
	noProbe(t)
	lines := []string{fmt.Sprintf("transport=tcp;traddr=%s;trsvcid=%d;nqn=%s", address, service, subs[0].NQN)}
	unanswered := newInitialized()
	var pending []<-chan struct{}
	// The kernel gives up who is silent after ten seconds, in which a slow machine may not have started stacd again: the one that the
	// first worker is at has a minute.
	var first sync.Once
	for n := range 20 {
		handler, name := func(c net.Conn) {
			serve := silent
			first.Do(func() { serve = unanswered.serve })
			serve(c)
		}, "silent"
		if n%2 == 0 {
			handler, name = func(c net.Conn) {
				first.Do(func() {})
				unanswered.serve(c)
			}, "initialized"
		}
		address := fmt.Sprintf("127.0.1.%d", n+1)
		pending = append(pending, listen(t, address+":4420", handler))
		lines = append(lines, fmt.Sprintf("transport=tcp;traddr=%s;trsvcid=4420;nqn=%s%s%d", address, prefix, name, n))
	}
	t.Cleanup(unanswered.refuse)
	fabric.Configure(t, "stafd.conf", noMDNS)
	fabric.Configure(t, "stacd.conf", controllers(lines...))
	reached := merge(pending)

	fabric.Start(t, "stacd")
	fabric.Eventually(t, 20*time.Second, func() error {
		select {
		case <-reached:
			return nil
		default:
			return errors.New("no connect reached a listener")
		}
	})
	stopped(t, "stacd")

	// The worker of the first run is still in the kernel, and holds up the one of the second there.
	fabric.Start(t, "stacd")
	group := fabric.Property(t, "stacd", "ControlGroup")
	fabric.Eventually(t, 20*time.Second, func() error {
		if n := len(strings.Fields(content(t, "/sys/fs/cgroup"+group+"/cgroup.procs"))); n < 3 {
			return fmt.Errorf("%d processes, not a daemon and two workers", n)
		}
		return nil
	})
	stopped(t, "stacd")
	fabric.Start(t, "stacd")
	running(t, "stacd", fabric.MainPID(t, "stacd"))
	stopped(t, "stacd")
}

func merge(all []<-chan struct{}) <-chan struct{} {
	one := make(chan struct{}, len(all))
	for _, c := range all {
		go func() {
			for range c {
				select {
				case one <- struct{}{}:
				default:
				}
			}
		}()
	}
	return one
}

// TestStopWhileConnecting stops stacd while the kernel makes a connection that succeeds later: it gets its owner all the same, and
// the next stacd takes it over.
func TestStopWhileConnecting(t *testing.T) {
	_, subs := serve(t, 2)
	noProbe(t)
	var pending atomic.Pointer[gate]
	pending.Store(newGate(t))
	accepted := listen(t, "127.0.1.1:4420", late(&pending))
	via := func(s *fabric.Subsystem) string {
		return "transport=tcp;traddr=127.0.1.1;trsvcid=4420;nr-io-queues=1;nqn=" + s.NQN
	}
	fabric.Configure(t, "stafd.conf", noMDNS)
	fabric.Configure(t, "stacd.conf", controllers(via(subs[0])))
	events, entries, stalls := fabric.Record(t), fabric.WatchRegistry(t), fabric.WatchStalls(t)

	fabric.Start(t, "stacd")
	<-accepted
	stopped(t, "stacd")
	if n := events.Count("change", "connected"); n != 0 {
		t.Fatalf("%d were connected before the stop: the test proves nothing", n)
	}
	pending.Load().open()
	awaitOwned(t, 30*time.Second, subs[0])
	registered(t, events, entries, stalls)
	before := iocs(t)

	fabric.Start(t, "stacd")
	fabric.Never(t, 2*time.Second, func() error {
		if n := len(fabric.Controllers(t)); n != 1 {
			return fmt.Errorf("%d controllers", n)
		}
		return nil
	})
	fabric.Unharmed(t, before)

	// The same with a start right after the stop.
	fabric.Stop(t, "stacd")
	for len(accepted) > 0 {
		<-accepted
	}
	fabric.Configure(t, "stacd.conf", controllers(via(subs[0]), via(subs[1])))
	pending.Store(newGate(t))
	fabric.Start(t, "stacd")
	<-accepted
	fabric.Restart(t, "stacd")
	pending.Load().open()
	awaitOwned(t, 40*time.Second, subs...)
	events.NoneRemoved(t)
	if n := len(iocs(t)); n != 2 {
		t.Errorf("%d controllers for 2 subsystems", n)
	}
}
