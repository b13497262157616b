package kernel

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/registry"
)

// While a connect runs its intent tells so, and keeps others from connecting the same.
func TestIntentOfARunningConnect(t *testing.T) {
	b := newBench(t, nil)
	wake := b.hang("192.0.2.1")
	result := make(chan error, 1)
	r := connectTo("192.0.2.1")
	go func() { _, err := b.Connect(t.Context(), r); result <- err }()
	await(t, "the write", func() bool { return len(b.lines("writes")) == 1 })

	list := b.intents()
	if len(list) != 1 || !list[0].Busy || list[0].TID != r.TID || list[0].Host != testHost {
		t.Fatalf("intents %+v, want a busy one", list)
	}
	if info, err := os.Stat(list[0].path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("intent: %v, %v", info, err)
	}
	if text, _ := os.ReadFile(list[0].path); strings.Contains(string(text), "sesame") {
		t.Error("the intent tells the secret")
	}
	other := NewWorker(b.opt)
	if _, err := other.Connect(t.Context(), r); !errors.Is(err, ErrBusy) {
		t.Errorf("Connect of another worker = %v, want ErrBusy", err)
	}
	if adopted, err := other.Adopt(); err != nil || len(adopted) != 0 || len(b.intents()) != 1 {
		t.Errorf("Adopt = %v, %v, intents left %v", adopted, err, b.intents())
	}
	b.end(t, other)
	wake()
	if err := <-result; !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Connect = %v", err)
	}
	if left := b.intents(); len(left) != 0 {
		t.Errorf("intents left: %+v", left)
	}
}

// What a killed worker had connected becomes ours, by the daemon that lives on or by the next one.
func TestKilledWorker(t *testing.T) {
	r := connectTo("192.0.2.1")
	kill := func(t *testing.T, b *bench) {
		t.Helper()
		b.controller("nvme1", with(discoveryAttrs, "cntrltype", "io\n", "address", "traddr=192.0.2.1,trsvcid=4420\n", "subsysnqn", r.TID.NQN+"\n", "dhchap_secret", "DHHC-1:00:another\n"))
		b.controller("nvme2", with(discoveryAttrs, "cntrltype", "io\n", "address", "traddr=192.0.2.2,trsvcid=4420\n", "subsysnqn", r.TID.NQN+"\n"))
		wake := b.hang("192.0.2.1")
		defer wake()
		result := make(chan error, 1)
		go func() { _, err := b.Connect(t.Context(), r); result <- err }()
		await(t, "the write", func() bool { return len(b.lines("writes")) == 1 })
		if err := syscall.Kill(b.pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := <-result; !errors.Is(err, ErrWorkerDied) {
			t.Errorf("Connect = %v, want ErrWorkerDied", err)
		}
	}
	adopted := func(t *testing.T, b *bench) {
		t.Helper()
		if o := b.registry().Owner("nvme1"); !o.Is(registry.Stas) {
			t.Errorf("owner %v", o)
		}
		if info, err := os.Stat(b.root + "/class/nvme/nvme1/dhchap_secret"); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the secret of what was adopted: %v, %v", info, err)
		}
		if o := b.registry().Owner("nvme2"); o.Kind() != registry.KindNone {
			t.Errorf("owner %v of what was not meant", o)
		}
		if left := b.intents(); len(left) != 0 {
			t.Errorf("intents left: %+v", left)
		}
	}
	t.Run("daemon lives", func(t *testing.T) {
		b := newBench(t, nil)
		kill(t, b)
		adopted(t, b)
		// The next call starts another process.
		if _, err := b.Options(t.Context()); err != nil {
			t.Errorf("after the kill: %v", err)
		}
	})
	t.Run("next daemon", func(t *testing.T) {
		b := newBench(t, nil)
		b.controller("nvme1", with(discoveryAttrs, "cntrltype", "io\n", "address", "traddr=192.0.2.1,trsvcid=4420\n", "subsysnqn", r.TID.NQN+"\n", "dhchap_secret", "DHHC-1:00:another\n"))
		held, err := Intent{TID: r.TID, Kind: r.Kind, Host: r.Host}.note(b.run)
		if err != nil {
			t.Fatal(err)
		}
		held.leave() // as the end of the process does
		if names, err := b.Adopt(); err != nil || len(names) != 1 || names[0] != "nvme1" {
			t.Errorf("Adopt = %v, %v", names, err)
		}
		adopted(t, b)
	})
	t.Run("another owner", func(t *testing.T) {
		b := newBench(t, nil)
		if _, err := b.registry().Create("nvme1", "discoverd", nil); err != nil {
			t.Fatal(err)
		}
		kill(t, b)
		if o := b.registry().Owner("nvme1"); !o.Is("discoverd") {
			t.Errorf("owner %v", o)
		}
	})
}

// A connection of the firmware's that a killed worker had made is registered as that: as one of ours it would be
// among those that whoever ends the connections of stas takes away, with the root disk on it.
func TestKilledWorkerOfAFirmwareConnection(t *testing.T) {
	b := newBench(t, nil)
	r := connectTo("192.0.2.1")
	r.Owner = registry.NBFT
	b.controller("nvme1", with(discoveryAttrs, "cntrltype", "io\n", "address", "traddr=192.0.2.1,trsvcid=4420\n", "subsysnqn", r.TID.NQN+"\n"))
	wake := b.hang("192.0.2.1")
	defer wake()
	result := make(chan error, 1)
	go func() { _, err := b.Connect(t.Context(), r); result <- err }()
	await(t, "the write", func() bool { return len(b.lines("writes")) == 1 })
	if err := syscall.Kill(b.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, ErrWorkerDied) {
		t.Errorf("Connect = %v, want ErrWorkerDied", err)
	}
	if o := b.registry().Owner("nvme1"); !o.Is(registry.NBFT) {
		t.Errorf("owner %v", o)
	}
}

// A worker asks for exactly this connection, so one that is pinned otherwise is somebody else's, unregistered as it is.
func TestAdoptLeavesWhatWasNotAskedFor(t *testing.T) {
	b := newBench(t, nil)
	r := connectTo("192.0.2.1")
	io := with(discoveryAttrs, "cntrltype", "io\n", "subsysnqn", r.TID.NQN+"\n")
	b.controller("nvme1", with(io, "address", "traddr=192.0.2.1,trsvcid=4420,host_iface=eth1\n"))
	b.controller("nvme2", with(io, "address", "traddr=192.0.2.1,trsvcid=4420\n"))
	b.controller("nvme3", with(io, "address", "traddr=192.0.2.1,trsvcid=4420,host_traddr=192.0.2.99\n"))
	held, err := Intent{TID: r.TID, Kind: r.Kind, Host: r.Host}.note(b.run)
	if err != nil {
		t.Fatal(err)
	}
	held.leave()
	if names, err := b.Adopt(); err != nil || len(names) != 1 || names[0] != "nvme2" {
		t.Errorf("Adopt = %v, %v, want what was asked for only", names, err)
	}
	for _, name := range []string{"nvme1", "nvme3"} {
		if o := b.registry().Owner(name); o.Kind() != registry.KindNone {
			t.Errorf("owner %v of %s", o, name)
		}
	}
}

// A name that was given to another since the list was read is not claimed: that one is somebody else's.
func TestAdoptUnderANameThatWasGivenAgain(t *testing.T) {
	b := newBench(t, nil)
	r := connectTo("192.0.2.1")
	b.controller("nvme1", with(discoveryAttrs, "cntrltype", "io\n", "subsysnqn", r.TID.NQN+"\n", "address", "traddr=192.0.2.1,trsvcid=4420\n"))
	list, err := Sysfs{b.opt.SysRoot}.Controllers()
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	intent := &Intent{TID: r.TID, Kind: r.Kind, Host: r.Host}
	list[0].Inode++
	if names, err := b.adopt(intent, list, b.registry()); err != nil || len(names) != 0 || b.registry().Owner("nvme1").Kind() != registry.KindNone {
		t.Errorf("%v, %v, owner %v", names, err, b.registry().Owner("nvme1"))
	}
	list[0].Inode--
	if names, err := b.adopt(intent, list, b.registry()); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
}

// A daemon that starts while a worker of the one before is in the kernel hears nothing of that worker's end. What it
// had made when it was killed becomes ours all the same.
func TestAdoptWhatAnOlderWorkerWasAt(t *testing.T) {
	b := newBench(t, nil)
	b.adoptEvery = 10 * time.Millisecond
	r := connectTo("192.0.2.1")
	held, err := Intent{TID: r.TID, Kind: r.Kind, Host: r.Host}.note(b.run)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := b.Adopt(); err != nil || len(names) != 0 {
		t.Errorf("Adopt = %v, %v while the worker lives", names, err)
	}
	b.controller("nvme1", with(discoveryAttrs, "cntrltype", "io\n", "address", "traddr=192.0.2.1,trsvcid=4420\n", "subsysnqn", r.TID.NQN+"\n"))
	held.leave() // as the end of the process does
	await(t, "the entry", func() bool { return b.registry().Owner("nvme1").Is(registry.Stas) })
	await(t, "the end of the intent", func() bool { return len(b.intents()) == 0 })
}

// What a killed worker had made becomes ours as soon as it can be registered, though that failed at the start of the daemon.
func TestAdoptWhenTheRegistryCouldNotBeUsed(t *testing.T) {
	for what, spoil := range map[string]func(root string) error{
		"read":    func(root string) error { return os.WriteFile(root, nil, 0o600) },
		"written": func(root string) error { return os.Symlink("/proc/nowhere", root) },
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t, nil)
			b.adoptEvery = 10 * time.Millisecond
			r := connectTo("192.0.2.1")
			b.controller("nvme1", with(discoveryAttrs, "cntrltype", "io\n", "address", "traddr=192.0.2.1,trsvcid=4420\n", "subsysnqn", r.TID.NQN+"\n"))
			held, err := Intent{TID: r.TID, Kind: r.Kind, Host: r.Host}.note(b.run)
			if err != nil {
				t.Fatal(err)
			}
			held.leave()
			root := b.opt.RegistryRoot
			if err := errors.Join(os.RemoveAll(root), spoil(root)); err != nil {
				t.Fatal(err)
			}
			if names, err := b.Adopt(); err == nil || len(names) != 0 || len(b.intents()) != 1 {
				t.Errorf("Adopt = %v, %v, intents %v", names, err, b.intents())
			}
			if err := os.Remove(root); err != nil {
				t.Fatal(err)
			}
			await(t, "the entry", func() bool { return b.registry().Owner("nvme1").Is(registry.Stas) })
			await(t, "the end of the intent", func() bool { return len(b.intents()) == 0 })
		})
	}
}

// What a worker that lives on could not register is registered as soon as that can be done, whether or not anybody
// wants it by then. Its intent goes: later it would make a connection of somebody else ours.
func TestAdoptWhatALivingWorkerCouldNotRegister(t *testing.T) {
	b := newBench(t, nil)
	b.adoptEvery = 10 * time.Millisecond
	r := connectTo("192.0.2.1")
	b.script("192.0.2.1", "ok 1 1")
	b.controller("nvme1", with(discoveryAttrs, "cntrltype", "io\n", "address", "traddr=192.0.2.1,trsvcid=4420\n", "subsysnqn", r.TID.NQN+"\n"))
	root := b.opt.RegistryRoot
	if err := errors.Join(os.RemoveAll(root), os.Symlink("/proc/nowhere", root)); err != nil {
		t.Fatal(err)
	}
	if c, err := b.Connect(t.Context(), r); err != nil || c.Name() != "nvme1" || len(c.Warnings) != 1 {
		t.Fatalf("Connect = %+v, %v", c, err)
	}
	if len(b.intents()) != 1 {
		t.Fatalf("intents %v", b.intents())
	}
	if err := os.Remove(root); err != nil {
		t.Fatal(err)
	}
	await(t, "the entry", func() bool { return b.registry().Owner("nvme1").Is(registry.Stas) })
	await(t, "the end of the intent", func() bool { return len(b.intents()) == 0 })
}
