package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stas-go/stas/pkg/tid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	uuidA   = "f8e78f19-a131-45ab-b1f6-3a4fc8e093ea"
	uuidB   = "11111111-2222-3333-4444-555555555555"
	nqnA    = "nqn.2014-08.org.nvmexpress:uuid:" + uuidA
	nqnB    = "nqn.2014-08.org.example:host"
	secretA = "DHHC-1:00:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:"
	secretB = "DHHC-1:00:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eX2D3HOZI:"
)

func TestLoadIdentity(t *testing.T) {
	type files map[string]string // sys.conf, and what is in the directory of NVMe files
	for name, c := range map[string]struct {
		files   files
		nqn, id string
		symname string
		key     string
		missing string
		problem string // one that is told; "" for none at all
	}{
		"from /etc/nvme":   {files: files{"hostnqn": nqnA + "\n", "hostid": uuidB + "\n"}, nqn: nqnA, id: uuidB},
		"id of the NQN":    {files: files{"hostnqn": nqnA}, nqn: nqnA, id: uuidA},
		"first word":       {files: files{"hostnqn": "  " + nqnA + " # ours\nsecond\n", "hostid": uuidB + " x"}, nqn: nqnA, id: uuidB},
		"nothing":          {missing: "no host NQN: DIR/hostnqn does not exist; run: stasadm -c DIR/sys.conf hostnqn -f DIR/hostnqn"},
		"empty hostnqn":    {files: files{"hostnqn": "\n"}, missing: "no host NQN: the first line of DIR/hostnqn is empty; run", problem: "DIR/hostnqn: the first line of DIR/hostnqn is empty; it is not used"},
		"garbage hostnqn":  {files: files{"hostnqn": "garbage"}, missing: "no host NQN: NQN \"garbage\" does not start with", problem: "it is not used"},
		"no ID to be had":  {files: files{"hostnqn": nqnB}, missing: "no host ID: DIR/hostid does not exist; run: stasadm -c DIR/sys.conf hostid -f DIR/hostid"},
		"bad hostid":       {files: files{"hostnqn": nqnA, "hostid": "zero"}, missing: "no host ID: cannot parse host ID", problem: "it is not used"},
		"values":           {files: files{"sys.conf": "[Host]\nnqn=" + nqnA + "\nid=" + uuidB + "\nsymname=rack 4, host 7\n"}, nqn: nqnA, id: uuidB, symname: "rack 4, host 7"},
		"other files":      {files: files{"sys.conf": "[Host]\nnqn=file://DIR/other\nid=file://DIR/id\nsymname=file://DIR/name\n", "other": nqnB, "id": uuidB, "name": "seven of nine"}, nqn: nqnB, id: uuidB, symname: "seven"},
		"file missing":     {files: files{"sys.conf": "[Host]\nnqn=file://DIR/other\n", "hostnqn": nqnA, "hostid": uuidA}, missing: "no host NQN: DIR/other does not exist; run: stasadm -c DIR/sys.conf hostnqn -f DIR/other", problem: "sys.conf:2: [Host] nqn=file://DIR/other: "},
		"id for two NQNs":  {files: files{"sys.conf": "[Host]\nnqn=" + nqnB + "\n", "hostnqn": nqnA, "hostid": uuidA}, nqn: nqnB, id: uuidA, problem: "sys.conf:2: [Host] nqn=" + nqnB + ": the host ID " + uuidA + " is also that of the NQN in DIR/hostnqn; kernels from 6.5"},
		"key":              {files: files{"hostnqn": nqnA, "hostkey": secretA + "\n"}, nqn: nqnA, id: uuidA, key: secretA},
		"key as value":     {files: files{"hostnqn": nqnA, "hostkey": secretA, "sys.conf": "[Host]\nkey=" + secretB + "\n"}, nqn: nqnA, id: uuidA, key: secretB},
		"bad key":          {files: files{"hostnqn": nqnA, "hostkey": "hunter2hunter2"}, missing: "the secret of this host cannot be used", problem: "DIR/hostkey: "},
		"bad key as value": {files: files{"hostnqn": nqnA, "sys.conf": "[Host]\nkey=hunter2hunter2\n"}, missing: "the secret of this host cannot be used", problem: "sys.conf:2: [Host] key=[redacted]: "},
		"bad symname":      {files: files{"hostnqn": nqnA, "sys.conf": "[Host]\nsymname=\u00fcml\u00e4ut\n"}, nqn: nqnA, id: uuidA, problem: "using none"},
		"unknown key":      {files: files{"hostnqn": nqnA, "sys.conf": "[Host]\nhostnqn=x\n"}, nqn: nqnA, id: uuidA, problem: "[Host] hostnqn: unknown key"},
		"broken sys.conf":  {files: files{"hostnqn": nqnA, "sys.conf": "[Host\n"}, missing: "no host identity: cannot use ", problem: "sys.conf:1: the section header"},
		"empty values":     {files: files{"hostnqn": nqnA, "sys.conf": "[Host]\nnqn=\nkey\n"}, nqn: nqnA, id: uuidA, problem: "sys.conf:2: [Host] nqn: there is no value"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range c.files {
				write(t, dir, file, strings.ReplaceAll(text, "DIR", dir))
			}
			i, problems := LoadIdentity(filepath.Join(dir, "sys.conf"), dir)
			if strings.Contains(i.Missing, "run: ") != strings.HasPrefix(i.Remedy, "stasadm ") {
				t.Errorf("remedy %q", i.Remedy)
			}
			if i.Host.NQN != c.nqn || i.Host.ID != c.id || i.SymName != c.symname || i.HostKey.Reveal() != c.key {
				t.Errorf("got %+v", i)
			}
			if missing := strings.ReplaceAll(i.Missing, dir, "DIR"); !strings.HasPrefix(missing, c.missing) || (c.missing == "") != (missing == "") {
				t.Errorf("missing %q", missing)
			}
			all := strings.ReplaceAll(fmt.Sprint(problems), dir, "DIR")
			if c.problem == "" && len(problems) > 0 || !strings.Contains(all, c.problem) || strings.Contains(all+i.Missing, "hunter2") {
				t.Errorf("problems %s", all)
			}
		})
	}
}

func TestReadableSecretsAreTold(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "hostnqn", nqnA)
	key := write(t, dir, "hostkey", secretA)
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		_, problems := LoadIdentity(filepath.Join(dir, "sys.conf"), dir)
		if got := says(problems, "run: chmod 0600 "+key); got != want {
			t.Errorf("mode %o: %v", mode, problems)
		}
	}
}

func TestIdentitySurvivesItsFiles(t *testing.T) {
	dir := t.TempDir()
	s := IdentitySource{SysConf: filepath.Join(dir, "sys.conf"), Dir: dir}
	if i, _ := s.Load(); i.Missing == "" {
		t.Fatalf("%+v", i)
	}
	path := write(t, dir, "hostnqn", nqnA)
	if i, _ := s.Load(); i.Host.NQN != nqnA {
		t.Fatalf("%+v", i)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if i, problems := s.Load(); i.Host.NQN != nqnA || i.Missing != "" || !says(problems, "stays in force") {
		t.Errorf("%+v, %v", i, problems)
	}
	write(t, dir, "hostnqn", strings.Replace(nqnA, "f8", "f9", 1))
	if i, _ := s.Load(); i.Host.NQN == nqnA {
		t.Errorf("a new identity does not count: %+v", i)
	}
}

func TestWatchIdentity(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "etc", "nvme") // appears later
	sys := filepath.Join(base, "etc", "stas", "sys.conf")
	ctx, cancel := context.WithCancel(t.Context())
	changed, err := WatchIdentity(ctx, sys, dir)
	if err != nil {
		t.Fatal(err)
	}
	await := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatalf("%s: nothing told", what)
		}
	}
	write(t, dir, "hostnqn", nqnA)
	await("hostnqn appears")
	elsewhere := write(t, base, "elsewhere/nqn", nqnB)
	write(t, filepath.Dir(sys), "sys.conf", "[Host]\nnqn=file://"+elsewhere+"\nid="+uuidB+"\n")
	await("sys.conf appears")
	temp := write(t, base, "elsewhere/temp", nqnA)
	if err := os.Rename(temp, elsewhere); err != nil {
		t.Fatal(err)
	}
	await("the file that sys.conf names is replaced")
	if i, _ := LoadIdentity(sys, dir); i.Host.NQN != nqnA || i.Host.ID != uuidB {
		t.Errorf("%+v", i)
	}
	cancel()
	for range changed { // closed when the watcher has ended
	}
}

// TestIdentitySurvivesPartOfItsFiles: without hostid the ID would be that in the NQN, and without hostkey there would be no
// secret; an identity that was read stays as it is.
func TestIdentitySurvivesPartOfItsFiles(t *testing.T) {
	dir := t.TempDir()
	s := IdentitySource{SysConf: filepath.Join(dir, "sys.conf"), Dir: dir}
	write(t, dir, "hostnqn", nqnA)
	id, key := write(t, dir, "hostid", uuidB), write(t, dir, "hostkey", secretA)
	before, _ := s.Load()
	if before.Host != (tid.Host{NQN: nqnA, ID: uuidB}) || before.HostKey.Reveal() != secretA {
		t.Fatalf("%+v", before)
	}
	for _, path := range []string{id, key} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if i, problems := s.Load(); i.Host != before.Host || i.HostKey != before.HostKey || !says(problems, "stays in force") {
				t.Errorf("without %s: %+v, %v", path, i.Host, problems)
			}
		}
	}
	// What is written counts at once.
	write(t, dir, "hostid", uuidA)
	write(t, dir, "sys.conf", "[Host]\nnqn="+nqnB+"\n")
	if i, _ := s.Load(); i.Host != (tid.Host{NQN: nqnB, ID: uuidA}) || !i.HostKey.IsZero() {
		t.Errorf("%+v", i)
	}
}
