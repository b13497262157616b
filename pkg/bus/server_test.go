package bus

import (
	"context"
	"encoding/xml"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	dbusinterfaces "github.com/stas-go/stas/dbus-interfaces"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/test/privatebus"
)

const nobody, another = 65534, 1

// connectAs gives a connection of another user. It ends with the test.
func connectAs(t *testing.T, b *privatebus.Bus, opts Options, uid int, more ...dbus.ConnOption) *link {
	t.Helper()
	user := strconv.Itoa(uid)
	conn, err := handshake(t.Context(), opts, b.DialAs(uid), user, more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func errorName(err error) string {
	var e dbus.Error
	if errors.As(err, &e) {
		return e.Name
	}
	if err == nil {
		return "success"
	}
	return err.Error()
}

func TestXMLDescribesWhatIsExported(t *testing.T) {
	f := &fakeDaemon{}
	for doc, tree := range map[string]*tree{
		dbusinterfaces.Staf: finderWithObjects(Options{}, f, newFakeObjects[DiscoveryController]()).tree,
		dbusinterfaces.Stac: connectorWithObjects(Options{}, f, newFakeObjects[IOController]()).tree,
	} {
		var node struct {
			Name       string `xml:"name,attr"`
			Interfaces []struct {
				Name    string `xml:"name,attr"`
				Methods []struct {
					Name string `xml:"name,attr"`
					Args []struct {
						Name      string `xml:"name,attr"`
						Type      string `xml:"type,attr"`
						Direction string `xml:"direction,attr"`
					} `xml:"arg"`
				} `xml:"method"`
				Signals []struct {
					Name string `xml:"name,attr"`
				} `xml:"signal"`
			} `xml:"interface"`
		}
		if err := xml.Unmarshal([]byte(withStandard(doc)), &node); err != nil {
			t.Fatal(err)
		}
		exported := tree.objects[dbus.ObjectPath(node.Name)]
		everywhere := make(map[string]string)
		count := 0
		for _, iface := range node.Interfaces {
			for _, m := range iface.Methods {
				// Proxies merge the interfaces of an object, so no name may occur twice.
				if other := everywhere[m.Name]; other != "" {
					t.Errorf("%s is a member of %s and of %s", m.Name, other, iface.Name)
				}
				everywhere[m.Name] = iface.Name
				if iface.Name == peer {
					iface.Name = peerHere
				}
				in := ""
				for _, a := range m.Args {
					if a.Name == "" {
						t.Errorf("%s has an argument without a name", m.Name)
					}
					if a.Direction == "in" {
						in += a.Type
					}
				}
				count++
				if got, ok := exported[iface.Name][m.Name]; !ok || got.in != in {
					t.Errorf("%s.%s takes %q in the XML and is exported: %v", iface.Name, m.Name, in, ok)
				}
			}
			for _, s := range iface.Signals {
				if other := everywhere[s.Name]; other != "" {
					t.Errorf("%s is a member of %s and of %s", s.Name, other, iface.Name)
				}
				everywhere[s.Name] = iface.Name
			}
		}
		for name, members := range exported {
			count -= len(members)
			if len(members) == 0 {
				t.Errorf("%s is exported without members", name)
			}
		}
		if count != 0 {
			t.Errorf("%s: methods in the XML minus exported ones: %d", node.Name, count)
		}
	}
}

func TestAnyoneReadsOnlyRootSets(t *testing.T) {
	for name, begin := range map[string]func(testing.TB) *privatebus.Bus{"policy": privatebus.Start, "code": privatebus.StartOpen} {
		t.Run(name, func(t *testing.T) {
			b := begin(t)
			staf, stac := recordedFabric()
			startFinder(t, options(b), staf)
			cs := NewConnectorServer(options(b), stac, stac)
			start(t, cs)
			onBus(t, cs.server)
			for daemon, f := range map[string]*fakeDaemon{FinderName: staf, ConnectorName: stac} {
				path := dbus.ObjectPath("/" + strings.ReplaceAll(daemon, ".", "/"))
				guest := connectAs(t, b, options(b), nobody).Object(daemon, path)
				for _, method := range []string{daemon + ".list_controllers", daemon + ".debug.process_info", introspectable + ".Introspect", "org.freedesktop.DBus.Peer.Ping"} {
					var args []any
					if strings.HasSuffix(method, "list_controllers") {
						args = []any{true}
					}
					if err := guest.Call(method, 0, args...).Err; err != nil {
						t.Errorf("nobody cannot call %s: %v", method, err)
					}
				}
				if v, err := guest.GetProperty(daemon + ".debug.tron"); err != nil || v.Value() != false {
					t.Errorf("nobody reads tron as %v, %v", v, err)
				}
				if got := errorName(guest.SetProperty(daemon+".debug.tron", true)); got != errAccessDenied || f.Tron() {
					t.Errorf("nobody sets tron: %s, it is %v", got, f.Tron())
				}
				if err := connectAs(t, b, options(b), 0).Object(daemon, path).SetProperty(daemon+".debug.tron", true); err != nil || !f.Tron() {
					t.Errorf("root sets tron: %v, it is %v", err, f.Tron())
				}
			}
			if name == "policy" {
				guest := connectAs(t, b, options(b), nobody)
				if _, err := guest.RequestName("org.nvmexpress.stas", 0); errorName(err) != errAccessDenied {
					t.Errorf("nobody gets a name: %v", err)
				}
			}
		})
	}
}

// next gives the next signal that is not of the bus itself.
func next(t *testing.T, signals chan *dbus.Signal) *dbus.Signal {
	t.Helper()
	for {
		select {
		case sig := <-signals:
			if sig.Sender != busName {
				return sig
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no signal within 20 s")
		}
	}
}

func TestPropertiesAndTheirSignal(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	startFinder(t, options(b), f)
	conn := connectAs(t, b, options(b), 0, dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	signals := make(chan *dbus.Signal, 10)
	conn.Signal(signals)
	if err := conn.AddMatchSignal(dbus.WithMatchSender(FinderName), dbus.WithMatchInterface(properties)); err != nil {
		t.Fatal(err)
	}
	o := conn.Object(FinderName, finderPath)
	debug := FinderName + ".debug"
	for _, c := range []struct {
		iface, name string
		value       any
		want        string
	}{
		{debug, "log_level", "DEBUG", errPropertyReadOnly},
		{debug, "tron", "yes", errInvalidArgs},
		{debug, "nonsense", true, errUnknownProperty},
		{"org.example", "tron", true, errUnknownInterface},
		{debug, "tron", false, "success"}, // no change, no signal
		{debug, "tron", true, "success"},
	} {
		if got := errorName(o.Call(properties+".Set", 0, c.iface, c.name, dbus.MakeVariant(c.value)).Err); got != c.want {
			t.Errorf("Set(%s, %s, %v): %s, want %s", c.iface, c.name, c.value, got, c.want)
		}
	}
	sig := next(t, signals)
	changed := sig.Body[1].(map[string]dbus.Variant)
	if sig.Name != properties+".PropertiesChanged" || sig.Body[0] != debug || changed["tron"].Value() != true || changed["log_level"].Value() != "DEBUG" {
		t.Errorf("signal %+v", sig)
	}
	var all map[string]dbus.Variant
	if err := o.Call(properties+".GetAll", 0, debug).Store(&all); err != nil || len(all) != 2 || all["log_level"].Value() != "DEBUG" {
		t.Errorf("GetAll: %v, %v", all, err)
	}
	if err := o.Call(properties+".GetAll", 0, FinderName).Store(&all); err != nil {
		t.Errorf("GetAll of an interface without properties: %v", err)
	}
	if got := errorName(o.Call(properties+".Get", 0, debug, "nonsense").Err); got != errUnknownProperty {
		t.Errorf("Get: %s", got)
	}
}

func TestSignals(t *testing.T) {
	b := privatebus.Start(t)
	s := startFinder(t, options(b), &fakeDaemon{})
	conn := connectAs(t, b, options(b), nobody, dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	signals := make(chan *dbus.Signal, 10)
	conn.Signal(signals)
	if err := conn.AddMatchSignal(dbus.WithMatchSender(FinderName)); err != nil {
		t.Fatal(err)
	}
	s.LogPagesChanged(ID{"tcp", "192.0.2.1", "8009", nvme.DiscoveryNQN, "192.0.2.9", "eth\xff0", "nqn.h"}, "nvme3")
	sig := next(t, signals)
	want := []string{"tcp", "192.0.2.1", "8009", nvme.DiscoveryNQN, "192.0.2.9", "eth\uFFFD0", "nqn.h", "nvme3"}
	if sig.Name != FinderName+".log_pages_changed" || sig.Path != finderPath || len(sig.Body) != 8 {
		t.Fatalf("signal %+v", sig)
	}
	for i, w := range want {
		if sig.Body[i] != w {
			t.Errorf("argument %d is %q, want %q", i, sig.Body[i], w)
		}
	}
	s.DCRemoved()
	if sig := next(t, signals); sig.Name != FinderName+".dc_removed" || len(sig.Body) != 0 {
		t.Errorf("signal %+v", sig)
	}
}

func TestSecondDaemonSaysWhoIsFirst(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	startFinder(t, options(b), f)
	second := NewFinderServer(options(b), f, f, f)
	err := second.Run(t.Context())
	if !errors.Is(err, ErrNameTaken) || !strings.Contains(err.Error(), "is running already") {
		t.Fatalf("Run: %v", err)
	}
	select {
	case <-second.Settled():
		t.Error("it says that there is work to start")
	default:
	}
}

// A bus that has yet to notice that our last connection ended does not end the daemon.
func TestNameThatOurLastConnectionHas(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	s := NewFinderServer(options(b), f, f, f)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.asked = true // by that connection, for which another one of this process stands
	last := connectAs(t, b, options(b), 0)
	if reply, err := last.RequestName(FinderName, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	go func() { ended <- s.Run(ctx) }()
	<-s.Settled()
	select {
	case err := <-ended:
		t.Fatalf("Run: %v", err)
	case <-time.After(nameGrace):
	}
	last.Close()
	eventually(t, "the server is on the bus", s.Connected)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestPeerAtEveryPath(t *testing.T) {
	b := privatebus.Start(t)
	startFinder(t, options(b), &fakeDaemon{})
	conn := connectAs(t, b, options(b), nobody)
	file := filepath.Join(t.TempDir(), "machine-id")
	if err := os.WriteFile(file, []byte("0123456789abcdef0123456789abcdef\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if id, err := machineID("/nonexistent", file); err != nil || id != "0123456789abcdef0123456789abcdef" {
		t.Errorf("machine ID %q, %v", id, err)
	}
	if _, err := machineID(os.DevNull); err == nil {
		t.Error("an empty file is a machine ID")
	}
	want, wantErr := machineID("/etc/machine-id", "/var/lib/dbus/machine-id")
	for _, path := range []dbus.ObjectPath{"/", "/anything", finderPath} {
		o := conn.Object(FinderName, path)
		if err := o.Call(peer+".Ping", 0).Err; err != nil {
			t.Errorf("Ping at %s: %v", path, err)
		}
		var id string
		if err := o.Call(peer+".GetMachineId", 0).Store(&id); (err == nil) != (wantErr == nil) || id != want {
			t.Errorf("GetMachineId at %s: %q, %v", path, id, err)
		}
		if got := errorName(o.Call(peer+".Nonsense", 0).Err); got != errUnknownMethod {
			t.Errorf("Peer.Nonsense: %s", got)
		}
	}
	if got := errorName(conn.Object(FinderName, "/anything").Call(introspectable+".Introspect", 0).Err); got != errUnknownInterface {
		t.Errorf("Introspect of nothing: %s", got)
	}
	var xml string
	if err := conn.Object(FinderName, "/org").Call(introspectable+".Introspect", 0).Store(&xml); err != nil || !strings.Contains(xml, `"nvmexpress"`) {
		t.Errorf("Introspect of /org: %s, %v", xml, err)
	}
}

func TestNameWithoutPolicy(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	log := make(lines, 100)
	opts := options(b)
	opts.Log = slog.New(slog.NewTextHandler(log, nil))
	s := newServer("org.nvmexpress.other", "/org/nvmexpress/other", dbusinterfaces.Stac, opts, f)
	stop := start(t, s)
	<-s.Settled() // which comes before it is said why
	eventually(t, "the policy was named", func() bool {
		select {
		case line := <-log:
			return strings.Contains(line, "org.nvmexpress.other.conf")
		default:
			return false
		}
	})
	if s.Connected() {
		t.Error("connected without the name")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// lines are what is logged, to be received one by one.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

func TestSocketName(t *testing.T) {
	for address, want := range map[string]string{
		"unix:path=/run/a%20b,guid=1": "/run/a b", "unix:guid=1,abstract=/tmp/x": "@/tmp/x",
		"tcp:host=h": "", "unix:dir=/tmp": "", "unix:path=%zz": "",
	} {
		got, err := socketName(address)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
	if _, err := ConnectFinder(t.Context(), Options{Address: ";"}); !errors.Is(err, ErrNoBus) {
		t.Errorf("empty address: %v", err)
	}
}
