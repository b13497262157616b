package nvmetcp

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// pipeQueue makes a queue whose controller is the other end of a pipe.
func pipeQueue(t testing.TB) (*queue, net.Conn) {
	t.Helper()
	host, controller := net.Pipe()
	q := newQueue(host, &ICResp{MaxH2CData: 4096}, 0, 4, 1024, 8192)
	t.Cleanup(func() { controller.Close(); q.close() })
	return q, controller
}

// What comes for a command that was given up goes nowhere, and its slot is used again.
func TestAbandonedCommand(t *testing.T) {
	q, controller := pipeQueue(t)
	ctx, cancel := context.WithCancel(t.Context())
	in := []byte("untouched")
	read := NewReader(controller, TargetSide, 4096)
	write := NewWriter(controller)
	done := make(chan error, 1)
	go func() {
		var sqe SQE
		_, err := q.exec(ctx, &sqe, nil, in)
		done <- err
	}()
	p, err := read.Next()
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Fatal("cancelled command succeeded")
	}
	cid := p.(*CapsuleCmd).SQE.CID()
	if err := write.Write(&C2HData{CID: cid, Last: true, Success: true, Data: []byte("too late!")}); err != nil {
		t.Fatal(err)
	}
	for range 8 { // twice as many as there are slots
		go func() {
			var sqe SQE
			_, err := q.exec(t.Context(), &sqe, nil, nil)
			done <- err
		}()
		p, err := read.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := write.Write(&CapsuleResp{NewCQE(p.(*CapsuleCmd).SQE.CID(), 0, 0, 0, 0)}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if string(in) != "untouched" {
		t.Errorf("buffer of the cancelled command is %q", in)
	}
}

// held is a connection on which what is sent arrives at once, but a writer learns of it only when it is let go.
type held struct {
	net.Conn
	free <-chan struct{}
}

func (c held) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	<-c.free
	return n, err
}

// An answer counts although the controller closes the connection right behind it, as many do that refuse.
func TestAnsweredAndClosed(t *testing.T) {
	for range 20 {
		host, controller := net.Pipe()
		free := make(chan struct{})
		q := newQueue(held{host, free}, &ICResp{MaxH2CData: 4096}, 0, 4, 1024, 8192)
		go func() {
			defer close(free)
			p, err := NewReader(controller, TargetSide, 4096).Next()
			if err != nil {
				t.Error(err)
			} else if err := NewWriter(controller).Write(&CapsuleResp{NewCQE(p.(*CapsuleCmd).SQE.CID(), 0, 0, nvme.StatusConnectHost, 0)}); err != nil {
				t.Error(err)
			}
			controller.Close()
			<-q.done
		}()
		cqe, err := q.exec(t.Context(), new(SQE), nil, nil)
		q.close()
		if err != nil || cqe.Status() != nvme.StatusConnectHost {
			t.Fatalf("got status %v, %v", cqe.Status(), err)
		}
	}
}

// Once a command has failed, its buffer is the caller's again, whatever of the answer was on its way.
func TestFailedCommandLeavesItsBuffer(t *testing.T) {
	q, controller := pipeQueue(t)
	in := []byte("untouched")
	done := make(chan error, 1)
	go func() {
		_, err := q.exec(t.Context(), new(SQE), nil, in)
		done <- err
	}()
	p, err := NewReader(controller, TargetSide, 4096).Next()
	if err != nil {
		t.Fatal(err)
	}
	q.end(io.ErrUnexpectedEOF) // as a keep alive that fails
	if err := <-done; err == nil {
		t.Fatal("the command succeeded")
	}
	// What the reader had in its buffer already:
	_ = q.handle(&C2HData{CID: p.(*CapsuleCmd).SQE.CID(), Last: true, Data: []byte("too late!")}, nil)
	if string(in) != "untouched" {
		t.Errorf("buffer of the failed command is %q", in)
	}
}

// A controller that asks for the same data over and over does not make the host grow.
func TestTooManyR2T(t *testing.T) {
	q, controller := pipeQueue(t)
	done := make(chan error, 1)
	go func() {
		sqe := SQE{nvme.OpWrite}
		_, err := q.exec(t.Context(), &sqe, make([]byte, 8192), nil)
		done <- err
	}()
	p, err := NewReader(controller, TargetSide, 8192).Next()
	if err != nil {
		t.Fatal(err)
	}
	r2t := &R2T{CID: p.(*CapsuleCmd).SQE.CID(), Length: 8192}
	if err := q.handle(r2t, nil); err != nil {
		t.Fatal(err)
	}
	var pe *ProtocolError // as nobody reads the answer to the first
	if err := q.handle(r2t, nil); !errors.As(err, &pe) || pe.FES != FESDataLimit {
		t.Errorf("the second R2T gave %v", err)
	}
	controller.Close()
	if err := <-done; err == nil {
		t.Error("the command succeeded")
	}
}

// FuzzQueue feeds a host with what a controller might answer while a read and a write
// are under way.
func FuzzQueue(f *testing.F) {
	ok := &CapsuleResp{NewCQE(0, 0, 0, 0, 0)}
	f.Add(encodePDUs(&C2HData{Last: true, Success: true, Data: make([]byte, 512)}))
	f.Add(encodePDUs(&R2T{CID: 1, Length: 2000}, &CapsuleResp{NewCQE(1, 0, 0, 0, 0)}))
	f.Add(encodePDUs(&R2T{CID: 0, Length: 1}, ok))
	f.Add(encodePDUs(&C2HData{Data: make([]byte, 4096)}, ok, ok))
	f.Add(encodePDUs(&TermReq{FromController: true, FES: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		host, controller := net.Pipe()
		q := newQueue(host, &ICResp{MaxH2CData: 4096}, 0, 4, 1024, 8192)
		go io.Copy(io.Discard, controller)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		guard := make([]byte, 1024)
		done := make(chan struct{}, 2)
		go func() {
			sqe := SQE{nvme.OpRead}
			q.exec(ctx, &sqe, nil, guard[:512:512])
			done <- struct{}{}
		}()
		go func() {
			sqe := SQE{nvme.OpWrite}
			q.exec(ctx, &sqe, make([]byte, 2000), nil)
			done <- struct{}{}
		}()
		controller.SetWriteDeadline(time.Now().Add(time.Second))
		controller.Write(b)
		controller.Close()
		<-done
		<-done
		q.close()
		for _, c := range guard[512:] {
			if c != 0 {
				t.Fatal("wrote behind the buffer")
			}
		}
	})
}
