package finder

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/kernel/fake"
	"github.com/stas-go/stas/pkg/loop"
	"github.com/stas-go/stas/pkg/tid"
)

// TestStateFiles: W5, W33 and lesson 2: what is known survives a restart with nobody answering, in files that
// only root reads and that hold no secret; damaged ones are ignored with a warning, one by one.
func TestStateFiles(t *testing.T) {
	const secret = "DHHC-1:00:c3VwZXIgc2VjcmV0IGtleSB0aGF0IG5vYm9keSBzZWVz:"
	bubble(t, func(r *rig) {
		r.dir = filepath.Join(t.TempDir(), "pages")
		configured(dc1, dc2)(r)
		for n := range r.cfg.Controllers {
			r.cfg.Controllers[n].Params.DHCHAPSecret = tid.NewSecret(secret)
			r.cfg.Controllers[n].Given.DHCHAPSecret = tid.NewSecret(secret)
		}
		r.id.HostKey = tid.NewSecret(secret)
	}, func(r *rig) {
		r.lists(dc1, subsystem(0))
		r.pass(10 * time.Second)
		r.with(func() { r.silent[dc1], r.silent[dc2] = true, true })
		for _, c := range r.connections() {
			r.Drop(c.Name)
		}
		r.stop()
		files, err := os.ReadDir(r.dir)
		if err != nil || len(files) != 2 {
			t.Fatalf("%v, %v", files, err)
		}
		if info, err := os.Stat(r.dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("directory %v, %v", info.Mode(), err)
		}
		for _, f := range files {
			text, err := os.ReadFile(filepath.Join(r.dir, f.Name()))
			info, _ := f.Info()
			if err != nil || info.Mode() != fs.FileMode(0o600) || strings.Contains(string(text), "DHHC") {
				t.Errorf("%s: mode %v, %v\n%s", f.Name(), info.Mode(), err, text)
			}
		}
		r.start()
		r.pass(time.Hour)
		r.connected(0)
		r.lists(dc1, subsystem(0))
		r.lists(dc2, subsystem(1))

		// One file is damaged: the other counts.
		r.stop()
		damaged := keyOf(dcTID(dc1)) + ".json"
		if err := os.WriteFile(filepath.Join(r.dir, damaged), []byte(`{"Version":1,`), 0o600); err != nil {
			t.Fatal(err)
		}
		r.start()
		r.pass(time.Minute)
		if s := r.dcs()[dc1]; s.complete {
			t.Errorf("%+v", s)
		}
		r.lists(dc2, subsystem(1))
		if n := r.said(damaged); n != 1 {
			t.Errorf("said %d times", n)
		}

		// What is no longer configured takes its file along.
		r.with(func() { clear(r.silent) })
		r.configure(func(c *config.Staf) { c.Controllers = nil })
		r.pass(time.Minute)
		r.stop()
		if files, err := os.ReadDir(r.dir); err != nil || len(files) != 0 {
			t.Errorf("%v, %v", files, err)
		}
		r.start()
	})
}

func goodState(t testing.TB) (string, remembered) {
	id := dcTID(dc1)
	return keyOf(id), remembered{Version: stateVersion, Key: keyOf(id), TID: id, Host: testHost, Sources: []Source{{Configured, "x"}}, Complete: true, Revision: 7,
		Entries: usable(log(subsystem(1), referral(dc2)).Entries)}
}

func TestDecodeStateRefuses(t *testing.T) {
	key, good := goodState(t)
	encode := func(change func(*remembered)) []byte {
		r := good
		change(&r)
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if r, err := decodeState(key, encode(func(*remembered) {})); err != nil || r.TID != good.TID || len(r.Entries) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	for name, text := range map[string][]byte{
		"empty": nil, "not JSON": []byte("\x80\x04\x95pickle"), "null": []byte("null"), "a list": []byte("[]"),
		"version":                encode(func(r *remembered) { r.Version = 99 }),
		"another controller":     encode(func(r *remembered) { r.TID.Traddr = dc2; r.Key = keyOf(r.TID) }),
		"not normalised":         encode(func(r *remembered) { r.TID.Traddr = "::ffff:10.0.0.1" }),
		"host name":              encode(func(r *remembered) { r.TID.Traddr = "host.example" }),
		"no source":              encode(func(r *remembered) { r.Sources = nil }),
		"unknown source":         encode(func(r *remembered) { r.Sources = []Source{{Origin(77), "x"}} }),
		"unknown disposition":    encode(func(r *remembered) { r.Disposition = 77 }),
		"an option in a service": encode(func(r *remembered) { r.TID.Trsvcid = "8009,tls" }),
	} {
		if r, err := decodeState(key, text); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func FuzzDecodeState(f *testing.F) {
	key, good := goodState(f)
	b, _ := json.Marshal(good)
	f.Add(b)
	f.Add([]byte(`{"Version":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decodeState(key, text)
		if err != nil {
			return
		}
		if n, err := tid.New(tid.Discovery, r.TID); err != nil || n != r.TID || r.Key != key || len(r.Sources) == 0 || r.Disposition > forgotten {
			t.Errorf("%+v", r)
		}
	})
}

// A directory that cannot be written is told, and costs nothing else.
func TestStoreThatCannotWrite(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root writes anywhere: a file in the place of the directory stops it.
		dir := t.TempDir()
		path := filepath.Join(dir, "pages")
		bubble(t, func(r *rig) { r.dir = path; configured(dc1)(r) }, func(r *rig) {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			r.SetLog(dcTID(dc1), log(subsystem(4)))
			r.pass(time.Second)
			r.lists(dc1, subsystem(4))
			r.stop()
			if r.said("cannot keep what is known") == 0 {
				t.Error("nothing was said")
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			r.start()
		})
	}
	if _, err := OpenStore("/dev/null/pages", slog.Default()); err == nil {
		t.Error("a store in a device")
	}
	var none *Store
	none.save(&remembered{})
	none.Delete("x")
	none.Close()
	if none.load() != nil {
		t.Error("no store knows something")
	}
}

// What is overtaken while it is written never stands where the last state stands, however soon the daemon is killed.
func TestOvertakenWrite(t *testing.T) {
	s := &Store{dir: t.TempDir(), log: slog.Default(), pending: map[string]*remembered{}, kick: make(chan struct{}, 1)}
	s.mu.Lock()
	s.pending["k"] = &remembered{Key: "k", Revision: 2}
	done := make(chan error, 1)
	go func() { done <- s.write("k", &remembered{Key: "k", Revision: 1}) }()
	present := func() bool { _, err := os.Stat(s.path("k")); return err == nil }
	for fresh := false; !fresh && !present(); time.Sleep(time.Millisecond) {
		_, err := os.Stat(filepath.Join(s.dir, "k"+freshFile))
		fresh = err == nil
	}
	if present() {
		t.Error("it stands there before anybody could look whether there is something newer")
	}
	s.mu.Unlock()
	if err := <-done; err != nil || present() {
		t.Errorf("%v, stands there: %v", err, present())
	}
	if _, err := os.Stat(s.outdatedPath("k")); err != nil {
		t.Error(err)
	}
}

// What could not be written before the daemon was killed, or for want of room, may have been told on D-Bus: what was
// written before it proves no absence, else stacd would end the connections that only the newer page listed.
func TestStateThatCouldNotBeReplaced(t *testing.T) {
	bubble(t, func(r *rig) {
		r.dir = filepath.Join(t.TempDir(), "pages")
		configured(dc1)(r)
	}, func(r *rig) {
		r.pass(10 * time.Second)
		complete := func(want bool) {
			t.Helper()
			pages, err := r.f.View().Pages(context.Background())
			if err != nil || len(pages) != 1 || pages[0].Complete != want {
				t.Errorf("%+v, %v, want a complete page %v", pages, err, want)
			}
			r.lists(dc1, subsystem(0))
		}
		complete(true)
		r.with(func() { r.silent[dc1] = true })
		r.Drop(r.connections()[0].Name)
		r.restart()
		complete(true)
		r.stop()
		killed := &Store{dir: r.dir, log: slog.Default(), pending: map[string]*remembered{}, kick: make(chan struct{}, 1)}
		state := killed.load()[0]
		state.Entries = append(state.Entries, subsystem(1))
		state.Revision++
		killed.save(state) // and nobody writes it
		r.start()
		r.pass(time.Hour)
		complete(false)
		r.with(func() { r.silent[dc1] = false })
		r.f.Kick()
		r.pass(time.Minute)
		complete(true)
		r.restart()
		complete(true)
		if files, err := os.ReadDir(r.dir); err != nil || len(files) != 1 {
			t.Errorf("%v, %v", files, err)
		}
	})
}

// Of files about what is one controller, known in other detail, the one that was read last is taken up, with what all sources said;
// the others must not come back when it has gone.
func TestStatesOfOneController(t *testing.T) {
	bubble(t, func(r *rig) {
		r.dir = filepath.Join(t.TempDir(), "pages")
		r.cfg.Zeroconf = true
		r.target(dc1, fake.Behaviour{}, subsystem(0))
	}, func(r *rig) {
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "eth0")}, true)
		r.pass(time.Second)
		r.f.Report(Announced, []Candidate{announcedAt(dc1, "eth1")}, true)
		r.pass(time.Second)
		r.connected(2)
		r.pass(time.Minute)
		r.with(func() { r.silent[dc1] = true })
		r.Drop("nvme0")
		r.SetLog(dcTID(dc1), log(subsystem(0), subsystem(1)))
		r.pass(time.Second)
		r.configure(func(c *config.Staf) { c.Controllers = []config.Controller{controller(dc1)} })
		r.Drop("nvme1")
		r.restart()
		r.pass(time.Minute)
		r.lists(dc1, subsystem(0), subsystem(1))
		if pages, err := r.f.View().Pages(context.Background()); err != nil || len(pages) != 2 || pages[1].Key != sourcesKey {
			t.Errorf("%+v, %v", pages, err)
		}
		if files, err := os.ReadDir(r.dir); err != nil || len(files) != 1 {
			t.Errorf("%v, %v", files, err)
		}
		r.configure(func(c *config.Staf) { c.Controllers = nil })
		if d := r.dcs()[dc1]; !d.named {
			t.Errorf("mDNS has not spoken, and has named it: %+v", d)
		}
	})
}

// What an earlier run knew and nothing names any more is connected, for as long as it is remembered, like all that is discovered.
func TestUnnamedAfterARestartIsConnectedByTheDefaults(t *testing.T) {
	bubble(t, func(r *rig) {
		r.dir = filepath.Join(t.TempDir(), "pages")
		r.cfg.Defaults.HdrDigest = tid.On
		r.cfg.Controllers = []config.Controller{controller(dc1)}
		r.target(dc1, fake.Behaviour{}, referral(dc2))
		r.target(dc2, fake.Behaviour{}, subsystem(0))
	}, func(r *rig) {
		r.pass(time.Minute)
		r.connected(2)
		r.with(func() { r.silent[dc2] = true })
		r.Drop(r.dcs()[dc2].device)
		cfg := *r.cfg
		cfg.Controllers, r.cfg = nil, &cfg
		r.restart()
		r.pass(time.Minute)
		r.with(func() { r.silent[dc2] = false })
		r.f.Kick()
		r.pass(time.Minute)
		r.connected(1)
		name := r.dcs()[dc2].device
		made, _ := loop.Ask(context.Background(), r.f.loop, func() *tid.Params { return r.f.bound[name].object.made })
		if made == nil || made.HdrDigest != tid.On {
			t.Errorf("%q is connected with %+v", name, made)
		}
	})
}
