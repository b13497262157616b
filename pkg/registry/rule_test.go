package registry

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const rulesDir = "../../systemd/udev"

// removeLine is the shell line of the udev rule for controllers that went, as udev would
// run it after its own substitutions.
func removeLine(t *testing.T, base, name, seqnum string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rulesDir, "70-stas-registry.rules"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^ACTION=="remove", SUBSYSTEM=="nvme", KERNEL=="nvme\[0-9\]\*", RUN\+="/bin/sh -c '([^'"]*)'"$`).FindSubmatch(text)
	if m == nil {
		t.Fatal("the rule does not look as expected")
	}
	line := strings.NewReplacer(
		"/run/nvme/registry", filepath.Join(base, "run/nvme/registry"),
		"/dev/", filepath.Join(base, "dev")+"/",
		"%k", name,
		"$env{SEQNUM}", seqnum,
		"$$", "$",
	).Replace(string(m[1]))
	if regexp.MustCompile(`%|\$env|\$\$|\\`).MatchString(line) {
		t.Fatalf("udev would read something into %s", line)
	}
	return line
}

// shells that stand behind /bin/sh somewhere.
func shells() [][]string {
	list := [][]string{{"/bin/sh", "-c"}}
	for _, sh := range [][]string{{"dash", "-c"}, {"bash", "--posix", "-c"}, {"busybox", "sh", "-c"}} {
		if path, err := exec.LookPath(sh[0]); err == nil {
			list = append(list, append([]string{path}, sh[1:]...))
		}
	}
	return list
}

// runRule is what udev does when name is removed with the event number seqnum.
func (h *host) runRule(shell []string, name, seqnum string) {
	h.t.Helper()
	cmd := exec.Command(shell[0], append(shell[1:len(shell):len(shell)], removeLine(h.t, h.base, name, seqnum))...)
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Errorf("%v: %v\n%s", shell, err, out)
	}
}

// TC-13 .. TC-16 and the other rows of the table of situations.
func TestRuleForRemovedControllers(t *testing.T) {
	const noStamp = "no stamp"
	cases := []struct {
		what, stamp, seqnum string
		node, kept          bool
	}{
		{"TC-13", "100\n", "150", false, false},
		{"one later", "100\n", "101", false, false},
		{"TC-14 same", "100\n", "100", false, true},
		{"TC-14 earlier", "100\n", "99", false, true},
		{"as numbers, not as text", "1000\n", "999", false, true},
		{"as numbers, not as text", "999\n", "1000", false, false},
		{"leading zeros are decimal", "0100\n", "99", false, true},
		{"leading zeros are decimal", "0100\n", "101", false, false},
		{"no line end", "100", "99", false, true},
		{"TC-15 no stamp", noStamp, "150", false, false},
		{"TC-15 no number", "abc\n", "150", false, false},
		{"empty file", "", "150", false, false},
		{"empty line", "\n", "150", false, false},
		{"negative", "-200\n", "150", false, false},
		{"two words", "200 300\n", "150", false, false},
		{"glob", "*\n", "150", false, false},
		{"shell", "$(touch /tmp/x)\n", "150", false, false},
		{"largest that a shell can", "9223372036854775807\n", "150", false, true},
		{"too large for a shell", "99999999999999999999\n", "150", false, false},
		{"TC-16 node", "100\n", "150", true, true},
		{"TC-16 node, no stamp", noStamp, "150", true, true},
		{"TC-16 node, no number", "abc\n", "150", true, true},
	}
	for _, shell := range shells() {
		for _, c := range cases {
			t.Run(filepath.Base(shell[0])+"/"+c.what, func(t *testing.T) {
				h := newHost(t)
				h.file("nvme3", "owner", "stas\n")
				h.file("nvme33", "owner", "stas\n")
				if c.stamp != noStamp {
					h.file("nvme3", "seqnum", c.stamp)
				}
				if c.node {
					h.device("nvme3")
				}
				h.runRule(shell, "nvme3", c.seqnum)
				want := "nvme33"
				if c.kept {
					want = "nvme3 nvme33"
				}
				if got := strings.Join(h.all(), " "); got != want {
					t.Errorf("stamp %q, event %s, node %v: left %q, want %q", c.stamp, c.seqnum, c.node, got, want)
				}
			})
		}
	}
}

func TestRuleWithoutAnEntry(t *testing.T) {
	for _, shell := range shells() {
		h := newHost(t)
		h.runRule(shell, "nvme3", "150")
		h.must(os.MkdirAll(h.Root(), 0o755))
		h.runRule(shell, "nvme3", "150")
		if left := h.all(); left != nil {
			t.Errorf("left: %v", left)
		}
	}
}

// TC-17: the name was given to a new connection before the rule for the old one ran.
func TestRuleSparesTheEntryOfARecycledName(t *testing.T) {
	for _, shell := range shells() {
		h := newHost(t)
		_, err := h.Create("nvme3", Stas, nil)
		h.must(err)
		h.seqnum("120") // the removal of the old one was event 120
		seqnum, err := h.Create("nvme3", Stas, nil)
		h.must(err)
		h.runRule(shell, "nvme3", "120")
		h.owner("nvme3", OwnedBy(Stas))
		if got, _ := h.Attr("nvme3", AttrSeqnum); got != seqnum || seqnum != "120" {
			t.Errorf("stamp %q, wrote %q", got, seqnum)
		}
		h.runRule(shell, "nvme3", "121")
		if left := h.all(); left != nil {
			t.Errorf("left: %v", left)
		}
	}
}

// The name is given to a new connection, and its entry written, after the rule has looked at the old entry and
// before it moves it.
func TestRulePutsBackWhatItMovedByMistake(t *testing.T) {
	mv, err := exec.LookPath("mv")
	if err != nil {
		t.Fatal(err)
	}
	path := os.Getenv("PATH")
	for _, shell := range shells() {
		h := newHost(t)
		h.file("nvme3", "owner", "stas\n")
		h.file("nvme3", "seqnum", "100\n")
		entry, bin := filepath.Join(h.Root(), "nvme3"), t.TempDir()
		script := "#!/bin/sh\n[ -e " + bin + "/done ] || { echo 200 >" + entry + "/seqnum; : >" + bin + "/done; }\nexec " + mv + " \"$@\"\n"
		h.must(os.WriteFile(filepath.Join(bin, "mv"), []byte(script), 0o755))
		t.Setenv("PATH", bin+":"+path)
		h.runRule(shell, "nvme3", "150")
		if left := strings.Join(h.all(), " "); left != "nvme3" {
			t.Errorf("%v left %q", shell, left)
		}
		h.owner("nvme3", OwnedBy(Stas))
		h.runRule(shell, "nvme3", "250")
		if left := h.all(); left != nil {
			t.Errorf("left: %v", left)
		}
	}
}

// Both files: the rule of libnvme goes first, and only plain rule lines are in them.
func TestRuleFilesAreWellFormed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(rulesDir, "70-stas-registry.rules"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if first != `TEST=="/usr/lib/udev/rules.d/70-nvmf-registry.rules", GOTO="stas_registry_end"` {
		t.Errorf("first line is %s", first)
	}
	key := regexp.MustCompile(`^(ACTION|SUBSYSTEM|KERNEL|TEST|ENV\{NVME_(AEN|EVENT)\}|ATTR\{cntrltype\}|PROGRAM|RESULT|RUN|GOTO|LABEL)(==|!=|=|\+=)"[^"]*"$`)
	for _, file := range []string{"69-stas.rules", "70-stas-registry.rules"} {
		text, err := os.ReadFile(filepath.Join(rulesDir, file))
		if err != nil {
			t.Fatal(err)
		}
		labels, jumps := map[string]bool{}, map[string]bool{}
		for i, line := range strings.Split(string(text), "\n") {
			if line == "" || line[0] == '#' {
				continue
			}
			for token := range strings.SplitSeq(strings.ReplaceAll(line, `", `, "\"\x00"), "\x00") {
				if !key.MatchString(token) {
					t.Errorf("%s:%d: %s", file, i+1, token)
				}
				if name, ok := strings.CutPrefix(token, "LABEL="); ok {
					labels[name] = true
				}
				if name, ok := strings.CutPrefix(token, "GOTO="); ok {
					jumps[name] = true
					if labels[name] {
						t.Errorf("%s:%d: jumps back", file, i+1)
					}
				}
			}
		}
		for name := range jumps {
			if !labels[name] {
				t.Errorf("%s: no label %s", file, name)
			}
		}
	}
}
