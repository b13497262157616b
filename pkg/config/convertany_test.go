package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stas-go/stas/pkg/tid"
)

// anyOwnFile draws a 2.x file that is valid: defaults, controllers in every shape, exclusions.
func anyOwnFile(rt *rapid.T, discovery bool) string {
	var b strings.Builder
	pick := func(label string, words ...string) string { return rapid.SampledFrom(words).Draw(rt, label) }
	maybe := func(label string) bool { return rapid.Bool().Draw(rt, label) }
	const (
		secretB = "DHHC-1:00:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eX2D3HOZI:"
		tlsKey  = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"
	)
	values := map[string][]string{
		"hdr-digest": {"true", "false"}, "data-digest": {"true", "false"}, "disable-sqflow": {"true", "false"}, "kato": {"0", "7", "45"},
		"queue-size": {"16", "1024"}, "reconnect-delay": {"1", "9"}, "ctrl-loss-tmo": {"-1", "0", "600"}, "fast-io-fail-tmo": {"-1", "5"}, "tos": {"0", "7"},
		"tls": {"true", "false"}, "concat": {"true", "false"}, "keyring": {".nvme", "0x12"}, "tls-key-identity": {"NVMe0R01 a b"}, "tls-key": {tlsKey, "4711"},
	}
	line := map[string][]string{
		"duplicate-connect": {"true", "false"}, "dhchap-secret": {secretA, secretB}, "dhchap-ctrl-secret": {secretA, secretB},
		"nr-io-queues": {"1", "8"}, "nr-write-queues": {"2"}, "nr-poll-queues": {"3"},
	}
	keys := func(m map[string][]string) []string {
		var list []string
		for k := range m {
			list = append(list, k)
		}
		slices.Sort(list)
		return list
	}
	// At one level both make no sense, and the kernel refuses them.
	both := func(k, text string) bool { return k == "tls" && strings.Contains(text, "concat=") }
	b.WriteString("[Global]\n")
	for _, k := range keys(values) {
		if both(k, b.String()) {
			continue
		}
		if rapid.IntRange(0, 3).Draw(rt, "default "+k) == 0 {
			fmt.Fprintf(&b, "%s=%s\n", k, pick(k, values[k]...))
		}
	}
	b.WriteString("[Controllers]\n")
	for n := range rapid.IntRange(0, 5).Draw(rt, "controllers") {
		begin := b.Len()
		switch pick("transport", "tcp", "rdma", "fc", "loop", "name") {
		case "tcp":
			fmt.Fprintf(&b, "controller=transport=tcp;traddr=192.0.2.%d", n+1)
			if maybe("iface") {
				b.WriteString(";host-iface=eth" + pick("iface", "0", "1.7"))
			}
			if maybe("host-traddr") {
				b.WriteString(";host-traddr=192.0.2.200")
			}
		case "rdma":
			fmt.Fprintf(&b, "controller=transport=rdma;traddr=2001:db8::%d;trsvcid=%s", n+1, pick("port", "4420", "4421"))
		case "fc":
			fmt.Fprintf(&b, "controller=transport=fc;traddr=nn-0x%d:pn-0x2;host-traddr=nn-0x8:pn-0x9", n+1)
		case "loop":
			b.WriteString("controller=transport=loop")
		default:
			fmt.Fprintf(&b, "controller=transport=tcp;traddr=array%d.example.com;trsvcid=%s", n, pick("port", "8009", "4420"))
		}
		if !discovery || maybe("nqn") {
			b.WriteString(";nqn=nqn.2014-08.org.example:" + pick("nqn", "a", "b"))
		}
		if rapid.IntRange(0, 2).Draw(rt, "host") == 0 {
			b.WriteString(";host-nqn=" + pick("host", nqnA, nqnB, "nqn.2014-08.org.nvmexpress:uuid:"+uuidB))
		}
		if discovery && maybe("persistent") {
			b.WriteString(";persistent=" + pick("persistent", "force", "auto", "no"))
		}
		for _, m := range []map[string][]string{values, line} {
			for _, k := range keys(m) {
				if own := b.String()[begin:]; !both(k, own) && rapid.IntRange(0, 5).Draw(rt, "own "+k) == 0 {
					fmt.Fprintf(&b, ";%s=%s", k, pick(k, m[k]...))
				}
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestConvertAnything: whatever 2.x files say about connections, those of 3.x that they are converted to say the same, and so do
// the 2.x ones that those are converted back to. What cannot be said is told.
func TestConvertAnything(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		put := func(sub string, files []Text) {
			for _, f := range files {
				path := filepath.Join(dir, sub, f.Name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					rt.Fatal(err)
				}
				if err := os.WriteFile(path, f.Bytes(), 0o600); err != nil {
					rt.Fatal(err)
				}
			}
		}
		load := func(sub string) (*Staf, *Stac) {
			fabrics := filepath.Join(dir, sub, "nvme-stas.conf")
			staf, p1, err1 := LoadStaf(Files{Own: filepath.Join(dir, sub, "stafd.conf"), Fabrics: fabrics})
			stac, p2, err2 := LoadStac(Files{Own: filepath.Join(dir, sub, "stacd.conf"), Fabrics: fabrics})
			if err1 != nil || err2 != nil {
				rt.Fatal(err1, err2)
			}
			for _, p := range append(p1, p2...) {
				if p.Severity == Error {
					rt.Fatalf("%s: %v", sub, p)
				}
			}
			return staf, stac
		}
		put("2", []Text{{"stafd.conf", []byte(anyOwnFile(rt, true))}, {"stacd.conf", []byte(anyOwnFile(rt, false))}})
		staf, stac := load("2")
		same := func(what string, staf1, staf2 *Staf, stac1, stac2 *Stac) {
			for _, c := range []struct{ before, after Common }{{staf1.Common, staf2.Common}, {stac1.Common, stac2.Common}} {
				if b, a := everything(c.before.Controllers), everything(c.after.Controllers); !slices.Equal(b, a) {
					rt.Errorf("%s:\n%s\nbecame\n%s", what, strings.Join(b, "\n"), strings.Join(a, "\n"))
				}
				if c.before.Defaults != c.after.Defaults {
					rt.Errorf("%s: defaults %s became %s", what, spelled(c.before.Defaults), spelled(c.after.Defaults))
				}
			}
		}
		files, notes := ToFabrics(staf, stac)
		if len(notes) > 0 {
			rt.Errorf("notes: %q", notes)
		}
		put("3", files)
		staf3, stac3 := load("3")
		same("2.x to 3.x", staf, staf3, stac, stac3)
		files, notes = ToOwn(staf3, stac3)
		if len(notes) > 0 {
			rt.Errorf("notes on the way back: %q", notes)
		}
		put("back", files)
		staf2, stac2 := load("back")
		same("3.x to 2.x", staf3, staf2, stac3, stac2)
	})
}

// everything spells all that counts of connections, secrets too, in a stable order. To the kernel a flag is there or not.
func everything(list []Controller) []string {
	var s []string
	for _, c := range list {
		p := c.Params
		p.TLS = tid.SetFlag(p.WantsTLS())
		for i := range params {
			if flag := params[i].flag; flag != nil && *flag(&p) == tid.Off {
				*flag(&p) = tid.Unset
			}
		}
		s = append(s, fmt.Sprintf("%s %s %s %s %s %s %s", c.Kind, c.address(), spelled(p), c.Persistent, p.DHCHAPSecret.Reveal(), p.DHCHAPCtrl.Reveal(), p.TLSKey.Reveal()))
	}
	slices.Sort(s)
	return s
}
