package nvmetcp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// listen answers each connection on a loopback port with serve.
func listen(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func answer(resp PDU) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := NewReader(c, TargetSide, 0).Next(); err != nil {
			return
		}
		NewWriter(c).Write(resp)
		io.Copy(io.Discard, c)
	}
}

func TestProbe(t *testing.T) {
	closed := listen(t, func(net.Conn) {})
	refused, _ := net.Listen("tcp", "127.0.0.1:0")
	refusedAddr := refused.Addr().(*net.TCPAddr).AddrPort()
	refused.Close()

	good := &ICResp{MaxH2CData: 4096}
	tests := map[string]struct {
		target ProbeTarget
		want   []error
	}{
		"answers": {target: at(listen(t, answer(good)))},
		"refused": {at(refusedAddr), []error{ErrRefused}},
		"silent":  {at(listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })), []error{ErrSilent, ErrTimeout}},
		"silent, tcp only": {target: ProbeTarget{TCPOnly: true,
			Endpoint: Endpoint{Addr: listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })}}},
		"closes":          {at(closed), []error{ErrClosed}},
		"http":            {at(listen(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })), []error{ErrNotNVMe}},
		"bad version":     {at(listen(t, answer(&ICResp{PFV: 1, MaxH2CData: 4096}))), []error{ErrNotNVMe}},
		"wants digests":   {at(listen(t, answer(&ICResp{HeaderDigest: true, MaxH2CData: 4096}))), []error{ErrNotNVMe}},
		"small maxh2c":    {at(listen(t, answer(&ICResp{MaxH2CData: 512}))), []error{ErrNotNVMe}},
		"alignment":       {at(listen(t, answer(&ICResp{CPDA: 3, MaxH2CData: 4096}))), []error{ErrNotNVMe}},
		"terminates":      {at(listen(t, answer(&TermReq{FromController: true, FES: FESUnsupportedParameter}))), []error{ErrClosed}},
		"no interface":    {ProbeTarget{Endpoint: Endpoint{Addr: closed, HostIface: "nosuch0"}}, []error{ErrLocal}},
		"not our address": {ProbeTarget{Endpoint: Endpoint{Addr: closed, HostTraddr: netip.MustParseAddr("192.0.2.7")}}, []error{ErrLocal}},
		"no address":      {ProbeTarget{}, []error{ErrLocal}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var err error
			for timeout := 300 * time.Millisecond; ; timeout *= 10 {
				ctx, cancel := context.WithTimeout(context.Background(), timeout)
				err = Probe(ctx, tt.target)
				cancel()
				// So short a time may also pass before the connection is made, because the machine stands still.
				right := len(tt.want) > 0 && !slices.ContainsFunc(tt.want, func(want error) bool { return !errors.Is(err, want) })
				if right || !errors.Is(err, ErrTimeout) || timeout >= 30*time.Second {
					break
				}
			}
			if len(tt.want) == 0 && err != nil {
				t.Fatalf("Probe: %v", err)
			}
			for _, want := range tt.want {
				if !errors.Is(err, want) {
					t.Errorf("Probe gave %v, want %v", err, want)
				}
			}
		})
	}
}

func at(a netip.AddrPort) ProbeTarget { return ProbeTarget{Endpoint: Endpoint{Addr: a}} }

func TestProbeEndsWithContext(t *testing.T) {
	silent := listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	ctx, cancel := context.WithCancel(context.Background())
	var start atomic.Pointer[time.Time]
	time.AfterFunc(20*time.Millisecond, func() { start.Store(new(time.Now())); cancel() })
	if err := Probe(ctx, at(silent)); !errors.Is(err, context.Canceled) {
		t.Errorf("Probe gave %v, want %v", err, context.Canceled)
	}
	if d := time.Since(*start.Load()); d > 10*time.Second { // without an end it would be for ever
		t.Errorf("Probe took %v after its context was cancelled", d)
	}
}

func TestProbeBindsToInterface(t *testing.T) {
	addr := listen(t, answer(&ICResp{MaxH2CData: 8192}))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := Probe(ctx, ProbeTarget{Endpoint: Endpoint{Addr: addr, HostIface: "lo", HostTraddr: addr.Addr()}})
	if err != nil {
		t.Fatalf("Probe through lo: %v", err)
	}
}
