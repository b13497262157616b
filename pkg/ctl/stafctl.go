package ctl

import (
	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/bus"
)

// Stafctl makes the command tree of stafctl.
func Stafctl(opts bus.Options) *cobra.Command {
	t := &tool{daemon: "stafd", connect: bus.ConnectFinder, opts: opts}
	root := t.root("stafctl", "Ask stafd, the NVMe-oF finder")
	root.AddCommand(
		t.ls("List the discovery controllers", finderColumns),
		t.status("Show the state of stafd, its controllers and their log pages", finderColumns),
		t.dlp(), t.adlp(),
	)
	root.AddCommand(t.tracing()...)
	return root
}
