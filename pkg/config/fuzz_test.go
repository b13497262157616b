package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stas-go/stas/pkg/tid"
)

// marker stands where a secret may stand; it must never come out again.
const marker = "hunter2hunter2"

func noMarker(t *testing.T, text string, problems []Problem, err error) {
	t.Helper()
	if strings.Count(text, marker) == 0 {
		return
	}
	if strings.Contains(fmt.Sprint(problems, err), marker) && strings.Contains(text, "secret="+marker) {
		t.Errorf("a secret of\n%s\ncomes out: %v %v", text, problems, err)
	}
}

func FuzzOwnFile(f *testing.F) {
	for _, s := range []string{
		"[Global]\ntron=true\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1;dhchap-secret=" + marker,
		"[Controllers]\n  controller = transport=fc;traddr=nn-0x1:pn-0x2\n\texclude=;\n[Controllers] # again\ncontroller",
		"\ufeff[Global]\r\nkato=-1\r\n", "[a]b]\n", "[Global]\n-=1\n", "[Global]\n\"x=1\n`y`=2\nz=`1\nw=\"\"\"\n", "[DEFAULT]\nx=%(y)s\\\n z\n",
		"[" + dcSection + "]\ndc-giveup-timeout=1M\nzeroconf-connections-persistence=3 days, 1:02:03\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const path = "f.conf"
		if checkText(path, []byte(text)) != nil {
			return
		}
		entries, err := parseINI(path, []byte(text))
		if err != nil {
			noMarker(t, text, nil, err)
			return
		}
		staf, r := buildStaf(path, entries, nil)
		checkControllers(t, staf.Controllers)
		noMarker(t, text, r.problems, r.rejected)
		for _, p := range r.problems {
			if p.Message == "" || p.File != path || !utf8.ValidString(p.String()) || strings.ContainsAny(p.String(), "\n\r\x00\x1b") {
				t.Errorf("unfit problem %q", p.String())
			}
		}
		stac, r := buildStac(path, entries, nil)
		checkControllers(t, stac.Controllers)
		noMarker(t, text, r.problems, r.rejected)
	})
}

// checkControllers checks that what was accepted can be connected.
func checkControllers(t *testing.T, list []Controller) {
	for _, c := range list {
		address := c.Traddr
		if c.HostName {
			address = "192.0.2.1"
		}
		if _, err := c.TID(address, tid.Host{NQN: nqnA}); err != nil {
			t.Errorf("accepted %+v: %v", c, err)
		}
		if c.Scope == nil || c.Where == "" {
			t.Errorf("incomplete %+v", c)
		}
	}
}

func FuzzFabricsFile(f *testing.F) {
	for _, s := range []string{
		"[Host]\nhostnqn=" + nqnA + "\n[Discovery Controller]\ncontroller=transport=tcp;traddr=h;persistent=auto\n",
		"[Subsystem]\nnqn=nqn.2014-08.org.a\nqueue-size=0x10\nkxchap-secret=" + marker + "\ncontroller=transport=tcp;traddr=::1;queue-size=\n",
		"[I/O Controller Defaults]\ntls=on\ntls-key=\n", "; x\n", "[x] y\n", "a=b\n",
	} {
		f.Add(s, "")
	}
	f.Add("", "[Host]\nhostnqn=nqn.2014-08.org.a\nhostid="+uuidB+"\n")
	f.Fuzz(func(t *testing.T, text, drop string) {
		r := &report{}
		main, err := parseFabrics("n.conf", []byte(text), r)
		other, dropErr := parseFabrics("d.conf", []byte(drop), r)
		files := []*fabricsFile{main, other}
		if err = errors.Join(err, dropErr); err == nil {
			err = checkPersonas(files)
		}
		if err != nil {
			noMarker(t, text+drop, r.problems, err)
			return
		}
		checkControllers(t, resolve(files, r).controllers)
		noMarker(t, text+drop, r.problems, nil)
	})
}

func FuzzTimeSpans(f *testing.F) {
	for _, s := range []string{"3 days, 5 hours", "1:24", "infinity", "2h30m", "-1", "1e300", "+5m", ".5h", "1M", "9999999999y", "NaN", "0x10", "1 day 2:03:04"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (v int64, err error){
			func(s string) (int64, error) { d, err := parseSpan(s); return int64(d), err },
			func(s string) (int64, error) { d, err := parseOldSpan(s); return int64(d), err },
		} {
			if v, err := parse(s); err == nil && v < 0 && v != int64(Forever) {
				t.Errorf("%q is %d", s, v)
			}
		}
	})
}
