package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/tid"
)

// TestFabricsGrammar holds the verdicts of "nvme config validate" (libnvme 3.0) on one file: the
// error, or "" for a file that is valid, with or without warnings.
func TestFabricsGrammar(t *testing.T) {
	const sub = "[Subsystem]\nnqn=nqn.2014-08.org.example:a\n"
	for text, want := range map[string]string{
		"":                        "",
		"# comment\n\n":           "",
		"; comment\n":             ":1: the line is not of the form",
		"[Host] x\n":              ":1: the section header",
		"[Host] # x\n":            ":1: the section header",
		"[]\n":                    ":1: the section header",
		"[ ]\n":                   ":1: the section header",
		"[Host\n":                 ":1: the section header",
		"[ Host ]\n":              "",
		"[host]\nx=1\n":           "", // unknown section
		"[other]\njunk\n":         ":2: the line is not of the form",
		"[other]\na=b\n":          "",
		"x=1\n":                   ":1: there is a key before",
		"[Host]\n[Host]\n":        ":2: a second [Host]",
		"[Host]\n=x\n":            ":2: the line is not of the form",
		"[Host]\nfoo=1\n":         "", // unknown key
		"[Host]\nHOSTNQN=x\n":     "", // keys are case-sensitive: unknown
		"[Host]\ncontroller=\n":   ":2: controller does not belong in [Host]",
		"[Host]\npersistent=no\n": "persistent does not belong in [Host]",
		"[I/O Controller Defaults]\npersistent=no\n":                         "persistent does not belong",
		"[Discovery Controller Defaults]\npersistent=AUTO\n":                 "",
		"[Discovery Controller Defaults]\npersistent=\n":                     "",
		"[Discovery Controller Defaults]\npersistent=yes\n":                  "is not one of force, auto, no",
		"[Discovery Controller Defaults]\nhostnqn=x\n":                       "hostnqn does not belong",
		"[Discovery Controller Defaults]\n[Discovery Controller Defaults]\n": "",
		"[Subsystem]\n":                                               ":1: [Subsystem] without an nqn",
		"[Discovery Controller]\n":                                    "",
		"[Subsystem]\nnqn=\n":                                         ":2: nqn:",
		"[Subsystem]\nnqn=nqn.2014-13.org.example\n":                  "month 13",
		"[Subsystem]\nnqn=nqn.2014-08.\n":                             ":2: nqn:",
		"[Subsystem]\nnqn=nqn.2014-08.org.example # x\n":              ":2: nqn:",
		"[Subsystem]\nnqn=nqn.2014-08.org.a\nnqn=nqn.2014-08.org.b\n": "",
		sub + "persistent=no\n":                                       "does not belong in [Subsystem]",
		sub + "queue-size=0x10\n":                                     "",
		sub + "queue-size=010\n":                                      "",
		sub + "queue-size=08\n":                                       "not a number",
		sub + "queue-size=0b1\n":                                      "not a number",
		sub + "queue-size=1_000\n":                                    "not a number",
		sub + "queue-size=-1\n":                                       "",
		sub + "queue-size=+1\n":                                       "",
		sub + "queue-size=--1\n":                                      "not a number",
		sub + "queue-size=5s\n":                                       "not a number",
		sub + "queue-size=16 # x\n":                                   "not a number",
		sub + "queue-size=2147483647\n":                               "",
		sub + "queue-size=2147483648\n":                               "out of range",
		sub + "queue-size=-2147483649\n":                              "out of range",
		sub + "queue-size=\n":                                         "",
		sub + "kato=5\n":                                              "", // unknown here
		sub + "tls=Yes\n":                                             "",
		sub + "tls=enabled\n":                                         "neither true nor false",
		sub + "tls=\n":                                                "",
		sub + "hdr-digest=ON\ndata-digest=t\ndisable-sqflow=0\nduplicate-connect=n\n":  "",
		sub + "controller=transport=tcp;traddr=192.0.2.1\n":                            "",
		sub + "controller=;;transport=tcp; traddr = 192.0.2.1 ;\n":                     "",
		sub + "controller=transport=tcp\n":                                             "needs transport and traddr",
		sub + "controller=\n":                                                          "needs transport and traddr",
		sub + "controller=transport=tcp;traddr=h;trsvcid=\n":                           "trsvcid is empty",
		sub + "controller=transport=tcp;traddr=h;traddr=i\n":                           "traddr is given twice",
		sub + "controller=transport=tcp;traddr=h;foo=1\n":                              "unknown key foo",
		sub + "controller=transport=tcp;traddr=h;foo\n":                                "without key or",
		sub + "controller=transport=tcp;traddr=h;nqn=x\n":                              "nqn does not belong on a controller line",
		sub + "controller=transport=tcp;traddr=h;hostnqn=x\n":                          "hostnqn does not belong",
		sub + "controller=transport=tcp;traddr=h;tls=yes\n":                            "tls belongs to the section",
		sub + "controller=transport=tcp;traddr=h;kxchap-secret=x\n":                    "kxchap-secret belongs to the section",
		sub + "controller=transport=tcp;traddr=h;persistent=no\n":                      "discovery controllers only",
		sub + "controller=transport=tcp;traddr=h;queue-size=x\n":                       "not a number",
		sub + "controller=transport=tcp;traddr=h;queue-size=\n":                        "",
		"[Discovery Controller]\ncontroller=transport=tcp;traddr=h;persistent=force\n": "",
		"[Host]\nhostnqn=nqn.x\n":                                                      "hostnqn:",
		"[Host]\nhostnqn=\nhostid=\nhostsymname=\n":                                    "",
		"[Host]\nhostid=00000000-0000-0000-0000-000000000000\n":                        "hostid:",
		"[Host]\nhostid=11111111222233334444555555555555\n":                            "hostid:",
		"[Host]\ntls-key=a b c\n":                                                      "", // free text; refused when it is used
		"[Host]\r\nreconnect-delay=7\r\n":                                              "",
		"\ufeff[Host]\n":                                                               ":1: the line is not of the form",
		"[Host]\nhostsymname=a\x00b\n":                                                 "NUL byte",
	} {
		r := &report{}
		_, err := loadFabrics(write(t, t.TempDir(), "nvme-stas.conf", text), r)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got error %v, want %q", text, err, want)
		}
	}
}

// set makes a main file and drop-ins.
func set(t *testing.T, main string, drops ...string) Files {
	t.Helper()
	dir := t.TempDir()
	f := Files{Own: write(t, dir, "stacd.conf", ""), Fabrics: write(t, dir, "nvme-stas.conf", main)}
	for i, text := range drops {
		write(t, dir, fmt.Sprintf("nvme-stas.conf.d/%02d.conf", i), text)
	}
	return f
}

// spelled gives parameters as text, for comparison.
func spelled(p tid.Params) string {
	var s []string
	for key, value := range Tunables(p) {
		s = append(s, key+"="+value)
	}
	return strings.Join(s, " ")
}

func TestFabricsPrecedence(t *testing.T) {
	f := set(t, `
[Discovery Controller Defaults]
keep-alive-tmo = 45
persistent = auto
[I/O Controller Defaults]
ctrl-loss-tmo = 1800
queue-size = 0x40
[Host]
reconnect-delay = 7
[Discovery Controller]
controller = transport=tcp;traddr=192.0.2.1
controller = transport=tcp;traddr=192.0.2.2;keep-alive-tmo=;persistent=force
[Subsystem]
nqn = nqn.2014-08.org.example:a
hdr-digest = yes
kxchap-secret = DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:
controller = transport=tcp;traddr=192.0.2.3
controller = transport=tcp;traddr=192.0.2.4;ctrl-loss-tmo=-1;hdr-digest=
`, `
[I/O Controller Defaults]
ctrl-loss-tmo =
[Discovery Controller]
nqn = nqn.2014-08.org.example:dc
keep-alive-tmo = 0
controller = transport=tcp;traddr=dc.example.com;host-iface=eth3
[Subsystem]
nqn = nqn.2014-08.org.example:b
controller = transport=rdma;traddr=192.0.2.5
`)
	v, problems, err := LoadStac(f)
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	var got []string
	for _, c := range append(slices.Clone(v.Controllers), v.DiscoveryControllers...) {
		got = append(got, fmt.Sprintf("%s:%s %s %s", c.Traddr, c.Trsvcid, spelled(c.Params), c.Persistent))
	}
	want := []string{
		"192.0.2.3:4420 hdr-digest=true queue-size=64 reconnect-delay=7 ctrl-loss-tmo=1800 ",
		"192.0.2.4:4420 queue-size=64 reconnect-delay=7 ctrl-loss-tmo=-1 ",
		"192.0.2.5:4420 queue-size=64 ", // neither the main file's [Host] nor ctrl-loss-tmo
		"192.0.2.1:8009 kato=45 reconnect-delay=7 auto",
		"192.0.2.2:8009 reconnect-delay=7 force",
		"dc.example.com:8009 kato=0 auto",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if v.Controllers[0].Params.DHCHAPSecret.IsZero() || v.DiscoveryControllers[0].Scope.IO.DHCHAPSecret != (tid.Secret{}) {
		t.Error("a section's secret counts for its controllers and for nothing else")
	}
	scope := v.DiscoveryControllers[2].Scope
	if spelled(scope.IO) != "queue-size=64" || spelled(scope.Discovery) != "kato=45" || scope.Persistent != PersistAuto {
		t.Errorf("what the drop-in's controller leads to inherits %q, %q", spelled(scope.IO), spelled(scope.Discovery))
	}
	if got := spelled(v.Defaults); got != "queue-size=64 reconnect-delay=7 ctrl-loss-tmo=1800" {
		t.Errorf("what no configured controller leads to gets %q", got)
	}
	staf, _, err := LoadStaf(f)
	if err != nil || staf.Persistent != PersistAuto || len(staf.Controllers) != 3 || spelled(staf.Defaults) != "kato=45 reconnect-delay=7" {
		t.Errorf("stafd: %+v, %v", staf, err)
	}
}

func TestPersonas(t *testing.T) {
	const (
		nqnA = "hostnqn=nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-55555555555a\n"
		nqnB = "hostnqn=nqn.2014-08.org.example:b\n"
		idA  = "hostid=11111111-2222-3333-4444-55555555555a\n"
		conn = "[Subsystem]\nnqn=nqn.2014-08.org.example:s\ncontroller=transport=tcp;traddr=192.0.2.1\n"
	)
	for name, c := range map[string]struct {
		main, drop string
		want       string
	}{
		"drop-in without hostnqn":   {"", "[Host]\nreconnect-delay=1\n", "needs a hostnqn"},
		"main without hostnqn":      {"[Host]\nreconnect-delay=1\n", "", ""},
		"same hostnqn":              {"[Host]\n" + nqnA, "[Host]\n" + nqnA, "is already the identity of"},
		"same hostid":               {"[Host]\n" + nqnA + idA, "[Host]\n" + nqnB + idA, "already belongs to another hostnqn"},
		"same hostid in other case": {"[Host]\n" + nqnA + idA, "[Host]\n" + nqnB + strings.Replace(idA, "55a", "55A", 1), "already belongs to another hostnqn"},
		"two personas":              {"[Host]\n" + nqnA, "[Host]\n" + nqnB + "hostid=11111111-2222-3333-4444-55555555555b\n" + conn, ""},
	} {
		_, err := loadFabrics(set(t, c.main, c.drop).Fabrics, &report{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	// An NQN that is made of a UUID brings its own ID, any other needs one.
	v, problems, err := LoadStac(set(t, "[Host]\n"+nqnA+conn))
	if err != nil || len(v.Controllers) != 1 || v.Controllers[0].Scope.Host.ID != "11111111-2222-3333-4444-55555555555a" {
		t.Errorf("%+v, %v, %v", v, problems, err)
	}
	v, problems, err = LoadStac(set(t, "[Host]\n"+nqnB+conn))
	if err != nil || len(v.Controllers) != 0 || !v.Incomplete || !says(problems, "hostnqn without hostid") {
		t.Errorf("%+v, %v, %v", v, problems, err)
	}
}

func TestBothSetsOfFiles(t *testing.T) {
	dir := t.TempDir()
	f := Files{
		Own: write(t, dir, "stacd.conf", `[Global]
kato=11
queue-size=32
[Controllers]
controller=transport=tcp;traddr=192.0.2.1;nqn=nqn.2014-08.org.example:s;kato=12
controller=transport=tcp;traddr=192.0.2.2;nqn=nqn.2014-08.org.example:s
`),
		Fabrics: write(t, dir, "nvme-stas.conf", `[I/O Controller Defaults]
queue-size=
[Subsystem]
nqn=nqn.2014-08.org.example:s
controller=transport=tcp;traddr=192.0.2.1;trsvcid=4420
`),
	}
	v, problems, err := LoadStac(f)
	if err != nil || len(v.Controllers) != 2 {
		t.Fatalf("%+v, %v, %v", v, problems, err)
	}
	if !says(problems, filepath.Join(dir, "nvme-stas.conf")+":5: [Subsystem] controller: the same connection as in "+f.Own+":5; this later line counts") {
		t.Errorf("problems: %v", problems)
	}
	if got := spelled(v.Controllers[0].Params); got != "" {
		t.Errorf("nvme-stas.conf wins, but the parameters are %q", got)
	}
	if got := spelled(v.Controllers[1].Params); got != "kato=11 queue-size=32" {
		t.Errorf("a line of stacd.conf gets %q", got)
	}
	if got := spelled(v.Defaults); got != "kato=11" {
		t.Errorf("discovered controllers get %q", got)
	}
}

func TestUnusableSecretsConnectNothing(t *testing.T) {
	for _, key := range []string{"tls-key=hunter2hunter2", "kxchap-secret=hunter2hunter2", "dhchap-ctrl-secret=DHHC-1:hunter2hunter2"} {
		v, problems, err := LoadStac(set(t, "[Subsystem]\nnqn=nqn.2014-08.org.example:s\n"+key+"\ncontroller=transport=tcp;traddr=192.0.2.1\n"))
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Controllers) != 0 || !v.Incomplete || len(problems) == 0 || says(problems, "hunter2") {
			t.Errorf("%s: %+v, %v", key, v.Controllers, problems)
		}
	}
}

// TestPersistentIsReset: an empty persistent= undoes the default of the main file, and lines of stafd.conf go by that file.
func TestPersistentIsReset(t *testing.T) {
	f := set(t, "[Discovery Controller Defaults]\npersistent=no\n[Discovery Controller]\npersistent=\ncontroller=transport=tcp;traddr=192.0.2.1\n"+
		"[Discovery Controller]\ncontroller=transport=tcp;traddr=192.0.2.2\n")
	staf, _, err := LoadStaf(Files{Own: write(t, t.TempDir(), "stafd.conf", "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.3\n"), Fabrics: f.Fabrics})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]Persistence)
	for _, c := range staf.Controllers {
		got[c.Traddr] = cmp.Or(c.Persistent, staf.Persistent) // as the finder has it
	}
	if got["192.0.2.1"] != PersistHold || got["192.0.2.2"] != PersistNo || got["192.0.2.3"] != PersistHold || staf.Persistent != PersistNo {
		t.Errorf("%v, discovered %v", got, staf.Persistent)
	}
}
