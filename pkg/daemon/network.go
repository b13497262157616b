package daemon

import (
	"context"

	"github.com/stas-go/stas/pkg/tid"
)

// interfaces tells which interface holds which local address.
func (d *daemon) interfaces() tid.Interfaces { return nil }

// watchNetwork has changed called whenever a link comes up or an address becomes usable.
func (d *daemon) watchNetwork(changed func()) func(context.Context) {
	return func(context.Context) {}
}
