package config

import (
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/tid"
)

// A key that a line or section has of its own is used, also where TLS is off for all.
func TestKeyMeansTLS(t *testing.T) {
	const key = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"
	dir := t.TempDir()
	line := "transport=tcp;traddr=192.0.2."
	main := write(t, dir, "stacd.conf", strings.Join([]string{"[Global]", "tls=false", "[Controllers]",
		"controller=" + line + "1;nqn=nqn.2026-01.test:a",
		"controller=" + line + "2;nqn=nqn.2026-01.test:a;tls-key=" + key,
		"controller=" + line + "3;nqn=nqn.2026-01.test:a;tls-key=" + key + ";tls=false",
		"controller=" + line + "4;nqn=nqn.2026-01.test:a;tls-key-identity=NVMe0R01 a b",
		"controller=" + line + "5;nqn=nqn.2026-01.test:a;tls=true", ""}, "\n"))
	fabrics := write(t, dir, "nvme-stas.conf", strings.Join([]string{"[I/O Controller Defaults]", "tls = no",
		"[Subsystem]", "nqn = nqn.2026-01.test:b", "tls-key = " + key, "controller = " + line + "6",
		"[Subsystem]", "nqn = nqn.2026-01.test:b", "tls-key = " + key, "tls = no", "controller = " + line + "7",
		"[Subsystem]", "nqn = nqn.2026-01.test:b", "controller = " + line + "8", ""}, "\n"))
	stac, problems, err := LoadStac(Files{Own: main, Fabrics: fabrics})
	if err != nil || len(stac.Controllers) != 8 {
		t.Fatalf("%d controllers, %v, %v", len(stac.Controllers), err, problems)
	}
	for _, c := range stac.Controllers {
		want := strings.Contains("2456", c.Traddr[len(c.Traddr)-1:])
		if c.Params.WantsTLS() != want {
			t.Errorf("%s: TLS %v", c.Traddr, c.Params.WantsTLS())
		}
	}
	if stac.Defaults.TLS != tid.Off {
		t.Errorf("defaults: %v", stac.Defaults.TLS)
	}
}

// TestOneWayToSecure: tls and concat exclude each other in the kernel, and what is said more closely goes before what is said for all,
// in both grammars alike.
func TestOneWayToSecure(t *testing.T) {
	const key = "tls-key=4711"
	for _, c := range []struct {
		all, own string
		want     string
	}{
		{"concat=true", "", "concat"},
		{"concat=true", "tls=true", "tls"},
		{"concat=true", key, "tls"},
		{"tls=true", "concat=true", "concat"},
		{"tls=true", "concat=false", "tls"},
		{"tls=false", key, "tls"},
		{"tls=false\nconcat=true", key, "tls"},
		{"concat=true", key + "|tls=false", "concat"},
		{"tls=true", key + "|concat=true", "concat"},
		{key, "concat=true", "concat"},
		{"", "tls=true|concat=true", "tls concat"}, // which the kernel refuses
	} {
		dir := t.TempDir()
		own := strings.ReplaceAll(c.own, "|", ";")
		two := Files{Own: write(t, dir, "stacd.conf", "[Global]\n"+c.all+"\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1;nqn=nqn.2014-08.org.example:a;"+own+"\n")}
		three := Files{Own: write(t, dir, "none.conf", ""), Fabrics: write(t, dir, "nvme-stas.conf", "[I/O Controller Defaults]\n"+c.all+
			"\n[Subsystem]\nnqn=nqn.2014-08.org.example:a\n"+strings.ReplaceAll(c.own, "|", "\n")+"\ncontroller=transport=tcp;traddr=192.0.2.1\n")}
		for name, f := range map[string]Files{"2.x": two, "3.x": three} {
			v, problems, err := LoadStac(f)
			if err != nil || len(problems) > 0 || len(v.Controllers) != 1 {
				t.Fatal(v, problems, err)
			}
			var got []string
			if v.Controllers[0].Params.WantsTLS() {
				got = append(got, "tls")
			}
			if v.Controllers[0].Params.Concat == tid.On {
				got = append(got, "concat")
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("%s: %q for all and %q for one is %q, want %q", name, c.all, c.own, s, c.want)
			}
		}
	}
}
