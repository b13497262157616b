package ctl

import (
	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/bus"
)

// Stacctl makes the command tree of stacctl.
func Stacctl(opts bus.Options) *cobra.Command {
	t := &tool{daemon: "stacd", connect: bus.ConnectConnector, opts: opts}
	root := t.root("stacctl", "Ask stacd, the NVMe-oF connector")
	root.AddCommand(
		t.ls("List the I/O controllers", connectorColumns),
		t.status("Show the state of stacd and its controllers", connectorColumns),
	)
	root.AddCommand(t.tracing()...)
	return root
}
