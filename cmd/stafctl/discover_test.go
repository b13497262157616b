package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/bus"
	"github.com/stas-go/stas/pkg/ctl"
	"github.com/stas-go/stas/pkg/fabricsim"
	"github.com/stas-go/stas/pkg/nvme"
)

func TestDiscover(t *testing.T) {
	cfg, err := fabricsim.ParseConfig(strings.NewReader(
		"[port p]\naddress = 127.0.0.1\nservice = 0\n[dc d]\nports = p\nzoning = yes\n[subsystem s]\nnqn = nqn.2024-01.org.example:s\nports = p\n" +
			"[zone z]\nmembers = s nqn.2024-01.org.example:host"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := fabricsim.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, port, _ := strings.Cut(f.Addr("p").String(), ":")
	for _, tt := range []struct{ args, want, lack, wantErr string }{
		{args: "-a 127.0.0.1 -s " + port, want: "discovery  tcp", lack: "example:s"},
		{args: "-a localhost -f lo -q nqn.2024-01.org.example:host -s " + port, want: "nqn.2024-01.org.example:s"},
		{args: "-a 127.0.0.1 -w 127.0.0.5 -q nqn.2024-01.org.example:host -r -o tree -s " + port, want: "└─ nqn.2024-01.org.example:s"},
		{args: "-a 127.0.0.1 -o json -s " + port, want: `"genctr": 0`},
		{args: "-a 127.0.0.1 -o xml", wantErr: "--output"},
		{args: "-s 8009", wantErr: "traddr"},
		{args: "-a 127.0.0.1 -t rdma", wantErr: "only tcp"},
		{args: "-a 127.0.0.1 -n di,sk", wantErr: "--nqn"},
		{args: "-a 127.0.0.1 -q di,sk", wantErr: "--host-nqn"},
		{args: "-a 127.0.0.1 -s 1", wantErr: "connection refused"},
		{args: "-a 127.0.0.1 -f nosuch0 -s " + port, wantErr: "interface"},
	} {
		var out bytes.Buffer
		c := discoverCommand()
		c.SetOut(&out)
		c.SilenceErrors, c.SilenceUsage = true, true
		c.SetArgs(strings.Fields(tt.args))
		err := c.ExecuteContext(t.Context())
		switch {
		case tt.wantErr == "" && err != nil:
			t.Errorf("%s: %v", tt.args, err)
		case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
			t.Errorf("%s: error %v, want %q", tt.args, err, tt.wantErr)
		case !strings.Contains(out.String(), tt.want), tt.lack != "" && strings.Contains(out.String(), tt.lack):
			t.Errorf("%s: output\n%s", tt.args, out.String())
		}
	}
}

// TestExitStatus: a command line that makes no sense is told from what does not answer.
func TestExitStatus(t *testing.T) {
	for args, want := range map[string]int{
		"discover": 2, "discover -a 127.0.0.1 x": 2, "discover -a 127.0.0.1 -o xml": 2, "discover -a 127.0.0.1 -t rdma": 2, "discover -a 127.0.0.1 -n di,sk": 2,
		"discover -a 127.0.0.1 --timeout 0": 2, "discover -a 127.0.0.1 -w x": 2, "discover -a 127.0.0.1 -s 1": 1,
		"discover -a 127.0.0.1 -s 0": 2, "discover -a 127.0.0.1 -s 65536": 2, "discover -a 127.0.0.1 -s nosuch": 2, "discover -a 127.0.0.1 -q di,sk": 2,
	} {
		var errs bytes.Buffer
		root := ctl.Stafctl(bus.Options{})
		root.AddCommand(discoverCommand())
		root.SetErr(&errs)
		root.SetArgs(strings.Fields(args))
		if got := ctl.Run(t.Context(), root); got != want {
			t.Errorf("%s: status %d, want %d: %s", args, got, want, errs.String())
		}
		if want == 2 && !strings.Contains(errs.String(), "Try 'stafctl discover --help'") {
			t.Errorf("%s does not lead to the help of the command: %s", args, errs.String())
		}
	}
}

// TestIdentity: this host asks as the daemons do, by the first word of its files.
func TestIdentity(t *testing.T) {
	const uuid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
	for _, tt := range []struct{ hostnqn, hostid, given, nqn, id, wantErr string }{
		{hostnqn: "nqn.2024-01.org.example:h\n# made by hand\n", hostid: uuid + "\n\n", nqn: "nqn.2024-01.org.example:h", id: uuid},
		{hostnqn: "nqn.2014-08.org.nvmexpress:uuid:" + uuid, nqn: "nqn.2014-08.org.nvmexpress:uuid:" + uuid, id: uuid},
		{hostnqn: "nqn.2024-01.org.example:h", hostid: "x", given: "nqn.2014-08.org.nvmexpress:uuid:" + uuid,
			nqn: "nqn.2014-08.org.nvmexpress:uuid:" + uuid, id: uuid},
		{hostnqn: "di,sk", wantErr: "hostnqn: "},
		{hostnqn: "di,sk", given: "di,sk", wantErr: "--host-nqn: "},
		{},
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{"hostnqn": tt.hostnqn, "hostid": tt.hostid} {
			if text != "" {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		nqn, id, err := identity(tt.given, dir)
		switch {
		case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
			t.Errorf("%+v: error %v", tt, err)
		case tt.wantErr == "" && (err != nil || tt.nqn != "" && nqn != tt.nqn || tt.id != "" && id.String() != tt.id):
			t.Errorf("%+v: %s, %s, %v", tt, nqn, id, err)
		case tt == struct{ hostnqn, hostid, given, nqn, id, wantErr string }{} && (nvme.CheckNQN(nqn) != nil || id.IsZero()):
			t.Errorf("nobody is asked as %q, %s", nqn, id)
		}
	}
}
