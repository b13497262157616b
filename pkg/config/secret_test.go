package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecretsStayInside puts a secret wherever one may stand, well and badly spelled, and looks for
// any 8 characters of its base64 in everything that the package gives, however it is shown.
func TestSecretsStayInside(t *testing.T) {
	const key = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH"
	const tls = "NVMeTLSkey-1:01:" + key + ":"
	dir := t.TempDir()
	line := "controller=transport=tcp;traddr=192.0.2.1;nqn=nqn.2014-08.org.a;"
	own := write(t, dir, "own.conf", "[Global]\nsticky-connections="+secretA+"\npersistent-connections="+secretA+"\ntls-key=4711\nqueue-size="+secretA+"\n"+secretA+"\nfoo="+secretA+"\n[Controllers]\n"+
		line+"dhchap-secret="+secretA+";dhchap-ctrl-secret="+secretA+"\n"+
		line+"host-iface=a;dhchap-secet="+secretA+";"+secretA+"\n"+
		line+"host-iface=b;dhchap-secret="+secretA+"x\n"+
		line+"host-iface=c;kato="+secretA+"\n"+
		line+"host-iface="+secretA+"\n"+
		secretA+"\nexclude="+secretA+"\nexclude=dhchap-secret="+secretA+"\n")
	fabrics := write(t, dir, "nvme-stas.conf", "[Host]\nkxchap-secret="+secretA+"\nfoo="+secretA+"\n[Subsystem]\nnqn=nqn.2014-08.org.b\nkxchap-ctrl-secret="+secretA+
		"\ntls-key=123\ncontroller=transport=tcp;traddr=192.0.2.2\n")
	badFabrics := write(t, dir, "bad.conf", "[Subsystem]\nnqn="+secretA+"\nkxchap-secret "+secretA+"\ncontroller=transport=tcp;traddr=h;kxchap-secret="+secretA+"\nqueue-size="+secretA+"\n")
	badHeader := write(t, dir, "header.conf", "["+secretA+"\nx=y\n")
	badTLS := write(t, dir, "tls.conf", "[Global]\ntls-key="+tls+"x\nkeyring="+tls+" y\n")
	sys := write(t, dir, "sys.conf", "[Host]\nkey="+secretA+"\nctrl-key="+secretA+"x\nnqn="+secretA+"\nid="+secretA+"\nsymname="+secretA+"ü\nkye="+secretA+"\n")
	write(t, dir, "hostnqn", nqnA)
	write(t, dir, "hostid", uuidA)
	write(t, dir, "hostkey", secretA)

	var given []any
	keep := func(values ...any) { given = append(given, values...) }
	staf, problems, err := LoadStaf(Files{Own: own, Fabrics: fabrics})
	keep(staf, problems, err)
	stac, problems, err := LoadStac(Files{Own: own, Fabrics: fabrics})
	keep(stac, problems, err)
	if stac == nil || len(stac.Controllers) < 2 || stac.Controllers[0].Params.DHCHAPSecret.IsZero() {
		t.Fatal("there is no secret to be found")
	}
	files, notes := ToFabrics(staf, stac)
	keep(files, notes)
	files, notes = ToOwn(staf, stac)
	keep(files, notes)
	for _, f := range []Files{{Own: own, Fabrics: badFabrics}, {Own: badTLS}, {Own: badHeader}, {Own: own, Fabrics: badHeader}} {
		stac := StacSource{Files: f}
		_, problems := stac.Load()
		keep(problems)
		v, problems, err := LoadStac(f)
		keep(v, problems, err)
	}
	source := StacSource{Files: Files{Own: own, Fabrics: fabrics}}
	v, problems := source.Load()
	keep(v, problems, source, &source)
	for _, path := range []string{sys, filepath.Join(dir, "absent.conf")} {
		i, problems := LoadIdentity(path, dir)
		keep(i, problems, i.Params())
		s := IdentitySource{SysConf: path, Dir: dir}
		i, problems = s.Load()
		keep(i, problems, s, &s)
	}
	var all strings.Builder
	log := slog.New(slog.NewTextHandler(&all, nil))
	for _, g := range given {
		if err, ok := g.(error); ok {
			g = errors.Join(err)
		}
		fmt.Fprintf(&all, "%v\n%+v\n%#v\n%s\n%q\n%x\n", g, g, g, g, g, g)
		text, _ := json.Marshal(g)
		all.Write(text)
		log.Info("x", "given", g)
	}
	for i := range len(key) - 8 {
		part := key[i : i+8]
		if at := strings.Index(all.String(), part); at >= 0 {
			t.Fatalf("%s shows in ...%s...", part, all.String()[max(0, at-200):min(at+60, all.Len())])
		}
		if strings.Contains(all.String(), fmt.Sprintf("%x", part)) {
			t.Fatalf("%s shows in hexadecimal", part)
		}
	}
}
