package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stas-go/stas/pkg/tid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// variants are values to try for one key, beside those that every key gets.
type variants struct {
	section, key string
	good         []string
	bad          []string
}

var digestGood = []string{"true", "False", "TRUE"}
var digestBad = []string{"yes", "1"}

var globalVariants = []variants{
	{"Global", "tron", digestGood, digestBad},
	{"Global", "hdr-digest", digestGood, digestBad},
	{"Global", "data-digest", digestGood, digestBad},
	{"Global", "kato", []string{"0", "120", "4294967"}, []string{"-5", "4294968", "abc", "5s", "99999999999999999999"}},
	{"Global", "queue-size", []string{"16", "1024"}, []string{"15", "1025", "0x80"}},
	{"Global", "reconnect-delay", []string{"1", "2147483647"}, []string{"0", "-1", "2147483648"}},
	{"Global", "ctrl-loss-tmo", []string{"-1", "0", "2147483647"}, []string{"-2", "forever"}},
	{"Global", "fast-io-fail-tmo", []string{"-1", "5"}, []string{"-2"}},
	{"Global", "tos", []string{"0", "255"}, []string{"256", "-1"}},
	{"Global", "disable-sqflow", digestGood, digestBad},
	{"Global", "tls", digestGood, digestBad},
	{"Global", "concat", digestGood, digestBad},
	{"Global", "keyring", []string{".nvme", "0x1234"}, []string{"a b", "a,b"}},
	{"Global", "tls-key-identity", []string{"NVMe0R01 nqn.a nqn.b"}, []string{"a\tb"}},
	{"Global", "tls-key", []string{"NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:", "4711", "0x1f"}, []string{"Tr0ub4dor&3", "0xzz"}},
	{"Global", "ignore-iface", digestGood, digestBad},
	{"Global", "ip-family", []string{"ipv4", "ipv6", "ipv4+ipv6", "ipv6+ipv4"}, []string{"IPv4", "ipv4,ipv6"}},
	{"Controllers", "controller", lineGood, lineBad},
	{"Controllers", "exclude", excludeGood, excludeBad},
	{"Controllers", "blacklist", excludeGood[:1], nil},
}

var lineGood = []string{
	"transport=tcp;traddr=192.168.1.10;nqn=nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555",
	" Transport = TCP ; traddr = FE80:0::1%eth1 ; trsvcid=4421;nqn=nqn.1988-11.com.dell:a;host-iface=eth1;host-traddr=FE80::2;",
	"transport=tcp;traddr=array1.example.com;subsysnqn=nqn.1988-11.com.dell:a",
	"transport=rdma;traddr=::ffff:10.0.0.1;nqn=nqn.1988-11.com.dell:a",
	"transport=fc;traddr=nn-0x204600a098cbcac6,pn-0x204700a098cbcac6;nqn=nqn.1988-11.com.dell:a",
	"transport=loop;nqn=nqn.1988-11.com.dell:a",
	"transport=tcp;traddr=10.0.0.1;nqn=nqn.1988-11.com.dell:a;host-nqn=nqn.2014-08.org.example:other;kato=7;hdr-digest=true;nr-io-queues=4;nr-write-queues=1;nr-poll-queues=1;queue-size=64;reconnect-delay=2;ctrl-loss-tmo=-1;disable-sqflow=true;data-digest=false",
	"transport=tcp;traddr=10.0.0.1;nqn=nqn.1988-11.com.dell:a;dhchap-secret=DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:;kxchap-ctrl-secret=DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:",
}

var lineBad = []string{
	"traddr=10.0.0.1;nqn=nqn.1988-11.com.dell:a",
	"transport=tcp;nqn=nqn.1988-11.com.dell:a",
	"transport=pcie;traddr=0000:01:00.0;nqn=nqn.1988-11.com.dell:a",
	"transport=tcp;traddr=10.0.0.300;nqn=nqn.1988-11.com.dell:a",
	"transport=tcp;traddr=fe80::1::2;nqn=nqn.1988-11.com.dell:a",
	"transport=tcp;traddr=10.0.0.1;trsvcid=70000;nqn=nqn.1988-11.com.dell:a",
	"transport=tcp;traddr=10.0.0.1;nqn=nqn.1988-11.com.dell:a;tradr=10.0.0.2",
	"transport=tcp;traddr=10.0.0.1;nqn=nqn.1988-11.com.dell:a;kato=-5;nr-io-queues=0",
	"transport=tcp;traddr=10.0.0.1;traddr=10.0.0.2;nqn=nqn.1988-11.com.dell:a",
	"transport=tcp;traddr=10.0.0.1;nqn=nqn.1988-11.com.dell:a;host-iface=averyveryverylongname",
	"transport=rdma;traddr=10.0.0.1;nqn=nqn.1988-11.com.dell:a;host-iface=eth0",
	"transport=fc;traddr=10.0.0.1;nqn=nqn.1988-11.com.dell:a",
	"transport=tcp traddr=10.0.0.1",
	"transport=tcp;traddr=10.0.0.1;nqn=nqn.1988-11.com.dell:a;dhchap-secret=hunter2hunter2",
	"transport=tcp;traddr=10.0.0.1;nqn=nqn.1988-11.com.dell:a;duplicate-connect=true",
	"transport=tcp;traddr=10.0.0.1;nqn=nqn.1988-11.com.dell:a;persistent=auto",
}

var excludeGood = []string{"transport=tcp;traddr=fe80::2c6e:dee7:857:26bb", "host-iface=enp0s8", "subsysnqn=nqn.1988-11.com.dell:a;host-traddr=10.0.0.9"}
var excludeBad = []string{";;", "host-iface=enp0s8  # everything here", "tradr=10.0.0.1", "nonsense"}

func TestGoldenStafd(t *testing.T) {
	dc := dcSection
	spans := []string{"0", "30", "3days 5hours", "2h30m", "1.5h"}
	all := append(globalVariants,
		variants{"Global", "pleo", []string{"disabled", "Enabled"}, []string{"false"}},
		variants{"Global", "persistent-connections", digestGood, digestBad},
		variants{"Service Discovery", "zeroconf", []string{"disabled", "enabled"}, []string{"true"}},
		variants{dc, "persistent-connections", []string{"true", "false"}, digestBad},
		variants{dc, "persistent", []string{"force", "auto", "no"}, []string{"yes"}},
		variants{dc, "zeroconf-connections-persistence", append(spans, "-1", "3 days, 5 hours", "1:24", "2:03:04", "1 day 2:03:04", ":22", "5M", "1 MIN", "+5m"),
			[]string{"-2", "-5m", "abc", "5 weeks", "1:2:3:4:5", "1e300"}},
		variants{dc, "dc-giveup-timeout", append(spans, "infinity", "1M", "5M 2m", "1w", "100ms"), []string{"-1", "abc", "5x", "3 days, 5 hours", "1e30y", "99999999999y"}},
		variants{dc, "epcsd-poll-interval-minutes", []string{"1", "527040"}, []string{"0", "527041", "15min"}},
		variants{dc, "fc-kickstart-interval-minutes", []string{"0", "1"}, []string{"-1", "x"}},
		variants{dc, "empty-page-hold-down", []string{"0", "30s", "2min"}, []string{"infinity", "-1", "x"}},
		variants{dc, "log-page-refresh", []string{"0", "10s", "1h"}, []string{"9s", "infinity", "x"}},
		variants{dc, "nbft", []string{"protect", "connect", "off"}, []string{"on"}})
	def, _ := buildStaf("stafd.conf", nil, nil)
	golden(t, "stafd", all, stafSettings(DefaultStaf(), &Scope{}, &oldStaf{}), func(path string) (any, []Problem, error) {
		return noted(LoadStaf(Files{Own: path}))
	}, *def)
}

func TestGoldenStacd(t *testing.T) {
	queues := variants{"Global", "", []string{"1", "65535"}, []string{"0", "65536"}}
	all := globalVariants
	for _, key := range []string{"nr-io-queues", "nr-write-queues", "nr-poll-queues"} {
		queues.key = key
		all = append(all, queues)
	}
	all = append(all,
		variants{"Global", "udev-rule", []string{"enabled"}, nil},
		variants{"Global", "sticky-connections", []string{"enabled", "disabled"}, []string{"true"}},
		variants{ioSection, "disconnect-scope", scopeNames[:], []string{"none", "No-Disconnect"}},
		variants{ioSection, "disconnect-trtypes", []string{"tcp", "tcp+rdma+fc", "fc + fc", "rdma+pcie"}, []string{"pcie", "loop", "tcp,rdma"}},
		variants{ioSection, "connect-attempts-on-ncc", []string{"0", "1", "2"}, []string{"-1", "two"}},
		variants{ioSection, "honor-fabric-zoning", []string{"yes", "no"}, []string{"true"}},
		variants{ioSection, "nbft-reconnect", []string{"yes", "no"}, []string{"true"}})
	def, _ := buildStac("stacd.conf", nil, nil)
	golden(t, "stacd", all, stacSettings(DefaultStac(), &Scope{}, &oldStac{}), func(path string) (any, []Problem, error) {
		return noted(LoadStac(Files{Own: path}))
	}, *def)
}

func noted[T any](v *T, problems []Problem, err error) (any, []Problem, error) {
	if v == nil {
		return nil, problems, err
	}
	return *v, problems, err
}

// golden loads one file for each key and value and compares what came out, values and messages, with
// testdata/NAME.golden. Every key of known must be among the cases.
func golden(t *testing.T, name string, cases []variants, known []setting, load func(string) (any, []Problem, error), def any) {
	t.Helper()
	var out strings.Builder
	dir := t.TempDir()
	path := filepath.Join(dir, name+".conf")
	try := func(title, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, problems, err := load(path)
		fmt.Fprintf(&out, "### %s\n", title)
		for line := range strings.Lines(text) {
			fmt.Fprintf(&out, "| %s", strings.TrimRight(line, "\n")+"\n")
		}
		for _, p := range problems {
			fmt.Fprintf(&out, "%s: %s\n", p.Severity, strings.ReplaceAll(p.String(), dir+"/", ""))
		}
		if err != nil {
			fmt.Fprintf(&out, "rejected: %s\n", strings.ReplaceAll(err.Error(), dir+"/", ""))
		} else {
			for _, d := range differences(reflect.ValueOf(def), reflect.ValueOf(got), "") {
				fmt.Fprintf(&out, "= %s\n", strings.ReplaceAll(d, dir+"/", ""))
			}
		}
		out.WriteString("\n")
	}
	covered := make(map[string]bool)
	for _, c := range cases {
		covered[c.section+"/"+c.key] = true
		head := "[" + c.section + "]\n"
		for _, v := range c.good {
			try(c.key+" good", head+c.key+"="+v+"\n")
		}
		for _, v := range c.bad {
			try(c.key+" bad", head+c.key+"="+v+"\n")
		}
		try(c.key+" empty", head+c.key+" =\n")
		try(c.key+" without equals sign", head+c.key+"\n")
		try(c.key+" repeated", head+c.key+"="+c.good[len(c.good)-1]+"\n"+strings.ToUpper(c.key)+" = "+c.good[0]+"\n")
		if len(c.bad) > 0 {
			try(c.key+" repeated, last one bad", head+c.key+"="+c.good[0]+"\n"+c.key+"="+c.bad[0]+"\n")
		}
	}
	for _, s := range known {
		if !covered[s.section+"/"+s.key] {
			t.Errorf("[%s] %s has no case", s.section, s.key)
		}
	}
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}

// differences tells the leaves of got that are not as in def.
func differences(def, got reflect.Value, path string) []string {
	if p, ok := got.Interface().(tid.Params); ok {
		var list []string
		if got.Interface() == def.Interface() {
			return nil
		}
		for key, value := range Tunables(p) {
			list = append(list, key+"="+value)
		}
		for key, s := range map[string]tid.Secret{"dhchap-secret": p.DHCHAPSecret} {
			if !s.IsZero() {
				list = append(list, key)
			}
		}
		if !p.DHCHAPCtrl.IsZero() {
			list = append(list, "dhchap-ctrl-secret")
		}
		if !p.TLSKey.IsZero() {
			list = append(list, "tls-key")
		}
		return []string{path + " " + strings.Join(list, " ")}
	}
	if got.Kind() != reflect.Struct {
		if got.Kind() == reflect.Slice && got.Type().Elem().Kind() == reflect.Struct {
			var list []string
			for i := range got.Len() {
				elem := got.Index(i)
				list = append(list, differences(reflect.Zero(elem.Type()), elem, fmt.Sprintf("%s[%d]", path, i))...)
			}
			return list
		}
		if reflect.DeepEqual(def.Interface(), got.Interface()) {
			return nil
		}
		return []string{fmt.Sprintf("%s %v", path, got.Interface())}
	}
	var list []string
	for i := range got.NumField() {
		f := got.Type().Field(i)
		if !f.IsExported() || f.Name == "Scope" {
			continue
		}
		list = append(list, differences(def.Field(i), got.Field(i), strings.TrimPrefix(path+"."+f.Name, "."))...)
	}
	return list
}
