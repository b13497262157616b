package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/fabricsim"
)

const lab = `
[port p1]
address = 127.0.0.1
service = 0
[dc cdc]
type = cdc
ports = p1
zoning = yes
[subsystem disk]
nqn = nqn.2024-01.org.example:disk
ports = p1
namespace = 64M
[host alice]
nqn = nqn.2024-01.org.example:alice
`

// startLab runs the program as a person would, and gives a function that runs "ctl".
func startLab(t *testing.T) (socket string, run func(args ...string) (string, error)) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "lab.ini")
	socket = filepath.Join(dir, "s")
	if err := os.WriteFile(file, []byte(lab), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		c := rootCommand()
		c.SetArgs([]string{file, "--control", socket, "-q"})
		done <- c.ExecuteContext(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	run = func(args ...string) (string, error) {
		var out bytes.Buffer
		c := rootCommand()
		c.SetOut(&out)
		c.SetArgs(append([]string{"ctl", "-s", socket}, args...))
		err := c.ExecuteContext(t.Context())
		return out.String(), err
	}
	for end := time.Now().Add(20 * time.Second); ; {
		if _, err := run("port", "ls"); err == nil {
			return socket, run
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestCtl(t *testing.T) {
	_, run := startLab(t)
	steps := []struct {
		args    string
		want    string // in the output
		wantErr string // in the error
	}{
		{args: "zone add z1 alice disk"},
		{args: "zone ls", want: "z1    nqn.2024-01.org.example:alice  disk"},
		{args: "zone add z1 nobody", wantErr: "neither a host"},
		{args: "zone remove z1 alice"},
		{args: "zone ls -o json", want: `"hosts":[]`},
		{args: "dc set cdc epcsd=yes ncc=on"},
		{args: "dc ls -o json", want: `"eflags":6`},
		{args: "dc set cdc nqn=nqn.2024-01.org.example:x", wantErr: "while it runs"},
		{args: "dc set cdc colour=red", wantErr: "unknown key"},
		{args: "subsys add d2 nqn=nqn.2024-01.org.example:d2 ports=p1 namespace=1G ana=p1=non-optimized"},
		{args: "subsys ls", want: "p1     1G          -      p1=non-optimized"},
		{args: "subsys ana d2 p1 inaccessible"},
		{args: "subsys ls", want: "p1=inaccessible"},
		{args: "subsys ana d2 p1 lost", wantErr: "neither optimized"},
		{args: "subsys ana disk p1 optimized", wantErr: "without ana"},
		{args: "subsys ana d2 p9 optimized", wantErr: "not there"},
		{args: "dc ls", want: "epcsd,ncc"},
		{args: "subsys add d3 nqn=nqn.2024-01.org.example:d2 ports=p1", wantErr: "already"},
		{args: "subsys remove d2"},
		{args: "subsys remove d2", wantErr: "there is none"},
		{args: "fault add slow step=discovery-log action=delay=1s times=2"},
		{args: "fault ls", want: "delay=1s"},
		{args: "fault add x action=explode", wantErr: "unknown"},
		{args: "fault add x action=close step=connect dc=cdc subsystem=disk", wantErr: "cdc is given already"},
		{args: "fault add x action=aen-storm=1ns", wantErr: "cannot add fault x: action \"aen-storm=1ns\": comes more often than each 1ms"},
		{args: "fault add x step=connect action=silent dc=cd", wantErr: "discovery controller cd"},
		{args: "fault add x step=connect action=silent host=bob", wantErr: "no host bob"},
		{args: "fault add x", wantErr: "fabricsim ctl fault add NAME KEY=VALUE..."},
		{args: "zone add", wantErr: "fabricsim ctl zone add ZONE [MEMBER]..."},
		{args: "zone list", wantErr: `fabricsim ctl zone has no command "list"`},
		{args: "zone", want: "Available Commands:"},
		{args: "fault remove slow"},
		{args: "port down p1"},
		{args: "port ls", want: "down"},
		{args: "port up p1"},
		{args: "port move p1 nowhere", wantErr: "cannot move port"},
		{args: "aen cdc", wantErr: "no such host"},
		{args: "hosts", want: "registrations:"},
		{args: "events", want: "z1: added 2 members"},
		{args: "events -o json", want: `"kind":"zone"`},
		{args: "events -o xml", wantErr: "--output is table or json"},
		{args: "zone add z9 disk -o xml", wantErr: "--output is table or json"},
		{args: "zone remove z9", wantErr: "there is none"},
	}
	for _, s := range steps {
		out, err := run(strings.Fields(s.args)...)
		switch {
		case s.wantErr == "" && err != nil:
			t.Errorf("%s: %v", s.args, err)
		case s.wantErr != "" && (err == nil || !strings.Contains(err.Error(), s.wantErr)):
			t.Errorf("%s: error %v, want %q", s.args, err, s.wantErr)
		case !strings.Contains(out, s.want):
			t.Errorf("%s: output\n%s\nlacks %q", s.args, out, s.want)
		}
	}
}

// Completion knows the names of what runs, and is silent where nothing does.
func TestCompletion(t *testing.T) {
	socket, _ := startLab(t)
	for _, tt := range []struct{ socket, args, want string }{
		{socket, "port down", "p1\n:4\n"},
		{socket, "zone add new", "disk\n:4\n"},
		{socket, "zone add new disk", ":4\n"},
		{socket, "dc set", "cdc\n:4\n"},
		{socket, "events", ":4\n"},
		{socket + "x", "port down", ":4\n"},
	} {
		var out bytes.Buffer
		c := rootCommand()
		c.SetOut(&out)
		c.SetErr(io.Discard)
		c.SetArgs(append(append([]string{"__complete", "ctl", "-s", tt.socket}, strings.Fields(tt.args)...), ""))
		if err := c.ExecuteContext(t.Context()); err != nil || out.String() != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.args, out.String(), err, tt.want)
		}
	}
}

func TestFollow(t *testing.T) {
	socket, run := startLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	done := make(chan error, 1)
	go func() {
		defer w.Close()
		c := rootCommand()
		c.SetOut(w)
		c.SetArgs([]string{"ctl", "-s", socket, "-o", "json", "events", "--follow"})
		done <- c.ExecuteContext(ctx)
	}()
	if _, err := run("zone", "add", "later", "disk"); err != nil {
		t.Fatal(err)
	}
	in := json.NewDecoder(r)
	for {
		var e fabricsim.Event
		if err := in.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(e.Detail, "later: ") {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What --check has nothing against, can be played.
func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		lab: "",
		lab + "[zone z]\nmembers = alice disk nobody\n":                           "nobody",
		lab + "[entry e]\ndc = ddc\n":                                             "ddc",
		lab + "[subsystem other]\nnqn = nqn.2024-01.org.example:disk\nports = p1": "already",
		lab + "[fault f]\nhost = nobody\nstep = connect\naction = close":          "nobody",
		lab + "[gadget g]\n": "gadget",
	} {
		file := filepath.Join(t.TempDir(), "lab.ini")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := rootCommand()
		c.SetArgs([]string{"--check", file})
		err := c.ExecuteContext(t.Context())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file)) {
			t.Errorf("%s\ngave %v, want %q", text[len(lab):], err, want)
		}
		if want == "" {
			continue
		}
		c = rootCommand()
		c.SetArgs([]string{"-q", file})
		if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s\nwithout --check gave %v, want %q", text[len(lab):], err, want)
		}
	}
}
