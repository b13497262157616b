package ctl

import (
	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/bus"
)

// Stacctl makes the command tree of stacctl.
func Stacctl(opts bus.Options) *cobra.Command {
	t := newTool("stacd", bus.ConnectConnector, opts)
	return stacctl(t)
}

func stacctl(t *tool) *cobra.Command {
	root := t.root("stacctl", "Ask stacd, the NVMe-oF connector")
	root.AddCommand(
		t.ls("List the I/O controllers", connectorColumns),
		t.status("Show the state of stacd and its controllers", connectorColumns),
		t.watch(), t.reconnect(), t.disconnect(), t.disconnectAll(),
	)
	root.AddCommand(t.tracing()...)
	return root
}
