package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
)

func TestDisconnect(t *testing.T) {
	b := newBench(t, nil)
	b.controller("nvme3", with(discoveryAttrs, "delete_controller", "x"))
	c, err := Sysfs{b.root}.Controller("nvme3")
	if err != nil {
		t.Fatal(err)
	}
	deleted := func() bool {
		text, _ := os.ReadFile(filepath.Join(b.root, "class/nvme/nvme3/delete_controller"))
		return string(text) == "1"
	}
	reg := b.registry()
	try := func(change func(*DisconnectRequest)) error {
		r := DisconnectRequest{Name: "nvme3", Expect: c.Identity()}
		if change != nil {
			change(&r)
		}
		return b.Disconnect(t.Context(), r)
	}
	if err := try(nil); !errors.Is(err, ErrNotOurs) {
		t.Errorf("unowned: %v", err)
	}
	if _, err := reg.Create("nvme3", registry.Autoconnect, nil); err != nil {
		t.Fatal(err)
	}
	if err := try(func(r *DisconnectRequest) { r.AllowUnowned = true }); !errors.Is(err, ErrNotOurs) {
		t.Errorf("foreign: %v", err)
	}
	if _, err := reg.Create("nvme3", registry.Stas, nil); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*Identity){
		"transport": func(i *Identity) { i.Transport = nvme.RDMA }, "traddr": func(i *Identity) { i.Traddr = "192.0.2.9" },
		"trsvcid": func(i *Identity) { i.Trsvcid = "1" }, "subsystem NQN": func(i *Identity) { i.NQN = "x" },
		"host NQN": func(i *Identity) { i.HostNQN = "x" }, "controller ID": func(i *Identity) { i.CntlID++ }, "device": func(i *Identity) { i.Inode++ },
	} {
		err := try(func(r *DisconnectRequest) { change(&r.Expect) })
		if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), field) {
			t.Errorf("another %s: %v", field, err)
		}
	}
	if err := try(func(r *DisconnectRequest) { r.OnlyUnowned = true }); !errors.Is(err, ErrNotOurs) {
		t.Errorf("ours, where only what is unowned is meant: %v", err)
	}
	if deleted() {
		t.Fatal("it was deleted nevertheless")
	}
	if err := try(func(r *DisconnectRequest) { r.Expect.Traddr = "::ffff:192.0.2.1"; r.Expect.Inode = 0 }); err != nil || !deleted() {
		t.Errorf("ours: %v, deleted %v", err, deleted())
	}
	if o := reg.Owner("nvme3"); o.Kind() != registry.KindNone {
		t.Errorf("the entry is left: %v", o)
	}
	if err := b.Disconnect(t.Context(), DisconnectRequest{Name: "nvme99"}); err != nil {
		t.Errorf("what is gone: %v", err)
	}
	if err := b.Disconnect(t.Context(), DisconnectRequest{Name: "../nvme3"}); err == nil {
		t.Error("a path is taken for a name")
	}
}

func TestDisconnectOnlyUnowned(t *testing.T) {
	b := newBench(t, nil)
	b.controller("nvme3", with(discoveryAttrs, "delete_controller", "x"))
	c, _ := Sysfs{b.root}.Controller("nvme3")
	if err := b.Disconnect(t.Context(), DisconnectRequest{Name: "nvme3", Expect: c.Identity(), OnlyUnowned: true}); err != nil {
		t.Error(err)
	}
}

// A foreign entry stays even where the connection may be ended.
func TestDisconnectAnyOwner(t *testing.T) {
	b := newBench(t, nil)
	b.controller("nvme3", with(discoveryAttrs, "delete_controller", "x"))
	c, _ := Sysfs{b.root}.Controller("nvme3")
	if _, err := b.registry().Create("nvme3", "udisks", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Disconnect(t.Context(), DisconnectRequest{Name: "nvme3", Expect: c.Identity(), AnyOwner: true}); err != nil {
		t.Error(err)
	}
	if o := b.registry().Owner("nvme3"); !o.Is("udisks") {
		t.Errorf("owner %v", o)
	}
}
