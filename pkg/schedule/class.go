package schedule

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// ErrVetoed marks an attempt that was not made because the administrator's
// exclusion list, or whoever owns the connection, forbids it.
var ErrVetoed = errors.New("not allowed")

// vetoed is the class of attempts that fail with ErrVetoed; the kernel has no part in them.
const vetoed kernel.Class = 0xff

// pace is how the delays before further attempts grow: they double from first to most.
type pace struct{ first, most time.Duration }

// Each class of failure has a pace. What a change on the network may heal at any
// moment is tried soon; what needs a human starts slower, since each attempt costs the
// lane and a line in the kernel's log.
var paces = map[kernel.Class]pace{
	kernel.Refused:          {time.Second, time.Minute},
	kernel.Unreachable:      {time.Second, time.Minute},
	kernel.Timeout:          {2 * time.Second, time.Minute},
	kernel.Rejected:         {time.Second, time.Minute},
	kernel.Auth:             {10 * time.Second, 5 * time.Minute},
	kernel.InvalidOption:    {10 * time.Second, 5 * time.Minute},
	kernel.AlreadyConnected: {time.Second, time.Minute},
	kernel.NoDevice:         {time.Second, 10 * time.Second},
	vetoed:                  {30 * time.Second, time.Minute},
	kernel.Other:            {time.Second, time.Minute},
}

// Delay is the wait before the attempt that follows the failures-th failure in a row,
// with a jitter of ±20 % so that hosts and controllers do not retry in step.
func Delay(c kernel.Class, failures int) time.Duration { return spread(grown(c, failures)) }

// grown is the delay without its jitter.
func grown(c kernel.Class, failures int) time.Duration {
	p, ok := paces[c]
	if !ok {
		p = paces[kernel.Other]
	}
	d := p.first
	for range failures - 1 {
		if d *= 2; d >= p.most {
			d = p.most
			break
		}
	}
	return d
}

func spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// A probe costs the kernel nothing, so an address that does not answer is looked at again
// soon, for as long as it may well come back. What returns within watchFor is to be connected within five
// seconds: watchMost, its jitter of a fifth, the probe and the connect.
const (
	watchFor  = 10 * time.Minute
	watchMost = 3500 * time.Millisecond
)

// delay is the wait before the next attempt of it, which has failed with c.
func (s *Scheduler) delay(it *item, c kernel.Class) time.Duration {
	d := grown(c, max(it.failures, 1))
	if it.probed && time.Since(it.since) < watchFor {
		d = min(d, max(paces[c].first, watchMost))
	}
	return spread(d)
}

// Classify gives the class of a failed attempt, be it a probe or a connect.
func Classify(err error) kernel.Class {
	var failed *kernel.ConnectError
	switch {
	case errors.As(err, &failed):
		return failed.Class
	case errors.Is(err, ErrVetoed):
		return vetoed
	case errors.Is(err, kernel.ErrBusy), errors.Is(err, kernel.ErrNoFabrics), errors.Is(err, kernel.ErrWorkerDied):
		return kernel.NoDevice
	case errors.Is(err, nvmetcp.ErrRefused), errors.Is(err, nvmetcp.ErrClosed):
		return kernel.Refused
	case errors.Is(err, nvmetcp.ErrUnreachable), errors.Is(err, nvmetcp.ErrLocal):
		return kernel.Unreachable
	case errors.Is(err, nvmetcp.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return kernel.Timeout
	}
	return kernel.Other
}
