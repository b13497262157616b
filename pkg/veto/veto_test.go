package veto

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

var (
	host = tid.Host{NQN: "nqn.2014-08.org.nvmexpress:uuid:3a3f9475-2f25-48d3-9025-0c2f288a4e88", ID: "3a3f9475-2f25-48d3-9025-0c2f288a4e88"}
	ioc  = tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.10", Trsvcid: "4420", NQN: "nqn.2026-01.test:s1", HostNQN: host.NQN}
)

// Lines of our own files: good ones count, bad ones match nothing, and
// each field of a connection can be named.
func TestOwn(t *testing.T) {
	pinned := ioc
	pinned.HostTraddr, pinned.HostIface = "192.0.2.1", "eth0"
	tests := []struct {
		line   string
		plain  bool // matches ioc
		pinned bool // matches pinned
	}{
		{"transport=tcp;traddr=192.0.2.10", true, true},
		{"traddr=::ffff:192.0.2.10", true, true},
		{"nqn=nqn.2026-01.test:s1", true, true},
		{"trsvcid=4420", true, true},
		{"trsvcid=8009", false, false},
		{"transport=rdma", false, false},
		{"host-traddr=192.0.2.1", false, true},
		{"host-iface=eth0", false, true},
		{"host-iface=eth1", false, false},
		{"host-nqn=" + host.NQN, true, true},
		{"", false, false},
		{" ; ;", false, false},
		{"colour=blue", false, false},
		{"traddr=192.0.2.10 # that one", false, false},
	}
	for _, tt := range tests {
		list := Own([]config.Exclude{{Text: tt.line, Where: "stafd.conf:7"}})
		if a, b := Matches(list, ioc, host), Matches(list, pinned, host); a != tt.plain || b != tt.pinned {
			t.Errorf("%q matches %v and %v, want %v and %v", tt.line, a, b, tt.plain, tt.pinned)
		}
	}
	list := Own([]config.Exclude{{Text: "nonsense"}, {Text: "traddr=192.0.2.10"}})
	if !Matches(list, ioc, host) {
		t.Error("a bad line hides a good one")
	}
}

// The shared list is read anew for each question.
func TestHostWideIsAlwaysFresh(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "exclusions.conf")
	h := NewHostWide(file, file+".d")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for n, step := range []struct {
		text string
		want bool
	}{{"", false}, {"[exclusions]\nexclusion = traddr=192.0.2.10\n", true}, {"[exclusions]\nexclusion = traddr=192.0.2.11\n", false},
		{"[exclusions]\nexclusion = hostid=" + host.ID + "\n", true}, {"[exclusions]\nexclusion = host-iface=eth0\n", false}} {
		write(step.text)
		if got := h.Excluded(ioc, host); got != step.want {
			t.Errorf("step %d: %v, want %v", n, got, step.want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if h.Excluded(ioc, host) {
		t.Error("a list that is gone excludes")
	}
}
