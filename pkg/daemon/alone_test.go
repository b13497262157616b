package daemon

import (
	"context"
	"runtime"
	rtdebug "runtime/debug"
	"testing"
	"time"
)

// A second daemon, started by hand, does nothing before it knows that it is the only one: with another configuration it would
// disconnect what the first one was told to connect.
func TestNothingBeforeAlone(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	defer rtdebug.SetGCPercent(rtdebug.SetGCPercent(100))
	t.Setenv("NOTIFY_SOCKET", "")
	// served says whether it worked before ctx, which it ends itself then.
	served := func(ctx context.Context, alone chan struct{}) (worked bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		wait := func(ctx context.Context) { <-ctx.Done() }
		read := false
		bus := func(ctx context.Context) {
			if !read {
				t.Error("asked before it has read its configuration, it would say that it knows nothing")
			}
			wait(ctx)
		}
		p := program{name: "stas-test", build: func(*daemon) service {
			return service{bus: bus, alone: alone, recheck: func() {}, kick: func() {}, alive: func(context.Context) error { return nil },
				run:    func(ctx context.Context) { worked = true; cancel(); wait(ctx) },
				reload: func() string { read = true; return "" }}
		}}
		if err := p.serve(ctx, options{}); err != nil {
			lacking(t, err) // no kernel events here
		}
		return worked
	}
	never, now := make(chan struct{}), make(chan struct{})
	close(now)
	short, cancel := context.WithTimeout(t.Context(), aloneWithin/4)
	defer cancel()
	if served(short, never) {
		t.Error("it worked beside another daemon")
	}
	long, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !served(long, now) {
		t.Error("it did nothing in a minute though it was alone")
	}
}
