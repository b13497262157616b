package connector

import (
	"testing"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// Whether a discovered controller is connected by TLS, by what its entry says and what is configured.
func TestDiscoveredTLS(t *testing.T) {
	entry := func(security nvme.SecType, treq nvme.TReq) nvme.DiscoveryEntry {
		return nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP, TReq: treq, TSAS: nvme.TSAS{SecType: security}}
	}
	key := tid.NewSecret("1")
	const neither, required, allowed = "no TLS", "TLS required", "TLS not required"
	entries := map[string]nvme.DiscoveryEntry{
		neither:  entry(nvme.SecNone, nvme.TReqRequired), // TREQ alone says nothing
		required: entry(nvme.SecTLS13, nvme.TReqRequired),
		allowed:  entry(nvme.SecTLS13, nvme.TReqNotRequired),
	}
	for _, c := range []struct {
		name   string
		params tid.Params
		want   []string // entries that are connected by TLS
	}{
		{"nothing", tid.Params{}, []string{required}},
		{"key", tid.Params{TLSKey: key}, []string{required, allowed}},
		{"identity", tid.Params{TLSKeyIdentity: "x"}, []string{required, allowed}},
		{"tls=true", tid.Params{TLS: tid.On}, []string{neither, required, allowed}},
		{"tls=false and key", tid.Params{TLS: tid.Off, TLSKey: key}, []string{required}},
		{"concat", tid.Params{Concat: tid.On}, []string{required}},
	} {
		s := newScopeParams(c.params)
		for what, e := range entries {
			p := s.of(e)
			want := false
			for _, w := range c.want {
				want = want || w == what
			}
			if p.WantsTLS() != want {
				t.Errorf("%s, entry with %s: TLS %v", c.name, what, p.WantsTLS())
			}
			if p.WantsTLS() && p.Concat == tid.On {
				t.Errorf("%s, entry with %s: both tls and concat", c.name, what)
			}
			if p.TLSKey != c.params.TLSKey {
				t.Errorf("%s, entry with %s: the key is lost", c.name, what)
			}
		}
	}
}
