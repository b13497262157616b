// Command stasadm makes the identity of this host, checks and converts configuration files,
// and keeps the files that all NVMe-oF orchestrators of a host share.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run()) }

// Exit statuses: 0 success, 1 failure, 2 a wrong command line, 3 what was checked has findings.
var (
	errUsage    = errors.New("wrong use")
	errFindings = errors.New("there are findings")
)

func run() int {
	root := newRoot()
	cmd, err := root.ExecuteContextC(context.Background())
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFindings):
		return 3
	case errors.Is(err, errNoMatch):
		return 1
	case errors.Is(err, errUsage), strings.HasPrefix(err.Error(), "required flag"): // cobra has no value for it
		fmt.Fprintf(os.Stderr, "stasadm: %v\nTry '%s --help'.\n", err, cmd.CommandPath())
		return 2
	}
	fmt.Fprintf(os.Stderr, "stasadm: %v\n", err)
	return 1
}

// arguments makes a check of positional arguments part of "wrong use".
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return nil
	}
}
