package fabricsim

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// A host sees the state of the port that it came through, hears of its change, and gets
// at the namespaces while that reaches them.
func TestANA(t *testing.T) {
	f := start(t, strings.Replace(sample, "namespace = 8M\n", "namespace = 8M\nana = p2=inaccessible\n", 1))
	const nqn = "nqn.2024-01.org.example:s1"
	hosts := map[string]*nvmetcp.Host{}
	for _, port := range []string{"p1", "p2"} {
		h := connect(t, f, port, alice, nqn)
		if _, err := h.OpenQueues(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := h.EnableEvents(t.Context(), nvme.OAESANA); err != nil {
			t.Fatal(err)
		}
		hosts[port] = h
	}
	check := func(port string, want nvme.ANAState, changes uint64) {
		t.Helper()
		b := make([]byte, 16+32+4)
		if err := hosts[port].GetLog(t.Context(), nvme.LogANA, 0, 0, b, false); err != nil {
			t.Fatal(err)
		}
		le := binary.LittleEndian
		if got := nvme.ANAState(b[32]); got != want || le.Uint64(b) != changes || le.Uint32(b[16:]) != 1 || le.Uint32(b[48:]) != 1 {
			t.Errorf("%s is %s, log page % x", port, got, b)
		}
		err := hosts[port].Read(t.Context(), 1, 0, 512, make([]byte, 512))
		if want := want.Status().Err(); !errors.Is(err, want) {
			t.Errorf("reading through %s gave %v, not %v", port, err, want)
		}
	}
	check("p1", nvme.ANAOptimized, 0)
	check("p2", nvme.ANAInaccessible, 0)
	for i, state := range []nvme.ANAState{nvme.ANAOptimized, nvme.ANAPersistentLoss, nvme.ANAChange, nvme.ANANonOptimized} {
		if err := f.SetANA("s1", "p2", state); err != nil {
			t.Fatal(err)
		}
		if e, err := hosts["p2"].WaitEvent(t.Context()); err != nil || e != nvme.AENANAChange {
			t.Errorf("event %v, %v", e, err)
		}
		check("p2", state, uint64(i+1))
		check("p1", nvme.ANAOptimized, uint64(i+1))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if e, err := hosts["p1"].WaitEvent(ctx); err == nil {
		t.Errorf("event %v where nothing has changed", e)
	}
	if err := f.SetANA("s1", "nowhere", nvme.ANAOptimized); err == nil {
		t.Error("a port that is none has a state")
	}
	if _, err := ParseConfig(strings.NewReader(strings.Replace(sample, "namespace = 8M\n", "namespace = 8M\nana = p9=optimized\n", 1))); err == nil {
		t.Error("a port that is none has a state in the configuration")
	}
}
