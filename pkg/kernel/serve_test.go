package kernel

import (
	"fmt"
	"io"
	"sync/atomic"
	"testing"
)

// slowOptions is a fabrics device whose options take as long as another's connect.
type slowOptions struct {
	textDevice
	asked   chan struct{}
	release chan struct{}
	writes  *atomic.Int32
}

func (s slowOptions) ReadAt(b []byte, at int64) (int, error) {
	close(s.asked)
	<-s.release
	return s.textDevice.ReadAt(b, at)
}

func (s slowOptions) Write(b []byte) (int, error) {
	s.writes.Add(1)
	return s.textDevice.Write(b)
}

// Whoever waits for the options only, as they take the same mutex, has begun nothing.
func TestPipeEndsBeforeTheOptionsAreKnown(t *testing.T) {
	dev := slowOptions{textDevice{text: reply612}, make(chan struct{}), make(chan struct{}), new(atomic.Int32)}
	h := newHost(greeting{RunDir: t.TempDir()})
	h.openFabrics = func() (fabricsDevice, error) { return dev, nil }
	s := newServer(io.Discard, h)
	in, daemon := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- s.serve(in) }()

	spelled := newWanted(connectTo("192.0.2.1"))
	frame, err := appendFrame(nil, request{ID: 1, Op: opConnect, Connect: &spelled}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.Write(frame); err != nil {
		t.Fatal(err)
	}
	<-dev.asked
	_ = daemon.Close()
	await(t, "the worker to see the end", s.stopped)
	close(dev.release)
	if err := <-ended; err != nil {
		t.Errorf("serve = %v", err)
	}
	if n := dev.writes.Load(); n != 0 {
		t.Errorf("%d connects were begun", n)
	}
}

// silentController answers no command until it is released.
type silentController struct{ release chan struct{} }

func (s silentController) Close() error { return nil }

func (s silentController) Admin(*adminCommand, []byte) (uint32, error) {
	<-s.release
	return 0, ErrGone
}

type quickController struct{ done chan<- struct{} }

func (q quickController) Close() error { return nil }

func (q quickController) Admin(*adminCommand, []byte) (uint32, error) {
	q.done <- struct{}{}
	return 0, nil
}

// Controllers that are silent do not hold up those that answer, many as they are.
func TestSilentControllersDelayNobody(t *testing.T) {
	const each = 64
	release, done := make(chan struct{}), make(chan struct{}, each)
	h := newHost(greeting{RunDir: t.TempDir()})
	h.openController = func(name string) (controllerDevice, error) {
		if n, _ := instanceOf(name); n < each {
			return silentController{release}, nil
		}
		return quickController{done}, nil
	}
	s := newServer(io.Discard, h)
	in, daemon := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- s.serve(in) }()
	for i := range 2 * each {
		frame, err := appendFrame(nil, request{ID: uint64(i + 1), Op: opAdmin, Admin: &adminCommand{Name: fmt.Sprintf("nvme%d", i)}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := daemon.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the controllers that answer", func() bool { return len(done) == each })
	close(release)
	_ = daemon.Close()
	if err := <-ended; err != nil {
		t.Errorf("serve = %v", err)
	}
}
