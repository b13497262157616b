package nvmetcp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// Each misbehaviour of a target has to be one clear error of the host, in time.
func TestMisbehaviour(t *testing.T) {
	page := (&nvme.DiscoveryLog{GenCtr: 1, Entries: entries(40)}).Encode(' ')
	busy := nvme.StatusControllerBusy
	tests := map[string]struct {
		step   string
		act    Action
		digest bool
		want   error  // for errors.Is
		text   string // or in the text
	}{
		"close at accept":       {step: StepAccept, act: Action{Close: true}, want: ErrClosed},
		"silent at accept":      {step: StepAccept, act: Action{Silent: true}, want: ErrSilent},
		"silent at icreq":       {step: StepICReq, act: Action{Silent: true}, want: ErrSilent},
		"truncated icresp":      {step: StepICReq, act: Action{Corrupt: CorruptTruncate}, want: ErrClosed},
		"bad icresp":            {step: StepICReq, act: Action{Corrupt: CorruptHeaderLength}, want: ErrNotNVMe},
		"digests not as asked":  {step: StepICReq, act: Action{Corrupt: CorruptDigest}, want: ErrNotNVMe},
		"terminate at icreq":    {step: StepICReq, act: Action{Corrupt: CorruptTerminate}, want: ErrClosed},
		"busy":                  {step: StepConnect, act: Action{Status: busy}, want: busy},
		"silent at connect":     {step: StepConnect, act: Action{Silent: true}, want: ErrTimeout},
		"slow connect":          {step: StepConnect, act: Action{Delay: time.Hour}, want: ErrTimeout},
		"close at connect":      {step: StepConnect, act: Action{Close: true}, want: ErrClosed},
		"silent at property":    {step: StepPropertyGet, act: Action{Silent: true}, want: ErrTimeout},
		"status at property":    {step: StepPropertySet, act: Action{Status: nvme.StatusInternalError}, want: nvme.StatusInternalError},
		"silent at identify":    {step: StepIdentify, act: Action{Silent: true}, want: ErrTimeout},
		"short identify":        {step: StepIdentify, act: Action{Corrupt: CorruptShortData}, text: "bytes came"},
		"close at log page":     {step: StepDiscoveryLog, act: Action{Close: true}, want: ErrClosed},
		"slow log page":         {step: StepDiscoveryLog, act: Action{Delay: time.Hour}, want: ErrTimeout},
		"short log page":        {step: StepDiscoveryLog, act: Action{Corrupt: CorruptShortData}, text: "bytes came"},
		"truncated log page":    {step: StepDiscoveryLog, act: Action{Corrupt: CorruptTruncate}, want: ErrClosed},
		"unknown command":       {step: StepDiscoveryLog, act: Action{Corrupt: CorruptCommandID}, want: ErrNotNVMe},
		"bad length":            {step: StepDiscoveryLog, act: Action{Corrupt: CorruptHeaderLength}, want: ErrNotNVMe},
		"bad digest":            {step: StepDiscoveryLog, act: Action{Corrupt: CorruptDigest}, digest: true, text: "data digest"},
		"bad header digest":     {step: StepConnect, act: Action{Corrupt: CorruptDigest}, digest: true, want: ErrNotNVMe},
		"terminate at log page": {step: StepDiscoveryLog, act: Action{Corrupt: CorruptTerminate}, want: ErrClosed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := &Target{Resolver: resolver{nvme.DiscoveryNQN: &directory{page: page}},
				Interceptor: intercept(func(s Step) Action {
					if s.Name == tt.step {
						return tt.act
					}
					return Action{}
				})}
			cfg := hostConfig(serve(t, target), "")
			cfg.HeaderDigest, cfg.DataDigest = tt.digest, tt.digest
			var err error
			for cfg.CommandTimeout = 200 * time.Millisecond; ; cfg.CommandTimeout *= 10 {
				_, _, err = Discover(t.Context(), cfg)
				// So short a time may also pass because the machine stands still.
				if tt.want != nil && errors.Is(err, tt.want) || !errors.Is(err, ErrTimeout) || cfg.CommandTimeout >= 20*time.Second {
					break
				}
			}
			switch {
			case err == nil:
				t.Fatal("Discover succeeded")
			case tt.want != nil && !errors.Is(err, tt.want):
				t.Errorf("Discover gave %v, want %v", err, tt.want)
			case !strings.Contains(err.Error(), tt.text):
				t.Errorf("Discover gave %v, want %q in it", err, tt.text)
			}
		})
	}
}

// A termination request in place of an event is sent beside what reads the host's next command.
func TestTerminateInPlaceOfAnEvent(t *testing.T) {
	target := &Target{Resolver: resolver{nvme.DiscoveryNQN: &directory{}},
		Interceptor: intercept(func(s Step) Action {
			if s.Name == StepAEN {
				return Action{Corrupt: CorruptTerminate}
			}
			return Action{}
		})}
	h := dial(t, hostConfig(serve(t, target), ""))
	if err := h.EnableEvents(t.Context(), nvme.OAESDiscovery); err != nil {
		t.Fatal(err)
	}
	c := target.Controllers()[0]
	for c.Requests() == 0 {
		time.Sleep(time.Millisecond)
	}
	h.admin.c.Write([]byte{byte(TypeCapsuleCmd), 0, capsuleCmdLen, 0}) // and the rest later
	time.Sleep(20 * time.Millisecond)
	c.Notify(nvme.AENDiscoveryLogChange)
	<-h.Done()
	var term *TerminatedError
	if !errors.As(h.Err(), &term) {
		t.Errorf("connection ended by %v", h.Err())
	}
}

// CAP.TO, which is 500 ms here, is for a controller that says that it is not ready, not for one whose answer takes long.
func TestSlowAnswerOfAReadyController(t *testing.T) {
	var asked atomic.Int32
	target := &Target{Resolver: resolver{nvme.DiscoveryNQN: &directory{}}, Interceptor: intercept(func(s Step) Action {
		if s.Name == StepPropertyGet && asked.Add(1) == 2 { // CAP, then CSTS
			return Action{Delay: 700 * time.Millisecond}
		}
		return Action{}
	})}
	dial(t, hostConfig(serve(t, target), ""))
}

// A controller that is never ready is given up.
func TestControllerThatIsNeverReady(t *testing.T) {
	q, controller := pipeQueue(t)
	go func() {
		r, w := NewReader(controller, TargetSide, 4096), NewWriter(controller)
		for {
			p, err := r.Next()
			if err != nil || w.Write(&CapsuleResp{NewCQE(p.(*CapsuleCmd).SQE.CID(), 0, 0, 0, 0)}) != nil {
				return
			}
		}
	}()
	h := &Host{cfg: HostConfig{CommandTimeout: 20 * time.Second}, admin: q}
	if err := h.waitReady(t.Context(), capValue); !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "ready") {
		t.Errorf("waitReady gave %v", err)
	}
}

// What one host sends must neither stop the target nor its other hosts, and nothing of that host stays.
func TestTargetSurvivesNonsense(t *testing.T) {
	target := &Target{Resolver: resolver{nvme.DiscoveryNQN: &directory{page: (&nvme.DiscoveryLog{}).Encode(0)}}}
	e := serve(t, target)
	other := dial(t, hostConfig(e, ""))
	for _, b := range nonsense() {
		c, err := net.Dial("tcp", e.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write(b)
		c.(*net.TCPConn).CloseWrite()
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("target keeps the connection after % x", b[:min(len(b), 16)])
		}
		c.Close()
		if _, err := other.ReadDiscoveryLog(t.Context(), 0); err != nil {
			t.Fatalf("another host after % x: %v", b[:min(len(b), 16)], err)
		}
	}
	if _, _, err := Discover(t.Context(), hostConfig(e, "")); err != nil {
		t.Errorf("Discover afterwards: %v", err)
	}
	left := func() (controllers, connections int) {
		target.mu.Lock()
		defer target.mu.Unlock()
		return len(target.ctrls), target.conns
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		controllers, connections := left()
		if controllers == 1 && connections == 1 { // of the other host
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d controllers and %d connections are left", controllers, connections)
		}
		time.Sleep(time.Millisecond)
	}
}

func nonsense() [][]byte {
	ic := encodePDUs(&ICReq{})
	connect := func(change func(*SQE, *nvme.ConnectData)) []byte {
		var sqe SQE
		sqe[0], sqe[4] = nvme.OpFabrics, nvme.FabricsConnect
		le.PutUint16(sqe[44:], 31)
		sqe.setSGL(sglInCapsule, nvme.ConnectDataSize)
		d := &nvme.ConnectData{CntlID: nvme.CntlIDDynamic, SubNQN: nvme.DiscoveryNQN, HostNQN: testHost}
		change(&sqe, d)
		b, _ := d.Encode()
		return encodePDUs(&ICReq{}, &CapsuleCmd{SQE: sqe, Data: b})
	}
	good := connect(func(*SQE, *nvme.ConnectData) {})
	var log SQE
	log[0] = nvme.OpGetLogPage
	log.SetDword(10, 0xffff0070)
	log.SetDword(11, 0xffff)
	log.setSGL(sglTransport, 0xffffffff)
	return [][]byte{
		{}, {0}, []byte("GET / HTTP/1.0\r\n\r\n"), make([]byte, 4096),
		ic[:64], append(ic[:len(ic):len(ic)], ic...),
		append(ic[:len(ic):len(ic)], 4, 0, 72, 72, 0xff, 0xff, 0xff, 0xff),
		encodePDUs(&ICReq{}, &H2CData{TTag: 7, Data: []byte("data")}),
		encodePDUs(&ICReq{}, &CapsuleCmd{SQE: log}),
		encodePDUs(&ICReq{PFV: 9}), encodePDUs(&ICReq{}, &TermReq{FES: 1}),
		connect(func(s *SQE, d *nvme.ConnectData) { le.PutUint16(s[44:], 0xffff) }),
		connect(func(s *SQE, d *nvme.ConnectData) { le.PutUint16(s[42:], 3); d.CntlID = 1 }),
		append(good[:len(good):len(good)], good[128:]...), // Connect twice
		append(good[:len(good):len(good)], encodePDUs(&CapsuleCmd{SQE: log})...),
	}
}

func encodePDUs(list ...PDU) []byte {
	var b []byte
	w := NewWriter(nil)
	for _, p := range list {
		for _, part := range w.encode(p) {
			b = append(b, part...)
		}
	}
	return b
}

// FuzzTarget feeds a target with what comes after a good Connect, admin or I/O.
func FuzzTarget(f *testing.F) {
	for _, b := range nonsense() {
		f.Add(b)
	}
	var sqe SQE
	sqe[0] = nvme.OpIdentify
	sqe.SetDword(10, 1)
	sqe.setSGL(sglTransport, 4096)
	f.Add(append(nonsense()[14][:128+72+1024:128+72+1024], encodePDUs(&CapsuleCmd{SQE: sqe})...))
	f.Fuzz(func(t *testing.T, b []byte) {
		target := &Target{Resolver: resolver{nvme.DiscoveryNQN: &directory{page: make([]byte, 4096)}, testSub: newDisk(1 << 16)}}
		host, peer := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); target.serveConn(context.Background(), peer, "") }()
		go func() {
			buf := make([]byte, 32<<10)
			for {
				if _, err := host.Read(buf); err != nil {
					return
				}
			}
		}()
		host.SetWriteDeadline(time.Now().Add(time.Second))
		host.Write(b)
		host.Close()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("connection does not end")
		}
		if n := len(target.Controllers()); n != 0 {
			t.Fatalf("%d controllers are left", n)
		}
	})
}

// What a target can be made to do at a step it does with events, too.
func TestMisbehaviourAtAnEvent(t *testing.T) {
	serveEvents := func(t *testing.T, act Action) (*Host, *Controller) {
		target := &Target{Resolver: resolver{nvme.DiscoveryNQN: &directory{page: (&nvme.DiscoveryLog{}).Encode(' ')}},
			Interceptor: intercept(func(s Step) Action {
				if s.Name == StepAEN {
					return act
				}
				return Action{}
			})}
		h := dial(t, hostConfig(serve(t, target), ""))
		if err := h.EnableEvents(t.Context(), nvme.OAESDiscovery); err != nil {
			t.Fatal(err)
		}
		return h, target.Controllers()[0]
	}
	t.Run("close", func(t *testing.T) {
		h, c := serveEvents(t, Action{Close: true})
		c.Notify(nvme.AENDiscoveryLogChange)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if e, err := h.WaitEvent(ctx); !errors.Is(err, ErrClosed) {
			t.Errorf("event %v, %v", e, err)
		}
	})
	t.Run("delay", func(t *testing.T) {
		const delay = 200 * time.Millisecond
		h, c := serveEvents(t, Action{Delay: delay})
		begin := time.Now()
		c.Notify(nvme.AENDiscoveryLogChange)
		if _, err := h.ReadDiscoveryLog(t.Context(), 0); err != nil { // goes on meanwhile
			t.Error(err)
		}
		if _, err := h.WaitEvent(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d < delay {
			t.Errorf("the event came after %s", d)
		}
	})
	t.Run("delay beyond the connection", func(t *testing.T) {
		h, c := serveEvents(t, Action{Delay: time.Hour})
		c.Notify(nvme.AENDiscoveryLogChange)
		h.Close() // and nothing waits any more
	})
}
