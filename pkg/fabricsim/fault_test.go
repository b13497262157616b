package fabricsim

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

func spoil(t *testing.T, f *Fabric, action string) {
	t.Helper()
	if err := f.AddFault(FaultConfig{Name: action, Subsystem: "cdc", Action: action}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.RemoveFault(action) })
}

func readPage(t *testing.T, h *nvmetcp.Host) (*nvme.DiscoveryLog, error) {
	t.Helper()
	return h.ReadDiscoveryLog(t.Context(), 0)
}

func TestPageFaults(t *testing.T) {
	f := start(t, sample)
	h := connect(t, f, "p1", alice, "")
	good, err := readPage(t, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("moving", func(t *testing.T) {
		spoil(t, f, "moving-genctr")
		if _, err := readPage(t, h); !errors.Is(err, nvme.ErrGenerationMoving) {
			t.Errorf("gave %v", err)
		}
	})
	t.Run("restart", func(t *testing.T) {
		spoil(t, f, "discover-restart")
		if _, err := readPage(t, h); !errors.Is(err, nvme.StatusDiscoverRestart) {
			t.Errorf("gave %v", err)
		}
	})
	t.Run("lying numrec", func(t *testing.T) {
		spoil(t, f, "numrec=5000")
		if log, err := readPage(t, h); err == nil && log.Complete() {
			t.Errorf("a page of %d entries that says 5000 is complete", len(good.Entries))
		}
	})
	t.Run("huge numrec", func(t *testing.T) {
		spoil(t, f, "numrec=0xffffffffffffffff")
		if _, err := readPage(t, h); err == nil {
			t.Error("gave no error")
		}
	})
	t.Run("garbage", func(t *testing.T) {
		spoil(t, f, "garbage")
		if log, err := readPage(t, h); err == nil && log.Complete() {
			t.Errorf("random bytes are %d good entries", len(log.Entries))
		}
	})
	t.Run("stuck", func(t *testing.T) {
		spoil(t, f, "stuck-genctr")
		before, err := readPage(t, h)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.AddToZone("za", "s2"); err != nil {
			t.Fatal(err)
		}
		after, err := readPage(t, h)
		if err != nil || before.GenCtr != after.GenCtr || len(before.Entries) == len(after.Entries) {
			t.Errorf("generation %d, %d entries; then %d, %d entries; %v",
				before.GenCtr, len(before.Entries), after.GenCtr, len(after.Entries), err)
		}
	})
	if _, err := readPage(t, h); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestEventFaults(t *testing.T) {
	f := start(t, sample)
	h := connect(t, f, "p1", alice, "")
	if err := h.EnableEvents(t.Context(), nvme.OAESDiscovery); err != nil {
		t.Fatal(err)
	}
	waitRequests(t, f)
	short := func() (nvme.AsyncEvent, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		return h.WaitEvent(ctx)
	}
	t.Run("storm", func(t *testing.T) {
		spoil(t, f, "aen-storm=1ms")
		for range 10 {
			if _, err := h.WaitEvent(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
	// The last events of the storm may be long on their way. With a request outstanding all are in, and the host holds one at most.
	await(t, func() bool {
		stacks := make([]byte, 1<<20)
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "startStorm")
	})
	for f.controllerOf(alice).Requests() == 0 {
		_, _ = short()
	}
	_, _ = short()
	t.Run("none", func(t *testing.T) {
		spoil(t, f, "no-aen")
		if err := f.AddToZone("za", "s2"); err != nil {
			t.Fatal(err)
		}
		if e, err := short(); !errors.Is(err, nvmetcp.ErrTimeout) {
			t.Errorf("event %v, %v", e, err)
		}
	})
	if err := f.AddToZone("za", "s3"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.WaitEvent(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A fault is limited to whom and to how often it says.
func TestFaultLimits(t *testing.T) {
	f := start(t, sample)
	busy := nvme.StatusControllerBusy
	err := f.AddFault(FaultConfig{Name: "busy", Host: "alice", Port: "p1", Step: nvmetcp.StepConnect, Skip: 1, Times: 2, Action: "status=0x181"})
	if err != nil {
		t.Fatal(err)
	}
	try := func(port, host string) error {
		h, err := dialHost(t.Context(), f, port, host, "")
		if err == nil {
			h.Close()
		}
		return err
	}
	for i, want := range []error{nil, busy, busy, nil, nil} {
		if err := try("p1", bob); err != nil {
			t.Errorf("another host: %v", err)
		}
		if err := try("p2", alice); err != nil {
			t.Errorf("another port: %v", err)
		}
		if err := try("p1", alice); !errors.Is(err, want) {
			t.Errorf("attempt %d gave %v, want %v", i, err, want)
		}
	}
	if err := f.AddFault(FaultConfig{Name: "drop", Subsystem: "s1", Action: "drop-after=20ms"}); err != nil {
		t.Fatal(err)
	}
	dc := connect(t, f, "p1", alice, "")
	h, err := dialHost(t.Context(), f, "p1", alice, "nqn.2024-01.org.example:s1")
	if err == nil {
		t.Cleanup(func() { h.Close() })
		select {
		case <-h.Done():
		case <-time.After(20 * time.Second):
			t.Error("connection is not dropped")
		}
	} else if !errors.Is(err, nvmetcp.ErrClosed) { // dropped already, while it was being set up
		t.Error(err)
	}
	if dc.Err() != nil {
		t.Errorf("connection to something else is dropped: %v", dc.Err())
	}
}

// Before Connect nobody knows which host it is: a fault of one host can do nothing, and is not for all.
func TestFaultOfAHostThatIsNotKnownYet(t *testing.T) {
	f := start(t, sample)
	for i, step := range []string{nvmetcp.StepAccept, nvmetcp.StepICReq} {
		c := FaultConfig{Name: step, Host: "nqn.2014-08.org.nvmexpress:uuid:33333333-2222-3333-4444-555555555555", Step: step, Action: "close"}
		if err := f.AddFault(c); err == nil || !strings.Contains(err.Error(), "nobody knows yet") {
			t.Errorf("fault of one host at %s gave %v", step, err)
		}
		h, err := dialHost(t.Context(), f, "p1", []string{alice, bob}[i], "")
		if err != nil {
			t.Fatalf("another host at %s: %v", step, err)
		}
		h.Close()
	}
}

// Who has left by himself is dropped no more: nothing waits for that, and nothing tells of it.
func TestDropOfAHostThatHasLeft(t *testing.T) {
	f := start(t, sample)
	if err := f.AddFault(FaultConfig{Name: "drop", Action: "drop-after=1s"}); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"", "nqn.2024-01.org.example:s1"} {
		connect(t, f, "p1", alice, sub).Close()
	}
	time.Sleep(1300 * time.Millisecond)
	for _, e := range f.Events(0) {
		if e.Kind == "fault" && strings.HasSuffix(e.Detail, "drop-after=1s") && e.Cntlid != 0 {
			t.Errorf("event %+v", e)
		}
	}
}

// A storm raises as many events as it says.
func TestStormOfAFewEvents(t *testing.T) {
	f := start(t, sample)
	h := listen(t, f, "p1", alice)
	if err := f.AddFault(FaultConfig{Name: "storm", Action: "aen-storm=20ms", Times: 2}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	n := 0
	for ; n < 4; n++ {
		if _, err := h.WaitEvent(ctx); err != nil {
			break
		}
	}
	if n > 2 || n == 0 {
		t.Errorf("%d events, want 2", n)
	}
}

// A fault that is removed while it is being added is added first: or what shuts its port would come last.
func TestFaultRemovedWhileItIsAdded(t *testing.T) {
	f := start(t, sample)
	f.portMu.Lock() // which holds up what the fault does to the port
	added, removed := make(chan error, 1), make(chan error, 1)
	go func() { added <- f.AddFault(FaultConfig{Name: "x", Port: "p1", Action: "refuse"}) }()
	await(t, func() bool { return len(f.Faults()) == 1 })
	go func() { removed <- f.RemoveFault("x") }()
	time.Sleep(50 * time.Millisecond)
	if len(f.Faults()) == 0 {
		t.Error("a fault that has done nothing yet is over")
	}
	f.portMu.Unlock()
	for _, done := range []chan error{added, removed} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := f.Ports()[0].State; got != string(PortUp) {
		t.Errorf("without a fault the port is %s", got)
	}
}
