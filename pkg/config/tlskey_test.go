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
