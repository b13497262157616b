// Command stasadm makes the identity of this host, checks and converts configuration files,
// and keeps the files that all NVMe-oF orchestrators of a host share.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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
	out := &output{w: os.Stdout}
	root.SetOut(out)
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil || errors.Is(err, errFindings) {
		err = cmp.Or(out.err, err)
	}
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

// output remembers that something could not be written, which is a failure: half a list looks like a whole one.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("cannot write the output: %w", err)
	}
	return n, err
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
