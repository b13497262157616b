package config

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRemediesWork runs the remedy of every problem in the golden cases until none is left, and
// checks that what is in force stays what it was. (duplicate-connect is told to be given up, and a
// trailing comment was meant as one.)
func TestRemediesWork(t *testing.T) {
	if testing.Short() {
		t.Skip("runs some hundred shell commands")
	}
	stafd := func(path string) (any, []Problem, error) { return noted(LoadStaf(Files{Own: path})) }
	stacd := func(path string) (any, []Problem, error) { return noted(LoadStac(Files{Own: path})) }
	for name, load := range map[string]func(string) (any, []Problem, error){"stafd": stafd, "stacd": stacd} {
		for _, text := range goldenInputs(t, name) {
			remedy(t, text, load)
		}
	}
	for _, text := range []string{
		"[Nonsense]\na=b\n# c\nd=e\n[Global]\ntron=true\n[Nonsense]\n",
		"[Controllers]\ncontroller = transport=tcp;traddr=192.0.2.1\n  exclude=host-iface=eth0\n  more\n",
		"[Controllers]\ncontroller = transport=tcp;traddr=192.0.2.1\ncontroller = transport=tcp;traddr=192.0.2.1;kato=7\n",
		"[Global]\npersistent-connections=false\n[" + dcSection + "]\npersistent-connections=true\n",
		"[Global]\npersistent-connections=true\n[" + dcSection + "]\npersistent-connections=false\n",
		"[" + dcSection + "]\ndc-giveup-timeout=1h\nzeroconf-connections-persistence=2h\n",
		"[Global] x]\ntron=true\n",
		"[Global]\ntrom=1\nzeroconf=disabled\n%=1",
	} {
		remedy(t, text, stafd)
	}
	remedy(t, "[Global]\nsticky-connections=enabled\n["+ioSection+"]\ndisconnect-scope=only-stas-connections\n", stacd)
}

func goldenInputs(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".golden"))
	if err != nil {
		t.Fatal(err)
	}
	var inputs []string
	for section := range strings.SplitSeq(string(text), "\n\n") {
		if !regexp.MustCompile(`(?m)^(error|warning): `).MatchString(section) {
			continue
		}
		var input strings.Builder
		for line := range strings.Lines(section) {
			if rest, ok := strings.CutPrefix(line, "| "); ok {
				input.WriteString(rest)
			}
		}
		inputs = append(inputs, input.String())
	}
	return inputs
}

func remedy(t *testing.T, text string, load func(string) (any, []Problem, error)) {
	t.Helper()
	path := write(t, t.TempDir(), "a b's.conf", text)
	before, problems, err := load(path)
	if err != nil {
		return
	}
	for range 8 {
		if len(problems) == 0 {
			break
		}
		p := problems[0]
		if out, err := exec.Command("sh", "-c", p.Remedy).CombinedOutput(); err != nil {
			t.Fatalf("%q: %s: %v: %s", text, p.Remedy, err, out)
		}
		after, left, err := load(path)
		if err != nil {
			t.Fatalf("%q: after %s: %v", text, p.Remedy, err)
		}
		if slices.ContainsFunc(left, func(q Problem) bool { return q.ID == p.ID && q.Line == p.Line }) && len(left) >= len(problems) {
			now, _ := os.ReadFile(path)
			t.Fatalf("%q: after %s there are still %v\n%s", text, p.Remedy, left, now)
		}
		if was, is := inForce(before), inForce(after); was != is && p.ID != TrailingComment && !strings.Contains(text, "duplicate-connect") {
			t.Fatalf("%q: %s changes what is in force:\n%s\n%s", text, p.Remedy, was, is)
		}
		problems = left
	}
	if len(problems) > 0 {
		t.Errorf("%q: %v", text, problems)
	}
}

// inForce spells a configuration without what remedies may change: where lines stand, and
// whether one is missing.
func inForce(v any) string {
	list := differences(reflect.Zero(reflect.TypeOf(v)), reflect.ValueOf(v), "")
	var kept []string
	for _, s := range list {
		if !strings.Contains(s, ".Where ") && !strings.Contains(s, "Incomplete") {
			kept = append(kept, s)
		}
	}
	return strings.Join(kept, "\n")
}
