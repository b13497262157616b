package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/tid"
)

// write makes a file below dir.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func says(problems []Problem, text string) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return strings.Contains(p.String(), text) })
}

func TestBrokenFilesAreRejectedWhole(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"NUL":                 {"[Global]\ntron=true\x00\n", ":2: it has a NUL byte"},
		"not UTF-8":           {"[Global]\n\ntron=\xff\n", ":3: it is not UTF-8"},
		"no section":          {"tron=true\n", ":1: there is text before the first section"},
		"open header":         {"[Global\ntron=true\n", ":1: the section header"},
		"empty header":        {"[ ]\n", ":1: the section header"},
		"two brackets":        {"[[Global]]\n", ":1: the section header"},
		"no key":              {"[Global]\n = true\n", ":2: there is no key"},
		"endless line":        {"[Global]\ntron=" + strings.Repeat("x", 8<<20) + "\n", ":2: the line has more than 65536 bytes"},
		"UTF-16":              {"\xff\xfe[\x00G\x00", "NUL"},
		"larger than allowed": {"[Global]\n" + strings.Repeat("#\n", maxFile/2), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, t.TempDir(), "stafd.conf", c.text)
			v, _, err := LoadStaf(Files{Own: path})
			var file *FileError
			if v != nil || !errors.As(err, &file) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v; want an error with %q", v, err, c.want)
			}
		})
	}
}

func TestUnusualFilesAreRead(t *testing.T) {
	const line = "controller = transport=tcp;traddr=192.0.2.1"
	for name, text := range map[string]string{
		"BOM":             "\ufeff[Global]\ntron=true\n[Controllers]\n" + line + "\n",
		"CRLF":            "[Global]\r\ntron=true\r\n[Controllers]\r\n" + line + "\r\n",
		"no newline":      "[Global]\ntron=true\n[Controllers]\n" + line,
		"comments":        "# a\n; b\n[Global] # c\n tron = true\n  # d\n[Controllers]\n" + line,
		"section again":   "[Global]\n[Controllers]\n" + line + "\n[Global]\ntron=true\n",
		"blanks":          "\n\n \t\n[Global]\n\n\ttron\t=\ttrue\t\n\n[Controllers]\n\t" + line + "\n",
		"section in mode": "[Global]\ntron=True\n[Controllers]\nCONTROLLER=" + strings.TrimPrefix(line, "controller = "),
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, t.TempDir(), "stafd.conf", text)
			v, problems, err := LoadStaf(Files{Own: path})
			if err != nil || len(problems) > 0 {
				t.Fatalf("problems %v, error %v", problems, err)
			}
			if !v.Tron || len(v.Controllers) != 1 || v.Controllers[0].Traddr != "192.0.2.1" || v.Incomplete {
				t.Errorf("got %+v", v)
			}
		})
	}
}

func TestOddFilesAreUnreadable(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link.conf")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, link} {
		if v, _, err := LoadStaf(Files{Own: path}); v != nil || err == nil {
			t.Errorf("%s: got %v, %v", path, v, err)
		}
	}
	v, problems, err := LoadStaf(Files{Own: filepath.Join(dir, "absent.conf")})
	if err != nil || v.Incomplete || !says(problems, "does not exist; using the defaults") {
		t.Errorf("absent: %v, %v, %v", v, problems, err)
	}
}

func TestWhatIsNotUnderstood(t *testing.T) {
	const good = "controller = transport=tcp;traddr=192.0.2.1\n"
	for name, c := range map[string]struct {
		text       string
		want       string
		incomplete bool
	}{
		"text behind header":      {"[Global] tron=true\n", "what follows the section header on its line is ignored", false},
		"unknown section":         {"[Servce Discovery]\nzeroconf=disabled\n", ":1: [Servce Discovery] unknown section; everything in it is ignored", false},
		"section in other case":   {"[global]\ntron=true\n", "it is spelled [Global]", false},
		"controllers misspelled":  {"[Controler]\n" + good, "belongs in [Controllers]", true},
		"unknown key":             {"[Global]\ntrom=true\n", ":2: [Global] trom: unknown key; did you mean tron? The line is ignored", false},
		"unknown key, far":        {"[Global]\nnonsense=true\n", "[Global] nonsense: unknown key; the line is ignored", false},
		"other section's key":     {"[Global]\nzeroconf=disabled\n", "belongs in [Service Discovery]", false},
		"controller key misspelt": {"[Controllers]\ncontroler = transport=tcp;traddr=192.0.2.1\n", "did you mean controller?", true},
		"controller elsewhere":    {"[Global]\n" + good, "belongs in [Controllers]", true},
		"continuation":            {"[Controllers]\ncontroller = transport=tcp;\n  traddr=192.0.2.1\n", ":3: [Controllers] traddr: a value cannot continue", true},
		"indented key":            {"[Controllers]\n" + good + "  controller = transport=tcp;traddr=192.0.2.2\n", "taken as a line of its own", false},
		"line of garbage":         {"[Controllers]\n%&/()\n", "not of the form key=value", true},
		"backtick":                {"[Controllers]\ncontroller = `transport=tcp\n", "cannot begin with this quote", true},
		"triple quote":            {"[Global]\ntron = \"\"\"true\n[Controllers]\n", "cannot begin with this quote", false},
		"same controller twice":   {"[Controllers]\n" + good + "controller = transport=tcp;traddr=192.0.2.1;trsvcid=8009;kato=7\n", ":3: [Controllers] controller: the same connection as in ", false},
		"both give-ups":           {"[" + dcSection + "]\nzeroconf-connections-persistence=-1\n", "deprecated; write dc-giveup-timeout", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, t.TempDir(), "stafd.conf", c.text)
			v, problems, err := LoadStaf(Files{Own: path})
			if err != nil {
				t.Fatal(err)
			}
			if !says(problems, c.want) || v.Incomplete != c.incomplete {
				t.Errorf("incomplete %v, problems:\n%v", v.Incomplete, problems)
			}
		})
	}
}

func TestDropInsCountByName(t *testing.T) {
	dir := t.TempDir()
	own := write(t, dir, "stacd.conf", "[Global]\nkato=1\nqueue-size=16\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1;nqn=nqn.2014-08.org.example:a\n")
	write(t, dir, "stacd.conf.d/20-b.conf", "[Global]\nkato=3\n")
	write(t, dir, "stacd.conf.d/10-a.conf", "[Global]\nkato=2\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.2;nqn=nqn.2014-08.org.example:a\n")
	for _, ignored := range []string{"30.conf~", ".conf", "40.CONF", "50.txt"} {
		write(t, dir, "stacd.conf.d/"+ignored, "[broken")
	}
	v, problems, err := LoadStac(Files{Own: own})
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	if kato, _ := v.Defaults.KeepAliveTmo.Get(); kato != 3 || len(v.Controllers) != 2 {
		t.Errorf("kato %d, controllers %v", kato, v.Controllers)
	}
	if q, _ := v.Controllers[1].Params.QueueSize.Get(); q != 16 {
		t.Errorf("a drop-in's controller has queue size %d", q)
	}
	write(t, dir, "stacd.conf.d/15.conf", "[broken")
	if _, _, err := LoadStac(Files{Own: own}); err == nil || !strings.Contains(err.Error(), "15.conf:1") {
		t.Errorf("a broken drop-in: %v", err)
	}
}

func TestLastGoodStaysInForce(t *testing.T) {
	dir := t.TempDir()
	own := write(t, dir, "stacd.conf", "[broken")
	s := StacSource{Files: Files{Own: own, Fabrics: filepath.Join(dir, "nvme-stas.conf")}}
	v, problems := s.Load()
	if !v.Incomplete || !says(problems, "no version of this file") {
		t.Fatalf("before any good version: %+v, %v", v, problems)
	}
	const line = "controller=transport=tcp;traddr=192.0.2.1;nqn=nqn.2014-08.org.example:a\n"
	write(t, dir, "stacd.conf", "[Controllers]\n"+line)
	if v, problems = s.Load(); v.Incomplete || len(v.Controllers) != 1 || len(problems) > 0 {
		t.Fatalf("good: %+v, %v", v, problems)
	}
	for _, bad := range []string{"[broken", "\x00", "[Global]\ntls=maybe\n"} {
		write(t, dir, "stacd.conf", bad)
		if v, problems = s.Load(); v.Incomplete || len(v.Controllers) != 1 || len(problems) == 0 {
			t.Errorf("%q: %+v, %v", bad, v, problems)
		}
	}
	// The other set still changes.
	write(t, dir, "nvme-stas.conf", "[Subsystem]\nnqn=nqn.2014-08.org.example:b\ncontroller=transport=tcp;traddr=192.0.2.2\n")
	if v, _ = s.Load(); len(v.Controllers) != 2 {
		t.Errorf("controllers %v", v.Controllers)
	}
	write(t, dir, "nvme-stas.conf", "junk")
	if v, problems = s.Load(); len(v.Controllers) != 2 || v.Incomplete || !says(problems, "nvme-stas.conf:1") {
		t.Errorf("controllers %v, problems %v", v.Controllers, problems)
	}
	write(t, dir, "stacd.conf", "")
	if v, _ = s.Load(); len(v.Controllers) != 1 || v.Incomplete {
		t.Errorf("an empty file counts: %+v", v)
	}
}

func TestChooseDoesNotFlip(t *testing.T) {
	addresses := []string{"192.0.2.9", "2001:db8::2", "192.0.2.10", "2001:db8::1"}
	for _, c := range []struct {
		f    Families
		want string
	}{
		{Families{V4: true, V6: true}, "192.0.2.9"},
		{Families{V4: true, V6: true, Prefer6: true}, "2001:db8::1"},
		{Families{V6: true, Prefer6: true}, "2001:db8::1"},
		{Families{V4: true}, "192.0.2.9"},
	} {
		for range addresses {
			addresses = append(addresses[1:], addresses[0])
			if got := c.f.Choose(addresses); len(got) != 1 || got[0] != c.want {
				t.Errorf("%+v of %v: %v", c.f, addresses, got)
			}
		}
	}
	if got := (Families{V4: true}).Choose([]string{"2001:db8::1", "junk"}); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestControllerTID(t *testing.T) {
	c := Controller{Kind: tid.Discovery, Transport: "tcp", Scope: &Scope{}}
	got, err := c.TID("2001:DB8::1", tid.Host{NQN: "nqn.2014-08.org.example:host"})
	if err != nil || got.Traddr != "2001:db8::1" || got.HostNQN != "nqn.2014-08.org.example:host" || got.Trsvcid != "8009" {
		t.Errorf("%+v, %v", got, err)
	}
	c.Scope.Host.NQN = "nqn.2014-08.org.example:persona"
	if got, _ = c.TID("::1", tid.Host{NQN: "nqn.2014-08.org.example:host"}); got.HostNQN != c.Scope.Host.NQN {
		t.Errorf("a file's identity does not count: %+v", got)
	}
}

func TestFilesWithSecretsThatOthersMayRead(t *testing.T) {
	dir := t.TempDir()
	f := Files{
		Own:     write(t, dir, "stacd.conf", "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1;nqn=nqn.2014-08.org.a;dhchap-secret="+secretA+"\n"),
		Fabrics: write(t, dir, "nvme-stas.conf", "[Subsystem]\nnqn=nqn.2014-08.org.a\nkxchap-secret="+secretA+"\ncontroller=transport=tcp;traddr=192.0.2.2\n"),
	}
	if _, problems, err := LoadStac(f); err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	for _, path := range []string{f.Own, f.Fabrics} {
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if v, problems, _ := LoadStac(f); !says(problems, "run: chmod 0600 "+path) || len(v.Controllers) != 2 {
			t.Errorf("%s: %v", path, problems)
		}
	}
}

func writeBench(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

// TestDropInsThatAreRenamedWhileTheyAreRead: a drop-in that was listed under one name and has another when it is opened is not
// taken for removed.
func TestDropInsThatAreRenamedWhileTheyAreRead(t *testing.T) {
	for _, main := range []string{"stacd.conf", "nvme-stas.conf"} {
		dir := t.TempDir()
		text := map[string]string{"stacd.conf": many(1),
			"nvme-stas.conf": "[Subsystem]\nnqn=nqn.2014-08.org.a\ncontroller=transport=tcp;traddr=192.0.2.1\n"}[main]
		a, b := write(t, dir, main+".d/a.conf", text), filepath.Join(dir, main+".d/b.conf")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				_ = os.Rename(a, b)
				_ = os.Rename(b, a)
			}
		}()
		for range 2000 {
			v, _, err := LoadStac(Files{Own: filepath.Join(dir, "stacd.conf"), Fabrics: filepath.Join(dir, "nvme-stas.conf")})
			if err == nil && len(v.Controllers) == 0 { // an error leaves the last good version in force
				t.Errorf("%s: the controller of a drop-in is gone", main)
				break
			}
		}
		cancel()
		<-done
	}
}
