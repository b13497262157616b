package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stas-go/stas/pkg/registry"
)

// What is withdrawn while it stands in line is not begun, and says so at once; what has begun goes on.
func TestWithdrawn(t *testing.T) {
	b := newBench(t, nil)
	b.controller("nvme1", discoveryAttrs)
	b.script("192.0.2.1", "ok 1 1")
	b.script("192.0.2.2", "ok 2 2")
	wake := b.hang("192.0.2.1")
	type result struct {
		c   Connection
		err error
	}
	ask := func(addr string, withdrawn chan struct{}) chan result {
		r, done, queued := connectTo(addr), make(chan result, 1), make(chan struct{})
		r.Withdrawn, r.Queued = withdrawn, func() { close(queued) }
		go func() {
			c, err := b.Connect(t.Context(), r)
			done <- result{c, err}
		}()
		<-queued
		return done
	}
	first, second := make(chan struct{}), make(chan struct{})
	begun := ask("192.0.2.1", first)
	await(t, "the write", func() bool { return len(b.lines("writes")) == 1 })
	waits := ask("192.0.2.2", second)
	close(second)
	if r := <-waits; !errors.Is(r.err, ErrNotBegun) {
		t.Errorf("withdrawn: %+v", r)
	}
	close(first)
	wake()
	if r := <-begun; r.err != nil || r.c.Instance != 1 {
		t.Errorf("withdrawn too late: %+v", r)
	}
	if o := b.registry().Owner("nvme1"); !o.Is(registry.Stas) {
		t.Errorf("owner %v", o)
	}
	r := connectTo("192.0.2.2")
	r.Withdrawn = second
	if _, err := b.Connect(t.Context(), r); !errors.Is(err, ErrNotBegun) {
		t.Errorf("withdrawn before it was asked for: %v", err)
	}
	if w := b.lines("writes"); len(w) != 1 {
		t.Errorf("connected to %v", w)
	}
	if left := b.intents(); len(left) != 0 {
		t.Errorf("intents left: %+v", left)
	}
}

// The host-wide list is asked right before the kernel is, also for what has stood in line since it was asked first.
func TestExcludedWhileItStoodInLine(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "exclusions.conf")
	b := newBench(t, func(o *WorkerOptions) { o.ExclusionFile, o.ExclusionDropIn = list, list+".d" })
	b.controller("nvme1", discoveryAttrs)
	b.script("192.0.2.1", "ok 1 1")
	b.script("192.0.2.2", "ok 2 2")
	wake := b.hang("192.0.2.1")
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := b.Connect(t.Context(), connectTo("192.0.2.1")); first <- err }()
	await(t, "the write", func() bool { return len(b.lines("writes")) == 1 })
	excluded, queued := connectTo("192.0.2.2"), make(chan struct{})
	excluded.Queued = func() { close(queued) }
	go func() { _, err := b.Connect(t.Context(), excluded); second <- err }()
	<-queued
	if err := os.WriteFile(list, []byte("[exclusions]\nexclusion = traddr=192.0.2.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wake()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := <-second; !errors.Is(err, ErrExcluded) {
		t.Errorf("Connect = %v", err)
	}
	if w := b.lines("writes"); len(w) != 1 {
		t.Errorf("connected to %v", w)
	}
}
