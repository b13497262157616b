package kernel

import (
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
