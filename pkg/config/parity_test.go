package config

import (
	"strings"
	"testing"
)

// TestReadsWhatConfigParserReads holds what Python's configparser makes of a file with the options of
// nvme-stas 2.4 (no interpolation, no default section, "=" only, repeated keys kept, keys without
// value allowed), and where reading differs on purpose.
func TestReadsWhatConfigParserReads(t *testing.T) {
	for _, c := range []struct {
		text      string
		want      string // SECTION/KEY=VALUE|VALUE, by section and key as they first appear
		exception string
		otherwise string // why it is read otherwise here
	}{
		{"[Global]\ntron=true\n", "Global/tron=true", "", ""},
		{"[Global]\nTRON = true \n", "Global/tron=true", "", ""},
		{"[Global]\ntron : true\n", "Global/tron : true=<none>", "", ""},
		{"[Global]\ntron=true\ntron=false\n", "Global/tron=true|false", "", ""},
		{"[Controllers]\ncontroller=a;b=c\ncontroller = d\ncontroller=a;b=c\n", "Controllers/controller=a;b=c|d|a;b=c", "", ""},
		{"[Controllers]\ncontroller = transport=tcp;traddr=[fe80::1%eth0]\n", "Controllers/controller=transport=tcp;traddr=[fe80::1%eth0]", "", ""},
		{"[Controllers]\ncontroller=x # y\ncontroller=z ; w\n", "Controllers/controller=x # y|z ; w", "", ""},
		{"# c\n[Global]\n; d\n  # e\ntron=true\n", "Global/tron=true", "", ""},
		{"[Global]\ntron=\n", "Global/tron=", "", ""},
		{"[Global]\n\n\ntron=a\n\nkato=1\n", "Global/tron=a Global/kato=1", "", ""},
		{"[Global]\r\ntron=true\r\n", "Global/tron=true", "", ""},
		{"[Global]\ntron=\"true\"\nkato='1'\n", "Global/tron=\"true\" Global/kato='1'", "", ""},
		{"[Global]\ntron=%(x)s\n", "Global/tron=%(x)s", "", ""},
		{"[Global]\ntron=a\\\nkato=b\n", "Global/tron=a\\ Global/kato=b", "", ""},
		{"[Global]\n  tron=true\n  kato=1\n", "Global/tron=true Global/kato=1", "", ""},
		{"[a b/c]\nx=1\n", "a b/c/x=1", "", ""},
		{"[Global]\ntron=true\n[Other]\ny=1\n[Global]\nkato=2\n", "Global/tron=true Global/kato=2 Other/y=1", "", ""},
		{"[DEFAULT]\nx=1\n[Global]\ntron=true\n", "DEFAULT/x=1 Global/tron=true", "", ""},
		{"[Controllers]\ncontroller=a\n  controller=b\n", "Controllers/controller=a|controller=b", "", "a line that is indented is a line of its own"},
		{"[Controllers]\ncontroller=a\n  b\n\n  c\n", "Controllers/controller=a|b||c", "", "values do not continue on the next line"},
		{"[Global]\ntron\n", "Global/tron=<none>", "", ""},
		{"[Global] # c\ntron=true\n", "Global/tron=true", "", ""},
		{"tron=true\n", "", "MissingSectionHeaderError", ""},
		{"[Global\ntron=true\n", "", "MissingSectionHeaderError", ""},
		{"[Global]\n=true\n", "", "ParsingError", ""},
		{"[global]\ntron=true\n", "global/tron=true", "", ""},
		{"[Global]\ntron==true\n", "Global/tron==true", "", ""},
		{"[Global]\ntron = true = false\n", "Global/tron=true = false", "", ""},
		{"[Global]\n\ttron\t=\ttrue\t\n", "Global/tron=true", "", ""},
		{"[Global]\ntron=true", "Global/tron=true", "", ""},
		{"", "", "", ""},
	} {
		entries, err := parseINI("x", []byte(c.text))
		if (err != nil) != (c.exception != "") {
			t.Errorf("%q: error %v, configparser raises %q", c.text, err, c.exception)
			continue
		}
		if got := asConfigParser(entries); err == nil && (got != c.want) != (c.otherwise != "") {
			t.Errorf("%q: got %s, configparser reads %s; %s", c.text, got, c.want, c.otherwise)
		}
	}
}

func asConfigParser(entries []entry) string {
	type name struct{ section, key string }
	var sections []string
	var order []name
	values := make(map[name][]string)
	for _, e := range entries {
		if e.key == "" {
			sections = append(sections, e.section)
			continue
		}
		n := name{e.section, e.key}
		if values[n] == nil {
			order = append(order, n)
		}
		value := e.value
		if e.fault != "" {
			value = "<none>"
		}
		values[n] = append(values[n], value)
	}
	var words []string
	done := make(map[string]bool)
	for _, s := range sections {
		for _, n := range order {
			if n.section == s && !done[s] {
				words = append(words, n.section+"/"+n.key+"="+strings.Join(values[n], "|"))
			}
		}
		done[s] = true
	}
	return strings.Join(words, " ")
}
