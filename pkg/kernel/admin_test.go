package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/nvme"
)

func TestAdminCommands(t *testing.T) {
	b := newBench(t, nil)
	b.script("nvme3.log", string(logPage(300)))
	log, err := b.DiscoveryLog(t.Context(), "nvme3", nvme.ReadOptions{})
	if err != nil || len(log.Entries) != 300 || log.GenCtr != 5 || log.Entries[299].SubNQN != "nqn.2024-01.test:s299" {
		t.Fatalf("DiscoveryLog = %v", err)
	}
	if id, err := b.Identify(t.Context(), "nvme3"); err != nil || id.SN != "serial" || id.DCTYPE != nvme.DCTypeCDC {
		t.Errorf("Identify = %+v, %v", id, err)
	}
	dim := []byte(strings.Repeat("dim!", 519))
	if err := b.Register(t.Context(), "nvme3", dim, nvme.DIMTask(1)); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(filepath.Join(b.run, "script/nvme3.dim")); string(got) != string(dim) {
		t.Errorf("%d bytes arrived of %d", len(got), len(dim))
	}
	b.script("nvme3.status", "6002")
	if _, err := b.SupportedLogPages(t.Context(), "nvme3"); !errors.Is(err, nvme.StatusInvalidField) {
		t.Errorf("SupportedLogPages = %v", err)
	}
	if _, err := b.Identify(t.Context(), "nvme4"); !errors.Is(err, ErrNotLive) {
		t.Errorf("Identify of a dead one = %v", err)
	}
	if _, err := b.Identify(t.Context(), "../x"); err == nil {
		t.Error("a path is taken for a name")
	}
}

// When the caller gives up in the middle of a page the event is armed again.
func TestAbandonedReadRearmsTheEvent(t *testing.T) {
	b := newBench(t, nil)
	b.script("nvme3.log", string(logPage(3)))
	wake := b.hang("nvme3")
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { _, err := b.DiscoveryLog(ctx, "nvme3", nvme.ReadOptions{}); result <- err }()
	await(t, "a command", func() bool { return len(b.lines("commands")) == 3 })
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("DiscoveryLog = %v", err)
	}
	wake()
	// The last one is a header of 1024 bytes without RAE (bit 15 of dword 10).
	await(t, "the last command", func() bool { l := b.lines("commands"); return len(l) == 6 && l[5] == "00ff0070" })
}

// A disconnect does not wait for a command that hangs, and ends those that wait.
func TestDisconnectOvertakesCommands(t *testing.T) {
	b := newBench(t, nil)
	b.controller("nvme3", with(discoveryAttrs, "delete_controller", "x"))
	b.script("nvme3.log", "")
	wake := b.hang("nvme3")
	defer wake()
	results := make(chan error, 2)
	for range 2 {
		go func() { _, err := b.Identify(t.Context(), "nvme3"); results <- err }()
	}
	await(t, "a command and one that waits", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.proc == nil {
			return false
		}
		b.proc.mu.Lock()
		defer b.proc.mu.Unlock()
		return len(b.proc.calls) == 2 && len(b.lines("commands")) == 3
	})
	c, _ := Sysfs{b.root}.Controller("nvme3")
	if err := b.Disconnect(t.Context(), DisconnectRequest{Name: "nvme3", Expect: c.Identity(), AllowUnowned: true}); err != nil {
		t.Fatal(err)
	}
	if err := <-results; !errors.Is(err, ErrDisconnecting) {
		t.Errorf("the command that waited: %v", err)
	}
	wake()
	if err := <-results; err != nil {
		t.Errorf("the command that hung: %v", err)
	}
}

func TestManyDevicesAtOnce(t *testing.T) {
	b := newBench(t, nil)
	const count = 60
	results := make(chan error, count)
	for i := range count {
		b.script(fmt.Sprintf("nvme%d.log", i), string(logPage(2)))
		go func() {
			_, err := b.DiscoveryLog(t.Context(), fmt.Sprintf("nvme%d", i), nvme.ReadOptions{})
			results <- err
		}()
	}
	for range count {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	// Of one controller header, entries, header come in this order.
	got := map[string][]string{}
	lines := b.lines("commands")
	for i := 0; i < len(lines); i += 3 {
		got[lines[i]] = append(got[lines[i]], lines[i+2])
	}
	for name, commands := range got {
		if !slices.Equal(commands, []string{"00ff8070", "01ff0070", "00ff0070"}) && len(commands) != 3 {
			t.Errorf("%s got %v", name, commands)
		}
	}
}
