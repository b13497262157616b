package loop_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/loop"
)

// A flood of functions, each of which begets the next, cannot keep settle from its turn, and Ask gets
// an answer meanwhile.
func TestFloodDoesNotStarveSettle(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := loop.New()
	settled := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		l.Run(ctx, func() {
			select {
			case settled <- struct{}{}:
			default:
			}
		})
		close(ended)
	}()
	var again func()
	again = func() { go l.Post(again) }
	for range 8 {
		l.Post(again)
	}
	for range 100 {
		<-settled
		if _, err := loop.Ask(ctx, l, func() int { return 1 }); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-ended
}

// Whoever asks waits no longer than its context, and a stopped timer runs nothing.
func TestAskEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := loop.New()
		go l.Run(ctx, func() {})
		release := make(chan struct{})
		l.Post(func() { <-release })
		short, end := context.WithTimeout(ctx, time.Second)
		defer end()
		if _, err := loop.Ask(short, l, func() int { return 1 }); err != context.DeadlineExceeded {
			t.Errorf("Ask of a busy loop: %v", err)
		}
		close(release)
		timer := l.After(time.Second, func() { t.Error("a stopped timer runs") })
		timer.Stop()
		time.Sleep(2 * time.Second)
		cancel()
		synctest.Wait()
	})
}
