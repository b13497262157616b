package daemon

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	p := program{name: "stafd", about: "find", conf: "/etc/stas/stafd.conf"}
	for args, want := range map[string]struct {
		options options
		err     string // part of it
		out     string // likewise
	}{
		"":                              {options: options{conf: "/etc/stas/stafd.conf"}},
		"-f x -s":                       {options: options{conf: "x", syslog: true}},
		"--conf-file=x --syslog --tron": {options: options{conf: "x", syslog: true, tron: true}},
		"--version":                     {err: "shown", out: "stafd "},
		"-v":                            {err: "shown", out: "stafd "},
		"-h":                            {err: "shown", out: "--conf-file file"},
		"--fast":                        {err: "unknown flag: --fast; stafd --help lists the options"},
		"again":                         {err: `unknown argument "again"; stafd --help`},
		"-f":                            {err: "flag needs an argument"},
	} {
		var out strings.Builder
		o, err := p.parse(strings.Fields(args), &out)
		if want.err == "" && (err != nil || o != want.options) {
			t.Errorf("%q: %+v, %v; want %+v", args, o, err, want.options)
		}
		if want.err != "" && (err == nil || !strings.Contains(err.Error(), want.err)) {
			t.Errorf("%q: error %v, want %s", args, err, want.err)
		}
		if !strings.Contains(out.String(), want.out) || want.out == "" && out.Len() > 0 || errors.Is(err, errShown) != (want.out != "") {
			t.Errorf("%q: printed %q", args, &out)
		}
	}
}
