package kernel

import (
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/tid"
)

func TestKeyringIn(t *testing.T) {
	const keys = `0a1b2c3d I--Q---     1 perm 3f010000     0     0 user      mine: 5
12345678 I------     2 perm 1f0b0000     0     0 keyring   .nvme: 1
22345678 I------     2 perm 1f0b0000     0     0 keyring   .nvme-other: empty
short
`
	if n, err := keyringIn(strings.NewReader(keys), ".nvme"); err != nil || n != 0x12345678 {
		t.Errorf("keyringIn = %x, %v", n, err)
	}
	if _, err := keyringIn(strings.NewReader(keys), "mine"); err == nil {
		t.Error("a key is taken for a keyring")
	}
}

func TestSerialNumber(t *testing.T) {
	for s, want := range map[string]int{
		"1": 1, "2147483647": 1<<31 - 1, "0x1f": 31, "0x7fffffff": 1<<31 - 1,
		"": 0, "0": 0, "0x": 0, "-1": 0, "+1": 0, "2147483648": 0, "0x80000000": 0, ".nvme": 0, "12x": 0, "1_0": 0, "NVMeTLSkey-1:01:": 0,
	} {
		if n, ok := serialNumber(s); n != want && ok || ok != (want > 0) {
			t.Errorf("%q: %d, %v; want %d", s, n, ok, want)
		}
	}
}

func TestIdentityOf(t *testing.T) {
	for identity, want := range map[string]bool{
		"NVMe0R01 nqn.a nqn.b":     true,
		"NVMe1R02 nqn.a nqn.b abc": true,
		"NVMe1G02 nqn.a nqn.b abc": true,
		"NVMe1R02 nqn.a nqn.bc":    false, // another subsystem
		"NVMe1R02 nqn.a nqn.bc x":  false,
		"NVMe1R02 nqn.aa nqn.b":    false,
		"NVMe2R02 nqn.a nqn.b":     false,
		"NVMe1X02 nqn.a nqn.b":     false,
		"NVMe1":                    false,
		"":                         false,
	} {
		if got := isIdentityOf(identity, "nqn.a nqn.b"); got != want {
			t.Errorf("%q: %v", identity, got)
		}
	}
}

// A key that is given has TLS used; tls=false keeps it from being looked at.
func TestWantedTLS(t *testing.T) {
	for name, c := range map[string]struct {
		params tid.Params
		want   bool
	}{
		"nothing":        {tid.Params{}, false},
		"flag":           {tid.Params{TLS: tid.On}, true},
		"key":            {tid.Params{TLSKey: tid.NewSecret("7")}, true},
		"identity":       {tid.Params{TLSKeyIdentity: "NVMe0R01 a b"}, true},
		"keyring alone":  {tid.Params{Keyring: ".nvme"}, false},
		"key, but off":   {tid.Params{TLSKey: tid.NewSecret("7"), TLS: tid.Off}, false},
		"concat":         {tid.Params{Concat: tid.On}, false},
		"concat and key": {tid.Params{Concat: tid.On, TLSKey: tid.NewSecret("7")}, false},
	} {
		w := newWanted(ConnectRequest{Params: c.params})
		if w.has("tls") != c.want {
			t.Errorf("%s: tls = %v", name, !c.want)
		}
	}
	keys, err := findKeys(&wanted{TLSKey: "7"})
	if err != nil || keys != (tlsKeys{}) {
		t.Errorf("a key without TLS: %v, %v", keys, err)
	}
	if keys, err = findKeys(&wanted{TLSKey: "0x10", Options: [][2]string{{"tls", ""}}}); err != nil || keys != (tlsKeys{key: "16"}) {
		t.Errorf("a serial number: %v, %v", keys, err)
	}
}
