package nvmetcp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
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
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			err := Probe(ctx, tt.target)
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
	time.AfterFunc(20*time.Millisecond, cancel)
	start := time.Now()
	if err := Probe(ctx, at(silent)); !errors.Is(err, context.Canceled) {
		t.Errorf("Probe gave %v, want %v", err, context.Canceled)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("Probe took %v after its context was cancelled", d)
	}
}

func TestProbeBindsToInterface(t *testing.T) {
	addr := listen(t, answer(&ICResp{MaxH2CData: 8192}))
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := Probe(ctx, ProbeTarget{Endpoint: Endpoint{Addr: addr, HostIface: "lo", HostTraddr: addr.Addr()}})
	if err != nil {
		t.Fatalf("Probe through lo: %v", err)
	}
}
