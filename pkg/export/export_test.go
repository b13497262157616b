package export

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/tid"
)

const secret = "DHHC-1:00:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:"

func load(t *testing.T) []config.Controller {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	staf, _, err := config.LoadStaf(config.Files{Own: write("stafd.conf", `[Controllers]
controller=transport=tcp;traddr=192.0.2.1;hdr-digest=true
controller=transport=fc;traddr=nn-0x1:pn-0x2;host-nqn=nqn.2014-08.org.example:h;persistent=no
`)})
	if err != nil {
		t.Fatal(err)
	}
	stac, _, err := config.LoadStac(config.Files{Own: write("stacd.conf", `[Controllers]
controller=transport=tcp;traddr=fe80::1%eth0;nqn=nqn.2014-08.org.example:a;nr-io-queues=4;dhchap-secret=`+secret+`
controller=transport=tcp;traddr=192.0.2.2;nqn=nqn.2014-08.org.example:a;host-iface=eth1
`)})
	if err != nil {
		t.Fatal(err)
	}
	return append(staf.Controllers, stac.Controllers...)
}

func TestDiscoveryConf(t *testing.T) {
	var b strings.Builder
	notes, err := DiscoveryConf(&b, load(t), tid.Host{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) != 2 || !strings.HasSuffix(notes[0], "stafd.conf:3: persistent=no is left out") || !strings.HasPrefix(notes[1], "I/O controllers, 2 of them, ") {
		t.Errorf("%q", notes)
	}
	want := `--transport=tcp --traddr=192.0.2.1 --trsvcid=8009 --nqn=nqn.2014-08.org.nvmexpress.discovery --keep-alive-tmo=30 --hdr-digest
--transport=fc --traddr=nn-0x0000000000000001:pn-0x0000000000000002 --nqn=nqn.2014-08.org.nvmexpress.discovery --hostnqn=nqn.2014-08.org.example:h --hostid=472af555-546b-83c4-83bf-fbcea961f264 --keep-alive-tmo=30
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestConfigJSON(t *testing.T) {
	var b strings.Builder
	system := tid.Host{NQN: "nqn.2014-08.org.example:sys", ID: "f8e78f19-a131-45ab-b1f6-3a4fc8e093ea"}
	if err := ConfigJSON(&b, load(t), system); err != nil {
		t.Fatal(err)
	}
	want := `[
  {
    "hostnqn": "nqn.2014-08.org.example:sys",
    "hostid": "f8e78f19-a131-45ab-b1f6-3a4fc8e093ea",
    "subsystems": [
      {
        "nqn": "nqn.2014-08.org.nvmexpress.discovery",
        "ports": [
          {
            "discovery": true,
            "hdr_digest": true,
            "keep_alive_tmo": 30,
            "persistent": true,
            "traddr": "192.0.2.1",
            "transport": "tcp",
            "trsvcid": "8009"
          }
        ]
      },
      {
        "nqn": "nqn.2014-08.org.example:a",
        "ports": [
          {
            "nr_io_queues": 4,
            "traddr": "fe80::1%eth0",
            "transport": "tcp",
            "trsvcid": "4420"
          },
          {
            "host_iface": "eth1",
            "traddr": "192.0.2.2",
            "transport": "tcp",
            "trsvcid": "4420"
          }
        ]
      }
    ]
  },
  {
    "hostnqn": "nqn.2014-08.org.example:h",
    "hostid": "472af555-546b-83c4-83bf-fbcea961f264",
    "subsystems": [
      {
        "nqn": "nqn.2014-08.org.nvmexpress.discovery",
        "ports": [
          {
            "discovery": true,
            "keep_alive_tmo": 30,
            "traddr": "nn-0x0000000000000001:pn-0x0000000000000002",
            "transport": "fc"
          }
        ]
      }
    ]
  }
]
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

// TestKeyMeansTLS: a connection that has TLS because there is a key for it is one with TLS without the key, which is left out.
func TestKeyMeansTLS(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stafd.conf")
	if err := os.WriteFile(path, []byte("[Global]\ntls-key=NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	staf, _, err := config.LoadStaf(config.Files{Own: path})
	if err != nil {
		t.Fatal(err)
	}
	var conf, json strings.Builder
	if _, err := DiscoveryConf(&conf, staf.Controllers, tid.Host{}, false); err != nil || !strings.Contains(conf.String(), " --tls") {
		t.Error(conf.String(), err)
	}
	if err := ConfigJSON(&json, staf.Controllers, tid.Host{}); err != nil || !strings.Contains(json.String(), `"tls": true`) {
		t.Error(json.String(), err)
	}
}

// TestAsNVMeCLIReadsIt: what nvme-cli would not understand is said in its way, or told.
func TestAsNVMeCLIReadsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stafd.conf")
	if err := os.WriteFile(path, []byte(`[Controllers]
controller=transport=tcp;traddr=192.0.2.1;fast-io-fail-tmo=5;keyring=.site;tls-key-identity=NVMe0R01-a
controller=transport=tcp;traddr=192.0.2.2;tls-key-identity=NVMe0R01 a b;dhchap-secret=`+secret+`
controller=transport=tcp;traddr=192.0.2.3;nqn=nqn.2014-08.org.example:a=b
controller=transport=fc;traddr=nn-0x1:pn-0x2
`), 0o600); err != nil {
		t.Fatal(err)
	}
	staf, _, err := config.LoadStaf(config.Files{Own: path})
	if err != nil || len(staf.Controllers) != 4 {
		t.Fatal(err)
	}
	var conf, json strings.Builder
	system := tid.Host{NQN: "nqn.2014-08.org.example:sys", ID: "f8e78f19-a131-45ab-b1f6-3a4fc8e093ea"}
	notes, err := DiscoveryConf(&conf, staf.Controllers, system, true)
	if err != nil {
		t.Fatal(err)
	}
	want := `--transport=tcp --traddr=192.0.2.1 --trsvcid=8009 --nqn=nqn.2014-08.org.nvmexpress.discovery --hostnqn=nqn.2014-08.org.example:sys --hostid=f8e78f19-a131-45ab-b1f6-3a4fc8e093ea --keyring=.site --tls-key-identity=NVMe0R01-a --keep-alive-tmo=30 --fast_io_fail_tmo=5 --tls
--transport=tcp --traddr=192.0.2.2 --trsvcid=8009 --nqn=nqn.2014-08.org.nvmexpress.discovery --hostnqn=nqn.2014-08.org.example:sys --hostid=f8e78f19-a131-45ab-b1f6-3a4fc8e093ea --keep-alive-tmo=30 --tls
--transport=fc --traddr=nn-0x0000000000000001:pn-0x0000000000000002 --nqn=nqn.2014-08.org.nvmexpress.discovery --hostnqn=nqn.2014-08.org.example:sys --hostid=f8e78f19-a131-45ab-b1f6-3a4fc8e093ea --keep-alive-tmo=30
`
	if d := cmp.Diff(want, conf.String()); d != "" {
		t.Error(d)
	}
	notes = append(notes, Notes(staf.Controllers)...)
	wantNotes := []string{
		path + ":3: tls-key-identity is left out, as no value there can have a space or an equals sign",
		path + ":4: the controller is left out, as no value there, such as its nqn, can have a space or an equals sign",
		path + ":3: dhchap-secret is left out",
		path + ":5: there is no host-traddr, and nvme-cli needs one for fc",
	}
	if d := cmp.Diff(wantNotes, notes); d != "" {
		t.Error(d)
	}
	if err := ConfigJSON(&json, staf.Controllers, system); err != nil || !strings.Contains(json.String(), `"keyring": ".site"`) ||
		!strings.Contains(json.String(), `"tls_key_identity": "NVMe0R01 a b"`) {
		t.Error(json.String(), err)
	}
}
