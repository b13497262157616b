package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestSamplesShowEveryKey checks that the files in etc/stas are taken without a word, and that every key
// stands there with its default: taking the comments away changes nothing.
func TestSamplesShowEveryKey(t *testing.T) {
	commented := regexp.MustCompile(`(?m)^#([a-z-]+=)`)
	empty := regexp.MustCompile(`(?m)^[a-z-]+=$`)
	for name, c := range map[string]struct {
		load     func(string) (any, []Problem, error)
		settings []setting
	}{
		"stafd": {func(path string) (any, []Problem, error) { return noted(LoadStaf(Files{Own: path})) }, stafSettings(DefaultStaf(), &Scope{}, &oldStaf{})},
		"stacd": {func(path string) (any, []Problem, error) { return noted(LoadStac(Files{Own: path})) }, stacSettings(DefaultStac(), &Scope{}, &oldStac{})},
		"sys":   {nil, (&sysFile{}).settings()},
	} {
		text, err := os.ReadFile("../../etc/stas/" + name + ".conf")
		if err != nil {
			t.Fatal(err)
		}
		section := ""
		shown := make(map[string]bool)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "[") {
				section = strings.Trim(line, "[]\n")
			}
			if m := commented.FindStringSubmatch(line); m != nil {
				shown[section+"/"+m[1]] = true
			}
		}
		for _, s := range c.settings {
			if s.deprecated == "" && !shown[s.section+"/"+s.key+"="] {
				t.Errorf("%s.conf does not show [%s] %s", name, s.section, s.key)
			}
		}
		if c.load == nil {
			continue
		}
		_, problems, err := c.load("../../etc/stas/" + name + ".conf")
		if err != nil || len(problems) > 0 {
			t.Errorf("%s.conf: %v, %v", name, problems, err)
		}
		path := write(t, t.TempDir(), name+".conf", empty.ReplaceAllString(commented.ReplaceAllString(string(text), "$1"), ""))
		if _, problems, err = c.load(path); err != nil || len(problems) > 0 {
			t.Errorf("%s.conf without comment signs: %v, %v", name, problems, err)
		}
	}
}

// TestManualsNameEveryKey checks that each key stands in the manual page of its file.
func TestManualsNameEveryKey(t *testing.T) {
	fabrics := []string{"controller", "nqn", "hostnqn", "hostid", "hostsymname", "persistent"}
	for i := range params {
		if fabricsParam(params[i].key) != nil {
			fabrics = append(fabrics, params[i].key)
		}
		if params[i].other != "" {
			fabrics = append(fabrics, params[i].other)
		}
	}
	pages := map[string][]string{"nvme-stas.conf.5": fabrics}
	for page, settings := range map[string][]setting{
		"stafd.conf.5": stafSettings(DefaultStaf(), &Scope{}, &oldStaf{}),
		"stacd.conf.5": stacSettings(DefaultStac(), &Scope{}, &oldStac{}),
		"sys.conf.5":   (&sysFile{}).settings(),
	} {
		for _, s := range settings {
			pages[page] = append(pages[page], s.key)
		}
		if page != "sys.conf.5" {
			for i := range params {
				pages[page] = append(pages[page], params[i].key)
			}
		}
	}
	for page, keys := range pages {
		text, err := os.ReadFile("../../man/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if !regexp.MustCompile(`(?m)^\.(It )?Ic (.* )?` + key + `( |$)`).Match(text) {
				t.Errorf("%s does not name %s", page, key)
			}
		}
	}
}
