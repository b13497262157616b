package bus

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Waiting for the bus to come (back): the first wait, and the longest.
const (
	firstWait = 100 * time.Millisecond
	longWait  = 5 * time.Second
)

// keepUp runs connect again and again until ctx ends, and returns nil then. connect lives
// as long as its connection; it says whether it ever got to serve. [ErrNameTaken] is
// the one error that ends it.
func keepUp(ctx context.Context, log *slog.Logger, connect func() (served bool, err error)) error {
	wait, told := firstWait, false
	for {
		served, err := connect()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrNameTaken):
			return err
		case served:
			wait, told = firstWait, false
			log.Warn("lost D-Bus, will connect again", "err", err)
		case !told:
			told = true
			log.Warn("cannot get on D-Bus, will try again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait + rand.N(wait/4)):
		}
		wait = min(2*wait, longWait)
	}
}
