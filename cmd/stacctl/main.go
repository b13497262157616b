// Command stacctl shows what stacd knows and does.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/ctl"
	"github.com/stas-go/stas/pkg/kernel"
)

func main() {
	kernel.RunWorkerIfAsked() // for disconnect-all
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(ctl.Run(ctx, ctl.Stacctl(bus.Options{})))
}
