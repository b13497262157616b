package ctl

import (
	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/bus"
)

// Stafctl makes the command tree of stafctl.
func Stafctl(opts bus.Options) *cobra.Command {
	t := newTool("stafd", bus.ConnectFinder, opts)
	return stafctl(t)
}

func stafctl(t *tool) *cobra.Command {
	root := t.root("stafctl", "Ask stafd, the NVMe-oF finder")
	root.AddCommand(
		t.ls("List the discovery controllers", finderColumns),
		t.status("Show the state of stafd, its controllers and their log pages", finderColumns),
		t.dlp(), t.adlp(), t.watch(),
		t.simple("reconnect", "Connect a discovery controller anew", "reconnecting", (*bus.Client).Reconnect),
		t.simple("refresh", "Read the log page of a discovery controller again", "reading its log page", (*bus.Client).Refresh),
	)
	root.AddCommand(t.tracing()...)
	return root
}
