package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/version"
)

// tool is what stafctl and stacctl have in common.
type tool struct {
	daemon  string // stafd or stacd
	connect func(context.Context, bus.Options) (*bus.Client, error)
	opts    bus.Options
	output  string

	exclusions string // list that disconnect --exclude writes; empty for that of the host
	kernel     func(owner string) (k Kernel, done func())
	terminal   func(io.Reader) bool
	uid        int
}

func newTool(daemon string, connect func(context.Context, bus.Options) (*bus.Client, error), opts bus.Options) *tool {
	return &tool{daemon: daemon, connect: connect, opts: opts, kernel: newHost, terminal: isTerminal, uid: os.Geteuid()}
}

// errUsage marks a command line that makes no sense.
var errUsage = errors.New("wrong use")

// Usage makes err one about a command line that makes no sense, for commands of other packages.
func Usage(err error) error { return fmt.Errorf("%w: %w", errUsage, err) }

// Run runs a command tree with the arguments of the process and returns the exit
// status: 0 for success, 1 for failure, 2 for a wrong command line.
func Run(ctx context.Context, root *cobra.Command) int {
	cmd, err := root.ExecuteContextC(ctx)
	text := ""
	if err != nil {
		lines := strings.Split(err.Error(), "\n") // of several controllers, each has one
		for i := range lines {
			lines[i] = printable(lines[i])
		}
		text = strings.Join(lines, "\n")
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage), strings.HasPrefix(err.Error(), "required flag"): // cobra has no value for it
		fmt.Fprintf(root.ErrOrStderr(), "%s: %s\nTry '%s --help'.\n", root.Name(), text, cmd.CommandPath())
		return 2
	}
	fmt.Fprintf(root.ErrOrStderr(), "%s: %s\n", root.Name(), text)
	return 1
}

func (t *tool) root(name, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, Version: version.Version,
		SilenceUsage: true, SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: there is no command %q", errUsage, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if t.output != "table" && t.output != "json" {
				return fmt.Errorf("%w: --output is table or json, not %q", errUsage, t.output)
			}
			return nil
		},
	}
	cmd.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	cmd.PersistentFlags().StringVarP(&t.output, "output", "o", "table", "print a `format`: table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().BoolP("version", "v", false, "print the version")
	return cmd
}

// command makes a subcommand that talks to the daemon and prints what run gives.
func (t *tool) command(use, short string, run func(context.Context, *bus.Client) (printer, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		Args: noArguments, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := t.connect(cmd.Context(), t.opts)
			if err != nil {
				return t.explain(err)
			}
			defer client.Close()
			p, err := run(cmd.Context(), client)
			if err != nil {
				return t.explain(err)
			}
			if t.output == "json" {
				return writeJSON(cmd.OutOrStdout(), p.json)
			}
			return p.table(cmd.OutOrStdout())
		},
	}
}

// printer is what a subcommand has to say, in both forms. json is a value for
// [bus.Object] or a JSON text of type json.RawMessage.
type printer struct {
	json  any
	table func(io.Writer) error
}

func writeJSON(w io.Writer, v any) error {
	text, ok := v.(json.RawMessage)
	if !ok {
		b, err := bus.JSON(v)
		if err != nil {
			return err
		}
		text = b
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return fmt.Errorf("cannot understand the answer: %w", err)
	}
	out.WriteByte('\n')
	_, err := w.Write(out.Bytes())
	return err
}

// plainError says all there is to say: it is not about asking the daemon.
type plainError struct{ error }

func (e plainError) Unwrap() error { return e.error }

// explain says what to do about an error.
func (t *tool) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bus.ErrNoObjects):
		return errOldDaemon
	case errors.Is(err, bus.ErrNotRunning):
		return fmt.Errorf("%s is not running: systemctl start %s", t.daemon, t.daemon)
	case errors.Is(err, bus.ErrNoBus):
		return fmt.Errorf("cannot reach %s: %w: systemctl start dbus", t.daemon, err)
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.Is(err, bus.ErrNotPermitted) && os.Geteuid() != 0:
		return fmt.Errorf("%w: try again as root", err)
	}
	if errors.As(err, new(plainError)) {
		return err
	}
	for _, own := range []error{errNoController, errSeveral, errNoneSelected, errSeveralSelected, errOldDaemon, errNotInTime, errInterrupted} {
		if errors.Is(err, own) {
			return err
		}
	}
	return fmt.Errorf("cannot ask %s: %w", t.daemon, err)
}

// tracing makes tron and troff.
func (t *tool) tracing() []*cobra.Command {
	set := func(on bool) func(context.Context, *bus.Client) (printer, error) {
		return func(ctx context.Context, c *bus.Client) (printer, error) {
			if err := c.SetTron(ctx, on); err != nil {
				return printer{}, err
			}
			now, err := c.Tron(ctx)
			if err != nil {
				return printer{}, err
			}
			word := map[bool]string{true: "on", false: "off"}[now]
			return printer{
				json:  bus.Object{{Name: "tron", Value: now}},
				table: func(w io.Writer) error { _, err := fmt.Fprintf(w, "tracing is %s\n", word); return err },
			}, nil
		}
	}
	return []*cobra.Command{
		t.command("tron", "Switch tracing of "+t.daemon+" on", set(true)),
		t.command("troff", "Switch tracing of "+t.daemon+" off", set(false)),
	}
}
