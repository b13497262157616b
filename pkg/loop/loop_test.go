package loop_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/stas-go/stas/pkg/loop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSettleFollowsEveryBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := loop.New()
		var ran, settled int
		for range 100 {
			l.Post(func() { ran++ })
		}
		go l.Run(ctx, func() { settled++ })
		synctest.Wait()
		if ran != 100 || settled != 2 {
			t.Errorf("ran %d functions and settled %d times, want 100 and 2 (at start, after the burst)", ran, settled)
		}
		l.After(time.Second, func() { ran++ })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if ran != 101 || settled != 3 {
			t.Errorf("after the timer: ran %d, settled %d, want 101 and 3", ran, settled)
		}
		cancel()
		synctest.Wait()
		l.Post(func() { t.Error("a function ran after the end") })
		if _, err := loop.Ask(t.Context(), l, func() int { return 1 }); !errors.Is(err, loop.ErrStopped) {
			t.Errorf("Ask after the end: %v, want ErrStopped", err)
		}
	})
}

func TestAskReadsWhatTheLoopOwns(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := loop.New()
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx, func() {}) })
	n := 0
	for range 50 {
		wg.Go(func() { l.Post(func() { n++ }) })
	}
	for {
		got, err := loop.Ask(ctx, l, func() int { return n })
		if err != nil {
			t.Fatal(err)
		}
		if got == 50 {
			break
		}
	}
	cancel()
	wg.Wait()
}

func TestCalmIsToldOncePerActivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := loop.New()
		var told atomic.Int32
		l.OnCalm(5*time.Second, func() { told.Add(1) })
		go l.Run(ctx, func() {})
		for range 4 {
			l.Post(func() {})
			time.Sleep(2 * time.Second)
		}
		if told.Load() != 0 {
			t.Errorf("told %d times while something was going on", told.Load())
		}
		time.Sleep(time.Hour)
		if told.Load() != 1 {
			t.Errorf("told %d times in an hour without work, want 1", told.Load())
		}
		cancel()
		synctest.Wait()
	})
}

// The watchdog's question is answered and is no work: it neither settles nor ends the calm, and a busy loop answers late.
func TestAliveIsNoWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := loop.New()
		var calm, settled atomic.Int32
		l.OnCalm(5*time.Second, func() { calm.Add(1) })
		go l.Run(ctx, func() { settled.Add(1) })
		time.Sleep(time.Minute)
		calmBefore, settledBefore := calm.Load(), settled.Load()
		for range 10 {
			if err := l.Alive(ctx); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
		}
		if calm.Load() != calmBefore || settled.Load() != settledBefore {
			t.Errorf("ten questions: told of calm %d times, settled %d times", calm.Load()-calmBefore, settled.Load()-settledBefore)
		}
		l.Post(func() { time.Sleep(time.Hour) })
		synctest.Wait()
		short, end := context.WithTimeout(ctx, time.Second)
		defer end()
		if err := l.Alive(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Alive of a busy loop: %v", err)
		}
		time.Sleep(2 * time.Hour)
		cancel()
		synctest.Wait()
		if err := l.Alive(t.Context()); !errors.Is(err, loop.ErrStopped) {
			t.Errorf("Alive after the end: %v", err)
		}
	})
}
