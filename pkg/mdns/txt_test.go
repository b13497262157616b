package mdns

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stas-go/stas/pkg/nvme"
)

func split(s string) [][]byte {
	if s == "" {
		return nil
	}
	return bytes.Split([]byte(s), []byte("|"))
}

func TestParseTXT(t *testing.T) {
	for _, c := range []struct {
		in   string
		want map[string]string
	}{
		{"", map[string]string{}},
		{"p=tcp|nqn=nqn.x", map[string]string{"p": "tcp", "nqn": "nqn.x"}},
		{"P=tcp|NQN=nqn.X", map[string]string{"p": "tcp", "nqn": "nqn.X"}}, // real arrays
		{"p=tcp|P=roce|p=iwarp", map[string]string{"p": "tcp"}},            // the first wins
		{"k=a=b", map[string]string{"k": "a=b"}},
		{"noval", map[string]string{"noval": ""}},
		{"noval|noval=x", map[string]string{"noval": ""}},
		{"k=|K=x", map[string]string{"k": ""}},
		{"=x|p=tcp", map[string]string{"p": "tcp"}},
		{"|p=tcp|", map[string]string{"p": "tcp"}},
		{"k\x01=x|k\xff=x|k\x7f|p=tcp", map[string]string{"p": "tcp"}},
		{" k = x ", map[string]string{" k ": " x "}},
		{"bin=\x00\xff", map[string]string{"bin": "\x00\xff"}},
	} {
		got, err := parseTXT(split(c.in))
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q: %s", c.in, d)
		}
	}
	if _, err := parseTXT([][]byte{make([]byte, maxTXT)}); err == nil {
		t.Error("a record that no packet can carry was taken")
	}
}

func TestParseRecord(t *testing.T) {
	const nqn = "nqn.1988-11.com.dell:SFSS:1:20221122"
	for _, c := range []struct {
		in        string
		transport nvme.Transport
		nqn       string
	}{
		{"p=tcp", nvme.TCP, nvme.DiscoveryNQN},
		{"p=TCP", nvme.TCP, nvme.DiscoveryNQN},
		{"p=roce", nvme.RDMA, nvme.DiscoveryNQN},
		{"p=iwarp", nvme.RDMA, nvme.DiscoveryNQN},
		{"p=rdma|nqn=" + nqn, nvme.RDMA, nqn},
		{"NQN=" + nqn + "|P=tcp", nvme.TCP, nqn},
		{"p=tcp|nqn", nvme.TCP, nvme.DiscoveryNQN},
		{"p=tcp|nqn=", nvme.TCP, nvme.DiscoveryNQN},
	} {
		got, err := parseRecord(split(c.in))
		if err != nil || got != (record{c.transport, c.nqn}) {
			t.Errorf("%q: %+v, %v", c.in, got, err)
		}
	}
	for in, want := range map[string]string{
		"":                            `no key "p"`,
		"nqn=" + nqn:                  `no key "p"`,
		"p":                           "p=\"\"",
		"p=fc":                        "p=\"fc\"",
		"p= tcp":                      "p=\" tcp\"",
		"p=fc|p=tcp":                  "p=\"fc\"",
		"p=tcp|nqn=x":                 "does not start",
		"p=tcp|nqn=" + nqn + ",tos=1": "not allowed",
		"p=tcp|nqn=" + nqn + strings.Repeat("x", 223): "longer",
	} {
		if got, err := parseRecord(split(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want an error with %q", in, got, err, want)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, s := range []string{"", "p=tcp", "P=roce|NQN=nqn.2014-08.org.nvmexpress.discovery", "=|==|a=b=c", "p=tcp|nqn=nqn.2014-08.org\xff", "p|p=tcp"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		entries := bytes.Split(in, []byte("|"))
		pairs, err := parseTXT(entries)
		if err != nil {
			if len(in) < maxTXT {
				t.Fatalf("%q: %v", in, err)
			}
			return
		}
		for k := range pairs {
			if k == "" || k != strings.ToLower(k) || strings.ContainsRune(k, '=') || clean(k) != k {
				t.Fatalf("%q: key %q", in, k)
			}
		}
		// The first of each key, found the slow way.
		for k, v := range pairs {
			for _, e := range entries {
				key, value, _ := strings.Cut(string(e), "=")
				if strings.EqualFold(key, k) && len(key) == len(k) {
					if value != v {
						t.Fatalf("%q: %q is %q, want the first, %q", in, k, v, value)
					}
					break
				}
			}
		}
		r, err := parseRecord(entries)
		if err != nil {
			return
		}
		if r.transport != nvme.TCP && r.transport != nvme.RDMA {
			t.Fatalf("%q: transport %q", in, r.transport)
		}
		if err := nvme.CheckNQN(r.nqn); err != nil {
			t.Fatalf("%q: %v", in, err)
		}
	})
}
