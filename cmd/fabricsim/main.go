// Command fabricsim plays an NVMe/TCP fabric on one machine; see fabricsim(1).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := rootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fabricsim:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	var o serveOptions
	c := &cobra.Command{
		Use:   "fabricsim CONFIG",
		Short: "Play an NVMe/TCP fabric on this machine",
		Example: "  fabricsim test/lab/small.ini\n  fabricsim ctl fault add busy step=connect action=status=0x181 times=2\n" +
			"  fabricsim ctl events --follow",
		Args:          arguments(1, 1),
		Version:       version.Version,
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error { return serve(cmd.Context(), args[0], o) },
	}
	c.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	c.Flags().StringVar(&o.control, "control", "", "make the control `socket` there, in place of where the configuration says")
	c.Flags().BoolVar(&o.check, "check", false, "read the configuration, say what is wrong with it, and end")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "log nothing")
	c.AddCommand(ctlCommand())
	return c
}
