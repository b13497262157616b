package mdns

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/holoplot/go-avahi"
)

func TestServiceOf(t *testing.T) {
	in := instance{ifindex: 7, proto: avahi.ProtoInet6, name: "CDC\xff\n 1", typ: TypeTCP, domain: domain}
	eth := iface{name: "eth0"}
	r := avahi.Service{Address: "192.0.2.1", Port: 8009, Txt: [][]byte{[]byte("p=roce"), []byte("p=tcp")}}
	got, err := serviceOf(in, r, eth)
	want := Service{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "8009", NQN: "nqn.2014-08.org.nvmexpress.discovery",
		Interface: "eth0", IfIndex: 7, Protocol: IPv6, Name: "CDC\uFFFD\uFFFD 1", Type: TypeTCP, Domain: domain}
	if err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if string(r.Txt[0]) != "p=roce" {
		t.Error("the answer was changed")
	}
	for addr, want := range map[string]string{
		"fe80::1":         "fe80::1%eth0",
		"fe80::1%2":       "fe80::1%eth0",
		"FE80:0:0::A":     "fe80::a%eth0",
		"2001:DB8::1":     "2001:db8::1",
		"::ffff:10.0.0.1": "10.0.0.1",
		"169.254.1.1":     "169.254.1.1",
	} {
		if got, err := usableAddr(addr, eth); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v", addr, got, err)
		}
	}
	for _, addr := range []string{"", "host.local", "0.0.0.0", "::", "224.0.0.251", "ff02::fb", "127.0.0.1", "::1",
		"::ffff:127.0.0.1", "255.255.255.255", "1.2.3", strings.Repeat("1", 1<<16)} {
		if got, err := usableAddr(addr, eth); err == nil || len(err.Error()) > 200 {
			t.Errorf("%.20s: %v, %v", addr, got, err)
		}
	}
	if _, err := usableAddr("127.0.0.1", iface{"lo", true}); err != nil {
		t.Errorf("on loopback: %v", err)
	}
	r.Port = 0
	if _, err := serviceOf(in, r, eth); err == nil {
		t.Error("port 0 was taken")
	}
}

func FuzzServiceOf(f *testing.F) {
	f.Add("cdc", "fe80::1%3", uint16(8009), []byte("p=tcp"))
	f.Add("\xffx\x1b[2J", "10.0.0.1", uint16(1), []byte("NQN=nqn.1988-11.com.dell:SFSS:1|P=roce"))
	f.Fuzz(func(t *testing.T, name, addr string, port uint16, txt []byte) {
		in := instance{ifindex: 2, name: name, typ: TypeUDP, domain: domain}
		s, err := serviceOf(in, avahi.Service{Address: addr, Port: port, Txt: split(string(txt))}, iface{name: "eth0"})
		if err != nil {
			return
		}
		for _, text := range []string{s.Name, s.Traddr, s.NQN, in.String()} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("unclean %q", text)
			}
		}
		if again, err := usableAddr(s.Traddr, iface{name: "eth0"}); err != nil || again.String() != s.Traddr {
			t.Fatalf("%q is not canonical: %v, %v", s.Traddr, again, err)
		}
	})
}

func TestNextName(t *testing.T) {
	for in, want := range map[string]string{
		"cdc":                   "cdc #2",
		"cdc #2":                "cdc #3",
		"cdc #9":                "cdc #10",
		"cdc#2":                 "cdc#2 #2",
		"7":                     "7 #2",
		" #2":                   " #2 #2",
		strings.Repeat("ü", 31): strings.Repeat("ü", 30) + " #2",
	} {
		if got := nextName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestSocketPath(t *testing.T) {
	for in, want := range map[string]string{
		"unix:path=/run/dbus/system_bus_socket":           "/run/dbus/system_bus_socket",
		"unix:path=/a%20b,guid=0123":                      "/a b",
		"unix:guid=0123,path=/a":                          "/a",
		"unix:abstract=/tmp/x":                            "@/tmp/x",
		"tcp:host=localhost,port=1;unix:path=/a;unix:p=b": "/a",
	} {
		if got, err := socketPath(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "unix:", "unix:path=", "/run/x", "unix:path=%zz", "tcp:host=x"} {
		if got, err := socketPath(in); err == nil {
			t.Errorf("%q: %q", in, got)
		}
	}
}
