package fabricsim

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigErrors(t *testing.T) {
	const port = "[port p]\naddress = 127.0.0.1\n"
	tests := map[string]string{
		"":                               "no [port NAME]",
		"key = value":                    "line 1: a section has to come first",
		"[port]\naddress = ::1":          "line 1: [port] needs a name",
		"[port a b]":                     "line 1",
		"[port a":                        "line 1",
		"[port a]\naddress = localhost":  "line 2: address in [port a]",
		"[port a]\naddress = ::":         "line 1: [port a]: a port on all addresses",
		"[port a]\nservice = 70000":      "line 2: service",
		port + "[port p]\naddress = ::1": "line 3: [port p] is on line 1 already",
		port + "# " + strings.Repeat("x", maxConfigLine): "line 3: it has more than 65536 bytes",
		port + "nonsense":                                                         "line 3",
		port + "[gadget x]":                                                       "line 3: unknown section",
		port + "[dc d]\ncolour = red":                                             "line 4: colour in [dc d]: unknown key",
		port + "[dc d]\ntype = big":                                               "line 4: type",
		port + "[dc d]\nports = q":                                                "there is no [port q]",
		port + "[dc d]":                                                           "has no ports",
		port + "[subsystem s]\nports = p":                                         "line 3: [subsystem s]: nqn is missing",
		port + "[subsystem s]\nnqn = di sk":                                       "line 4: nqn",
		port + "[subsystem s]\ncount = 70000":                                     "line 4: count",
		port + "[subsystem s]\nnqn=nqn.2024-01.a:s\nnamespace=1000":               "line 3: [subsystem s]: a namespace of 1000 bytes",
		port + "[subsystem s]\nnamespace = 9999999999T":                           "line 4: namespace",
		port + "[host h]":                                                         "line 3: [host h]: nqn is missing",
		port + "[host h]\ndhchap-key = DHHC-1:x":                                  "line 4: dhchap-key",
		port + "[host h]\ndhchap-hash = md5":                                      "line 4: dhchap-hash",
		port + "[host h]\ndhchap-dhgroup = 7":                                     "line 4: dhchap-dhgroup",
		port + "[fault f]\naction = close":                                        "needs a step",
		port + "[fault f]\naction = close\nstep=x":                                "step \"x\" is none of",
		port + "[fault f]\naction = status=0":                                     "no status",
		port + "[fault f]\nstep = identify\naction = status=0x4000":               "line 3: [fault f]: action \"status=0x4000\": is no status such as 0x181 or 0x4182: its code is that of success",
		port + "[fault f]\nstep = identify\naction = status=0x8181":               "is above 0x7fff",
		port + "[fault f]\nstep = identify\naction = status=-1":                   "no status such as",
		port + "[fault f]\nstep = identify\naction = delay=-1s":                   "no time above 0 and up to 24h",
		port + "[fault f]\naction = drop-after=1000000h":                          "no time above 0 and up to 24h",
		port + "[fault f]\naction = aen-storm=1ns":                                "more often than each 1ms",
		port + "[fault f]\naction = aen-storm=1":                                  "no time such as",
		port + "[fault f]\naction = aen-storm=1s\nstep = aen":                     "takes no step",
		port + "[fault f]\naction = garbage\nstep = identify":                     "takes no step",
		port + "[fault f]\naction = refuse\nport = p\nstep = accept":              "takes no step",
		port + "[fault f]\naction = refuse\nport = p\nhost = nqn.2024-01.a:h":     "about all at a port",
		port + "[fault f]\naction = blackhole\nport = p\ndc = nqn.2024-01.a:d":    "about all at a port",
		port + "[fault f]\naction = refuse\nport = p\ntimes = 2":                  "skip and times have no meaning",
		port + "[fault f]\naction = move=127.0.0.1:0\nport = p\nskip = 2":         "skip and times have no meaning",
		port + "[fault f]\naction = close\nstep = accept\nhost = nqn.2024-01.a:h": "nobody knows yet which host",
		port + "[fault f]\naction = silent\nstep = icreq\ndc = nqn.2024-01.a:d":   "nobody knows yet which host",
		port + "[fault f]\naction = status=0x6\nstep = accept":                    "no command is answered",
		port + "[fault f]\naction = status=0x6\nstep = icreq":                     "no command is answered",
		port + "[fault f]\naction = truncate\nstep = accept":                      "no command is answered",
		port + "[fault f]\naction = bad-cid\nstep = icreq":                        "no command identifier",
		port + "[fault f]\naction = short\nstep = icreq":                          "whose answer has no data",
		port + "[fault f]\nsubsystem = a\ndc = b":                                 "line 5: dc in [fault f]: a fault concerns one subsystem or dc, and a is given already",
		port + "[fault f]\naction = short\nstep = write":                          "whose answer has no data",
		port + "[fault f]\naction = status\nstep=connect":                         "needs an argument",
		port + "[fault f]\naction = refuse":                                       "needs a port",
		port + "[fault f]\naction = close=1\nstep=connect":                        "takes no argument",
		port + "[dc d]\nports = p q":                                              "line 3: [dc d]: there is no [port q]",
		port + "[subsystem s]\nnqn = nqn.2024-01.a:s":                             "line 3: [subsystem s] has no ports",
		port + "[fault f]\nport = q\naction = refuse":                             "line 3: [fault f]: there is no [port q]",
		port + "[host a]\nnqn = nqn.2024-01.a:h\n[host b]\nnqn = nqn.2024-01.a:h": "line 5: [host b]: [host a] has this NQN",
	}
	for text, want := range tests {
		if _, err := ParseConfig(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %v, want %q", text, err, want)
		}
	}
}

// A key is not shown because its line is wrong.
func TestConfigErrorsShowNoKey(t *testing.T) {
	for _, line := range []string{
		"dhchap-key DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:",
		"dhchap-key DHHC-1:01:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2nAAAAAAAAAAAAAAAAAA==:",
		"dhchap-kye = DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:",
		"DHHC-1:01:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2nAAAAAAAAAAAAAAAAAA==:",
	} {
		_, err := ParseConfig(strings.NewReader("[port p]\naddress = 127.0.0.1\n[host h]\n" + line))
		if err == nil || !strings.Contains(err.Error(), "line 4") || strings.Contains(strings.ToLower(err.Error()), "ia6zgodor4seg") {
			t.Errorf("%q gave %v", line, err)
		}
	}
}

// What of a file is too much is not left out in silence.
func TestConfigTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.ini")
	text := "[port p]\naddress = 127.0.0.1\n" + strings.Repeat("# nothing\n", maxConfigBytes/10) + "[gadget x]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("gave %v", err)
	}
}

func TestBuildErrors(t *testing.T) {
	const port = "[port p]\naddress = 127.0.0.1\nservice = 0\n"
	tests := map[string]string{
		port + "[zone z]\nmembers = nobody": "line 4: cannot add nobody to zone z: it is neither a host",
		port + "[entry e]\ndc = d":          "line 4: [entry e]: there is no [dc d]",
		port + "[dc a]\nports=p\nnqn=nqn.2024-01.x:d\n[dc b]\nports=p\nnqn=nqn.2024-01.x:d":               "line 7: [dc a] and [dc b] have the same name or NQN",
		port + "[dc a]\nports=p\nreferral = nvme+tcp://host:80":                                           "line 4: [dc a]: ",
		port + "[subsystem s]\nports=p\nnqn=nqn.2024-01.x:d\n[subsystem t]\nports=p\nnqn=nqn.2024-01.x:d": "line 7: subsystem t with NQN nqn.2024-01.x:d is there already",
		port + "[subsystem s]\nports=p\nnqn=nqn.2024-01.x:d\n[fault f]\ndc = s\naction = garbage":         "line 7: [fault f]: action \"garbage\" is about discovery log pages",
		"[port p]\naddress = 192.0.2.1": "line 1: cannot open port p",
		port + "[dc a]\nports=p\nnqn=nqn.2024-01.x:d\n[subsystem s]\nports=p\nnqn=nqn.2024-01.x:d": "line 7: subsystem s with NQN nqn.2024-01.x:d: [dc a] has this NQN",
		port + "[subsystem s]\nports=p\nnqn=nqn.2014-08.org.nvmexpress.discovery":                  "line 4: subsystem s: nqn.2014-08.org.nvmexpress.discovery is of discovery controllers",
		port + "[subsystem s]\nports=p\nnqn=nqn.2024-01.x:d\nhosts=everybody":                      "line 4: subsystem s: everybody is neither a host",
		port + "[dc a]\nports=p\nreferral = b":                                                     "line 4: [dc a]: \"b\" is neither a discovery controller",
	}
	for text, want := range tests {
		f, err := New(parse(t, text), nil)
		if err == nil {
			f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %v, want %q", text, err, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]uint64{"512": 512, "4K": 4096, "64M": 64 << 20, "1GiB": 1 << 30, "2 T": 2 << 40, "8b": 8} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) gave %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "K", "-1", "1X", "1.5G", "18446744073709551615T"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) gave %d", text, got)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add(sample)
	f.Add("[entry e]\ndc=d\ntrtype=rdma\ntraddr=a b\n[fault f]\naction=numrec=7\n[port p]\naddress=::1\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfig(strings.NewReader(text))
		if (c == nil || len(c.Ports) == 0) && err == nil {
			t.Error("neither a configuration nor an error")
		}
	})
}

// The examples that come with the project are good configurations.
func TestLabs(t *testing.T) {
	files, err := filepath.Glob("../../test/lab/*.ini")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		c, err := LoadConfig(file)
		if err != nil {
			t.Error(err)
			continue
		}
		c.Announce = false
		for i := range c.Ports { // not the ports of a lab that may be running
			c.Ports[i].Address = netip.AddrPortFrom(c.Ports[i].Address.Addr(), 0)
		}
		f, err := New(c, nil)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		f.Close()
	}
}
