package registry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TC-21, TC-22, TC-07, TC-28
func TestClaim(t *testing.T) {
	for _, c := range []struct {
		what    string
		prepare func(h *host)
		winner  Owner
		attrs   map[string]string
	}{
		{"no entry", func(*host) {}, OwnedBy(Stas), map[string]string{"owner": "stas", "seqnum": "100"}},
		{"empty entry", func(h *host) { h.must(os.MkdirAll(filepath.Join(h.Root(), "nvme3"), 0o755)) },
			OwnedBy(Stas), map[string]string{"owner": "stas", "seqnum": "100"}},
		{"old stamp and a note, no owner", func(h *host) { h.file("nvme3", "seqnum", "7\n"); h.file("nvme3", "note", "x\n") },
			OwnedBy(Stas), map[string]string{"owner": "stas", "seqnum": "100", "note": "x"}},
		{"zero-length owner", func(h *host) { h.file("nvme3", "owner", "") },
			OwnedBy(Stas), map[string]string{"owner": "stas", "seqnum": "100"}},
		{"ours", func(h *host) { h.file("nvme3", "owner", "stas\n"); h.file("nvme3", "seqnum", "7\n") },
			OwnedBy(Stas), map[string]string{"owner": "stas", "seqnum": "7"}},
		{"another's", func(h *host) { h.file("nvme3", "owner", "discoverd\n") },
			OwnedBy(Discoverd), map[string]string{"owner": "discoverd"}},
		{"empty owner", func(h *host) { h.file("nvme3", "owner", "\n") },
			OwnedBy(""), map[string]string{"owner": ""}},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHost(t)
			c.prepare(h)
			before := h.Owner("nvme3")
			seqnum, err := h.Claim("nvme3", Stas)
			h.owner("nvme3", c.winner)
			attrs, e := h.Attrs("nvme3")
			h.must(e)
			if diff := cmp.Diff(c.attrs, attrs); diff != "" {
				t.Error(diff)
			}
			if c.winner.Is(Stas) {
				if err != nil || seqnum != c.attrs["seqnum"] {
					t.Errorf("stamp %q, error %v", seqnum, err)
				}
			} else {
				var owned *OwnedError
				if !errors.Is(err, ErrOwned) || !errors.As(err, &owned) || owned.Owner != c.winner.Name() {
					t.Errorf("error is %v", err)
				}
			}
			if diff := cmp.Diff([]string{"nvme3"}, h.all()); diff != "" {
				t.Error(diff)
			}
			files, e := os.ReadDir(filepath.Join(h.Root(), "nvme3"))
			h.must(e)
			if len(files) != len(c.attrs) {
				t.Errorf("files in the entry: %v", files)
			}

			// Once more, as a daemon does that looks after its connections.
			_, restored, err := h.Reassert("nvme3", Stas)
			if restored || (err == nil) != c.winner.Is(Stas) {
				t.Errorf("reassert on %v (was %v): restored %v, %v", c.winner, before, restored, err)
			}
		})
	}
}

// TC-28
func TestReassertBringsBackAnErasedOwner(t *testing.T) {
	h := newHost(t)
	_, err := h.Create("nvme3", Stas, nil)
	h.must(err)
	h.must(h.Remove("nvme3"))
	h.seqnum("120")
	seqnum, restored, err := h.Reassert("nvme3", Stas)
	if seqnum != "120" || !restored || err != nil {
		t.Errorf("stamp %q, restored %v, %v", seqnum, restored, err)
	}
	h.owner("nvme3", OwnedBy(Stas))
}

// TC-23
func TestClaimersRaceToOneWinner(t *testing.T) {
	prepare := map[string]func(h *host){
		"absent":     func(*host) {},
		"bare":       func(h *host) { h.file("nvme3", "note", "x\n") },
		"empty":      func(h *host) { h.must(os.MkdirAll(filepath.Join(h.Root(), "nvme3"), 0o755)) },
		"zero owner": func(h *host) { h.file("nvme3", "owner", "") },
	}
	const claimers = 8
	for what, prep := range prepare {
		t.Run(what, func(t *testing.T) {
			for range 50 {
				h := newHostIn(t, memDir(t))
				prep(h)
				var wg sync.WaitGroup
				errs := make([]error, claimers)
				start := make(chan struct{})
				for i := range claimers {
					wg.Go(func() {
						<-start
						_, errs[i] = h.Claim("nvme3", fmt.Sprintf("claimer%d", i))
					})
				}
				close(start)
				wg.Wait()
				winner := h.Owner("nvme3").Name()
				for i, err := range errs {
					name := fmt.Sprintf("claimer%d", i)
					var owned *OwnedError
					switch {
					case name == winner && err != nil:
						t.Errorf("%s won and got %v", name, err)
					case name != winner && (!errors.As(err, &owned) || owned.Owner != winner):
						t.Errorf("%s lost to %s and got %v", name, winner, err)
					}
				}
				if diff := cmp.Diff([]string{"nvme3"}, h.all()); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// memDir is a directory in memory where the host has one, as /run is.
func memDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "registry")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
