package exclusion

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// TC-41, TC-42
func TestParseFile(t *testing.T) {
	const e = "exclusion = traddr=192.168.1.10\n"
	for _, tc := range []struct {
		id, text string
		want     bool
		kinds    []Kind
	}{
		{"plain", "[exclusions]\n" + e, true, nil},
		{"TC-41 key case", "[exclusions]\nExclusion = traddr=192.168.1.10\n", false, []Kind{Suspicious}},
		{"TC-41 no section", e, false, []Kind{StrayEntry}},
		{"TC-41 section case", "[Exclusions]\n" + e, false, []Kind{Suspicious, StrayEntry}},
		{"TC-41 other section", "[exclusions]\n[other]\n" + e, false, []Kind{Suspicious, StrayEntry}},
		{"TC-41 spaces", "[ exclusions ]\n" + e, true, nil},
		{"TC-41 junk after", "[exclusions] junk\n" + e, true, nil},
		{"TC-41 again", "[exclusions]\n[other]\n[exclusions]\n" + e, true, []Kind{Suspicious}},
		{"TC-41 broken header", "[exclusions]\n[broken\n" + e, false, []Kind{BadHeader, StrayEntry}},
		{"TC-41 second bracket", "[exclusions]]\n" + e, true, nil},
		{"TC-42 inline comment", "[exclusions]\nexclusion = traddr=192.168.1.10 # old\n", false, []Kind{Suspicious}},
		{"TC-42 inline comment, transport", "[exclusions]\nexclusion = transport=tcp;traddr=192.168.1.10 # old\n", false, []Kind{BadEntry}},
		{"TC-42 comments", "# a\n[exclusions]\n#" + e + ";" + e + "\n \t# b\n" + e, true, nil},
		{"TC-42 commented out", "[exclusions]\n#" + e + " ;" + e, false, nil},
		{"TC-42 CRLF", "[exclusions]\r\nexclusion = traddr=192.168.1.10\r\n", true, nil},
		{"TC-42 indented", "\t[exclusions]\n\t  exclusion=traddr=192.168.1.10\n", true, nil},
		{"TC-42 no last line end", "[exclusions]\nexclusion=traddr=192.168.1.10", true, nil},
		{"TC-42 BOM", "\ufeff[exclusions]\n" + e, false, []Kind{Suspicious, StrayEntry}},
		{"TC-42 NUL line", "[exclusions]\n\x00\n" + e, true, []Kind{Suspicious}},
		{"TC-42 NUL in another entry", "[exclusions]\nexclusion = transport=t\x00cp\n" + e, true, []Kind{BadEntry}},
		{"TC-42 NUL cuts nothing off", "[exclusions]\nexclusion = transport=tcp\x00;traddr=10.0.0.1\n", false, []Kind{BadEntry}},
		{"TC-39 a good one follows", "[exclusions]\nexclusion=traddr=192.168.1.10;foo\n" + e, true, []Kind{BadEntry}},
		{"TC-39 alone", "[exclusions]\nexclusion=traddr=192.168.1.10;foo\n", false, []Kind{BadEntry}},
		{"TC-38 no value", "[exclusions]\nexclusion=\nexclusion = ;;;\n", false, []Kind{BadEntry, BadEntry}},
		{"no key", "[exclusions]\n=traddr=192.168.1.10\n", false, []Kind{Suspicious}},
		{"no sign", "[exclusions]\nexclusion traddr:192.168.1.10\n", false, []Kind{Suspicious}},
		{"nothing", "", false, nil},
	} {
		entries, problems := Parse(strings.NewReader(tc.text), "t.conf")
		if _, got := NewList(entries...).Match(c()); got != tc.want {
			t.Errorf("%s: excluded %v, want %v", tc.id, got, tc.want)
		}
		var kinds []Kind
		for _, p := range problems {
			kinds = append(kinds, p.Kind)
		}
		if !slices.Equal(kinds, tc.kinds) {
			t.Errorf("%s: problems %v", tc.id, problems)
		}
	}
}

func TestProblemsNameFileAndLine(t *testing.T) {
	_, problems := Parse(strings.NewReader("# x\n[exclusions]\n\nexclusion = transprot=tcp\n"), "/etc/nvme/exclusions.conf")
	const want = `/etc/nvme/exclusions.conf:4: exclusion matches nothing: malformed entry: unknown key "transprot"`
	if len(problems) != 1 || problems[0].Error() != want {
		t.Errorf("got %v", problems)
	}
}

func TestParseIsBounded(t *testing.T) {
	line := "exclusion = traddr=10.0.0.1\n"
	head := "[exclusions]\n" + strings.Repeat(line, (maxFile-13)/len(line)-1)
	// The line across the limit would match everything over tcp if it were cut.
	pad := maxFile - len(head) - len("exclusion = transport=tcp")
	text := head + strings.Repeat("#", pad-1) + "\n" + "exclusion = transport=tcp;traddr=10.0.0.2\nexclusion = trsvcid=4420\n"
	entries, problems := Parse(strings.NewReader(text), "t.conf")
	if _, ok := NewList(entries...).Match(c()); ok {
		t.Error("a line that was cut counts")
	}
	if len(entries) != strings.Count(head, "\n")-1 || len(problems) != 1 || problems[0].Kind != Unreadable {
		t.Errorf("%d entries, %v", len(entries), problems)
	}
	if entries, _ := Parse(strings.NewReader("[exclusions]\n"+line+"#"+strings.Repeat("x", 5000)+"\n"+line), ""); len(entries) != 2 {
		t.Errorf("a long line is not one line: %v", entries)
	}
	if _, problems := Parse(strings.NewReader(strings.Repeat("x\n", 10*MaxProblems)), ""); len(problems) != MaxProblems {
		t.Errorf("%d problems", len(problems))
	}
}

func TestParseWhatCannotBeRead(t *testing.T) {
	r := io.MultiReader(strings.NewReader("[exclusions]\nexclusion = transport=tcp\n"), iotest.ErrReader(errors.New("bad disk")))
	entries, problems := Parse(r, "t.conf")
	if entries != nil || len(problems) != 1 || problems[0].Kind != Unreadable || problems[0].Line != 0 {
		t.Errorf("%v, %v", entries, problems)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "[exclusions]\nexclusion = traddr=192.168.1.10\n", "[exclusions] x\r\nexclusion=transport=tcp;traddr=fe80::1%eth0;nqn=a=b\r\n",
		"[ exclusions ]\nexclusion = transport=fc;traddr=nn-0xA,pn-0xb\n[broken\nexclusion=nqn=x", "\ufeff[exclusions]\nexclusion=;;;",
		"[exclusions]\nexclusion = host-iface=eth1;hostnqn=a;hostid=b;trsvcid=1 # c\n;x\n\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		entries, problems := Parse(strings.NewReader(text), "f")
		lines := strings.Count(text, "\n") + 1
		if len(problems) > MaxProblems {
			t.Fatalf("%d problems", len(problems))
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Text == "" {
				t.Fatalf("problem %v of %d lines", p, lines)
			}
		}
		last := 0
		for _, e := range entries {
			if e.Line <= last || e.Line > lines {
				t.Fatalf("entry at line %d after %d, of %d", e.Line, last, lines)
			}
			last = e.Line
			checkEntry(t, e, ParseEntry)
		}
	})
}

func FuzzParseOwn(f *testing.F) {
	for _, seed := range []string{"", ";", "subsysnqn=a;host-nqn=b", "transport=tcp;traddr=host.example # x", "transport=fc;traddr=nn-0x1,pn-0x2", "nqn=", "a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if e, err := ParseOwn(line); err == nil {
			checkEntry(t, e, ParseOwn)
		} else if e != (Entry{}) {
			t.Fatalf("refused and not empty: %v", e)
		}
	})
}

// checkEntry holds for every valid entry: it reads back as it prints, matches what it
// describes, and matches nothing that lacks one of its fields.
func checkEntry(t *testing.T, e Entry, parse func(string) (Entry, error)) {
	t.Helper()
	again, err := parse(e.String())
	if err != nil || !again.Equal(e) || again.String() != e.String() {
		t.Fatalf("%q reads back as %q, %v", e, again, err)
	}
	conn := e.Fields()
	resolved := !probe(conn).unresolved
	if got := e.Matches(conn); got != (resolved || e.own) {
		t.Fatalf("%q on itself: %v", e, got)
	}
	for _, k := range keys {
		lacking := conn
		if *k.field(&lacking) == "" {
			continue
		}
		*k.field(&lacking) = ""
		if e.Matches(lacking) {
			t.Fatalf("%q matches without %s", e, k.name)
		}
	}
}

// Whatever stands in the wrong place in a list, a key in its standard representation is not repeated in what is said of it.
func TestProblemsTellNoKey(t *testing.T) {
	const key = "DHHC-1:00:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:"
	text := "[" + key + "]\n[exclusions]\nexclusion = " + key + "\nexclusion = " + key + "=x\nexclusion = transport=tcp;traddr=" + key + "\nexclusion=transport=fc;host-traddr=" + key + "\n" + key + "\n"
	entries, problems := Parse(strings.NewReader(text), "x.conf")
	if len(entries) != 0 || len(problems) < 6 {
		t.Fatalf("%v, %v", entries, problems)
	}
	for _, p := range problems {
		if strings.Contains(p.Error(), "AQIDBAUG") {
			t.Errorf("%v", p)
		}
	}
	if _, err := ParseOwn("transport=tcp;" + key); err == nil || strings.Contains(err.Error(), "AQIDBAUG") {
		t.Error(err)
	}
}
