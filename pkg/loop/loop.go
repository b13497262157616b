// Package loop is the event loop of a daemon: one goroutine that owns the
// daemon's state and runs, one after the other, the functions that others post to it.
//
// Whatever may block runs elsewhere and posts its result. Functions on the loop mark
// what has become dirty; when nothing more is waiting the loop calls settle once, where
// the owner compares what should be with what is. A burst of events so costs one
// reconcile, and a lone event is acted upon at once.
package loop

import (
	"context"
	"errors"
	"time"
)

// ErrStopped tells that the loop has ended and will run nothing more.
var ErrStopped = errors.New("daemon is stopping")

// burst is how many waiting functions are run before settle gets its turn, so
// that a flood of events cannot keep the owner from acting.
const burst = 256

// Loop runs posted functions on one goroutine. Make one with [New].
type Loop struct {
	work  chan func()
	pulse chan struct{} // unbuffered: that it is received is the answer
	done  chan struct{}

	calm   time.Duration
	onCalm func() // nil: nothing
}

// New gives a loop that does nothing until [Loop.Run].
func New() *Loop {
	return &Loop{work: make(chan func(), burst), pulse: make(chan struct{}), done: make(chan struct{})}
}

// OnCalm has f called, on a goroutine of its own, whenever something was run and then nothing for d.
// Call it before [Loop.Run].
func (l *Loop) OnCalm(d time.Duration, f func()) { l.calm, l.onCalm = d, f }

// Run runs what is posted, and settle after each burst, until ctx ends. It may be called once.
func (l *Loop) Run(ctx context.Context, settle func()) {
	defer close(l.done)
	settle()
	rest := time.AfterFunc(l.calm, func() {
		if l.onCalm != nil {
			l.onCalm()
		}
	})
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.pulse:
			continue
		case f := <-l.work:
			f()
		}
		l.drain(ctx)
		settle()
		if l.onCalm != nil {
			rest.Reset(l.calm)
		}
	}
}

func (l *Loop) drain(ctx context.Context) {
	for range burst - 1 {
		if ctx.Err() != nil {
			return
		}
		select {
		case f := <-l.work:
			f()
		default:
			return
		}
	}
}

// Post hands f to the loop. It waits while the loop is busy and drops f once the loop
// has ended. It must not be called on the loop itself, which could wait for itself for ever.
func (l *Loop) Post(f func()) {
	select {
	case l.work <- f:
	case <-l.done:
	}
}

// After posts f when d has passed. Stopping the timer does not recall an f that is already waiting.
func (l *Loop) After(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() { l.Post(f) })
}

// Alive gives nil as soon as the loop gets to it. It is no work: nothing settles after it, and calm lasts.
func (l *Loop) Alive(ctx context.Context) error {
	select {
	case l.pulse <- struct{}{}:
		return nil
	case <-l.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ask runs f on l and gives its result. It is how another goroutine, such as
// that of a D-Bus call, reads the state that the loop owns.
func Ask[T any](ctx context.Context, l *Loop, f func() T) (T, error) {
	reply := make(chan T, 1)
	var none T
	select {
	case l.work <- func() { reply <- f() }:
	case <-l.done:
		return none, ErrStopped
	case <-ctx.Done():
		return none, ctx.Err()
	}
	select {
	case v := <-reply:
		return v, nil
	case <-l.done:
		return none, ErrStopped
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
