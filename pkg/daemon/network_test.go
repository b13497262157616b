package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/netif"
)

// What changed between the first look at the network and the beginning of the watch is no news to the watch, and yet it is
// to what waits for its next attempt.
func TestChangeBeforeTheWatchIsTold(t *testing.T) {
	d := &daemon{log: slog.New(slog.DiscardHandler)}
	d.network.Store(new(netif.Table)) // not even loopback had been there
	ctx, cancel := context.WithCancel(t.Context())
	told, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		d.watchNetwork(func() {
			select {
			case told <- struct{}{}:
			default:
			}
		})(ctx)
	}()
	select {
	case <-told:
	case <-time.After(time.Minute):
		t.Error("a change was seen and not told")
	}
	cancel()
	<-ended
}

// scriptedNetwork is a network that is all there, or not at all, or cannot be read.
type scriptedNetwork struct {
	notices   chan struct{}
	something *netif.Table
	mu        sync.Mutex
	there     bool
	err       error
	kicked    int
}

func (s *scriptedNetwork) read() (*netif.Table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, s.err
	case s.there:
		return s.something, nil
	}
	return new(netif.Table), nil
}

func (s *scriptedNetwork) kick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kicked++
}

func (s *scriptedNetwork) kicks() int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kicked
}

// set says how the network is from now on, of which now tells.
func (s *scriptedNetwork) set(there bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.there, s.err = there, err
}

func (s *scriptedNetwork) now(there bool, err error) {
	s.set(there, err)
	s.notices <- struct{}{}
	synctest.Wait()
}

func withNetwork(t *testing.T, f func(*scriptedNetwork)) {
	t.Helper()
	something, err := netif.Read()
	if err != nil || !something.Gained(new(netif.Table)) {
		lacking(t, "no network here:", err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{log: slog.New(slog.DiscardHandler)}
		d.network.Store(something)
		s := &scriptedNetwork{notices: make(chan struct{}, 1), something: something, there: true}
		ctx, cancel := context.WithCancel(t.Context())
		go d.kickOnNotices(ctx, s.notices, s.read, s.kick)
		synctest.Wait()
		f(s)
		cancel()
		synctest.Wait()
	})
}

// What waits is tried at once when the network is there, and not at all because something went; a network that
// flaps for a minute has no backoff begin anew each time.
func TestKicksAreFew(t *testing.T) {
	withNetwork(t, func(s *scriptedNetwork) {
		if n := s.kicks(); n != 0 {
			t.Errorf("%d kicks without a change", n)
		}
		s.now(false, nil)
		if n := s.kicks(); n != 0 {
			t.Errorf("%d kicks for what went", n)
		}
		s.now(true, nil)
		if n := s.kicks(); n != 1 {
			t.Fatalf("%d kicks for what came", n)
		}
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			s.now(false, nil)
			time.Sleep(100 * time.Millisecond)
			s.now(true, nil)
		}
		n := s.kicks()
		if n < 6 || n > 14 {
			t.Errorf("%d kicks in a minute of flapping", n)
		}
		time.Sleep(time.Minute)
		if more := s.kicks() - n; more != 1 { // for the last change
			t.Errorf("%d kicks after all is quiet", more)
		}
	})
}

// An address that comes a moment after its link is used at once, and so is one of the second family a little later.
func TestAddressAfterItsLink(t *testing.T) {
	withNetwork(t, func(s *scriptedNetwork) {
		s.now(false, nil)
		s.now(true, nil)
		for n, after := range []time.Duration{300 * time.Millisecond, 2 * time.Second} {
			time.Sleep(after)
			s.now(false, nil)
			s.now(true, nil)
			time.Sleep(time.Second)
			if got := s.kicks(); got != n+2 {
				t.Errorf("%d kicks a second after the change %d", got, n+1)
			}
		}
	})
}

// The notice of a link that comes up is the last one for long: what could not be read then is read a little later.
func TestNetworkIsReadAgain(t *testing.T) {
	withNetwork(t, func(s *scriptedNetwork) {
		s.now(false, nil)
		s.now(true, errors.New("the dump was interrupted"))
		s.set(true, nil)
		time.Sleep(time.Minute)
		if n := s.kicks(); n != 1 {
			t.Errorf("%d kicks", n)
		}
	})
}
