package daemon

import (
	"context"
	"log/slog"
	"testing"
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
	case <-time.After(10 * time.Second):
		t.Error("a change was seen and not told")
	}
	cancel()
	<-ended
}
