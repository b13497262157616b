package daemon

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/stas-go/stas/pkg/version"
)

// options are the command line.
type options struct {
	conf   string
	syslog bool
	tron   bool
}

// errShown ends a program that has printed what it was asked for.
var errShown = errors.New("shown")

// parse reads the command line without the program's name. Without cobra, which the tools use: the templates of its help
// would make each daemon a fifth larger, for four options.
func (p program) parse(args []string, out io.Writer) (o options, err error) {
	f := pflag.NewFlagSet(p.name, pflag.ContinueOnError)
	f.SetOutput(io.Discard) // errors are reported once, by the caller
	f.StringVarP(&o.conf, "conf-file", "f", p.conf, "configuration `file`")
	f.BoolVarP(&o.syslog, "syslog", "s", false, "log with priorities for the journal even where stderr does not lead there")
	f.BoolVar(&o.tron, "tron", false, "start with tracing on")
	help := f.BoolP("help", "h", false, "print this and exit")
	shown := f.BoolP("version", "v", false, "print the version and exit")
	switch err = f.Parse(args); {
	case err != nil:
	case *help:
		_, _ = fmt.Fprintf(out, "%s: %s\n\nUsage:\n  %s [options]\n\nOptions:\n%s", p.name, p.about, p.name, f.FlagUsages())
		err = errShown
	case *shown:
		_, _ = fmt.Fprintf(out, "%s %s\n", p.name, version.Version)
		err = errShown
	case f.NArg() > 0:
		err = fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if err != nil && !errors.Is(err, errShown) {
		err = fmt.Errorf("%w; %s --help lists the options", err, p.name)
	}
	return o, err
}
