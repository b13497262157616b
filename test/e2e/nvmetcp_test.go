//go:build e2e

package e2e

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
	"github.com/stas-go/stas/test/fabric"
)

// TestHostAtTarget has our host side speak with the kernel's target.
func TestHostAtTarget(t *testing.T) {
	wide(t)
	needKernel(t, "CONFIG_NVME_TARGET_AUTH")
	fabric.Clean(t)
	key := strings.TrimSpace(fabric.Run(t, "nvme", "gen-dhchap-key", "-n", hostNQN(t), "-m", "2"))
	ctrl := strings.TrimSpace(fabric.Run(t, "nvme", "gen-dhchap-key", "-n", hostNQN(t)))
	open := fabric.NewSubsystem(t, prefix+"open", fabric.Options{})
	locked := fabric.NewSubsystem(t, prefix+"locked", fabric.Options{Hosts: []fabric.Host{{NQN: hostNQN(t), Key: key, CtrlKey: ctrl}}})
	port := fabric.TCP(t, "127.0.0.1", 4420)
	port.Link(t, open)

	id, err := nvme.ParseHostID(hostID(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg := nvmetcp.HostConfig{HostNQN: hostNQN(t), HostID: id, KeepAlive: 4 * time.Second}
	cfg.Addr = netip.MustParseAddrPort("127.0.0.1:4420")
	dc, err := nvmetcp.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer dc.Close()
	if err := dc.EnableEvents(t.Context(), nvme.OAESDiscovery); err != nil {
		t.Fatal(err)
	}
	if log, err := dc.ReadDiscoveryLog(t.Context(), nvme.LSPPortLocal); err != nil || len(log.Entries) != 2 {
		t.Errorf("page: %+v, %v", log, err)
	}
	port.Link(t, locked)
	if e, err := dc.WaitEvent(t.Context()); err != nil || e != nvme.AENDiscoveryLogChange {
		t.Errorf("event %v, %v", e, err)
	}
	if log, err := dc.ReadDiscoveryLog(t.Context(), 0); err != nil || len(log.Entries) != 3 {
		t.Errorf("page afterwards: %+v, %v", log, err)
	}
	for _, digests := range []bool{false, true} {
		cfg.SubNQN, cfg.HeaderDigest, cfg.DataDigest = open.NQN, digests, digests
		transfer(t, cfg)
	}
	cfg.SubNQN = locked.NQN
	if cfg.Key, err = nvme.ParseDHCHAPSecret(key); err != nil {
		t.Fatal(err)
	}
	transfer(t, cfg)
	if cfg.ControllerKey, err = nvme.ParseDHCHAPSecret(ctrl); err != nil {
		t.Fatal(err)
	}
	transfer(t, cfg)
	cfg.ControllerKey = cfg.Key
	if h, err := nvmetcp.Dial(t.Context(), cfg); !errors.Is(err, nvmetcp.ErrAuthentication) {
		t.Errorf("controller with another key: %v, %v", h, err)
	}
	fabric.Never(t, 9*time.Second, dc.Err) // more than the target waits for a keep alive
}

// transfer writes and reads 1 MiB over two queues.
func transfer(t *testing.T, cfg nvmetcp.HostConfig) {
	t.Helper()
	h, err := nvmetcp.Dial(t.Context(), cfg)
	if err != nil {
		t.Error(err)
		return
	}
	defer h.Close()
	if n, err := h.OpenQueues(t.Context(), 2); err != nil || n != 2 {
		t.Errorf("%d queues, %v", n, err)
		return
	}
	_, size, err := h.NamespaceSize(t.Context(), 1)
	if err != nil {
		t.Error(err)
		return
	}
	want, got := make([]byte, 1<<20), make([]byte, 1<<20)
	_, _ = rand.Read(want)
	write := func(from, to int) {
		t.Helper()
		if err := h.Write(t.Context(), 1, uint64(from/size), size, want[from:to]); err != nil {
			t.Error(err)
		}
	}
	for off := 0; off < len(want); off += 256 << 10 { // a little in the capsule, much by R2T
		write(off, off+4096)
		write(off+4096, off+256<<10)
	}
	if err := h.Read(t.Context(), 1, 0, size, got); err != nil || string(got) != string(want) {
		t.Errorf("what is read differs from what was written: %v", err)
	}
}
