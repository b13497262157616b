// Command stafctl shows what stafd knows and does.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/ctl"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	root := ctl.Stafctl(bus.Options{})
	root.AddCommand(discoverCommand())
	os.Exit(ctl.Run(ctx, root))
}
