package bus

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	dbusinterfaces "github.com/stas-go/stas/dbus-interfaces"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/test/privatebus"
)

// TestChildXML compares the descriptions of the children with what they have.
func TestChildXML(t *testing.T) {
	f := &fakeDaemon{}
	staf := finderWithObjects(Options{}, f, newFakeObjects[DiscoveryController]())
	stac := connectorWithObjects(Options{}, f, newFakeObjects[IOController]())
	compare := func(doc string, tree *tree, root string, names, signatures []string) {
		var node struct {
			Interface struct {
				Name    string `xml:"name,attr"`
				Methods []struct {
					Name string `xml:"name,attr"`
					Args []struct {
						Type      string `xml:"type,attr"`
						Direction string `xml:"direction,attr"`
					} `xml:"arg"`
				} `xml:"method"`
				Properties []struct {
					Name   string `xml:"name,attr"`
					Type   string `xml:"type,attr"`
					Access string `xml:"access,attr"`
				} `xml:"property"`
			} `xml:"interface"`
		}
		if err := xml.Unmarshal([]byte(doc), &node); err != nil {
			t.Fatal(err)
		}
		ifaces, ok := tree.children.child(dbus.ObjectPath(root + "/controller/a"))
		if !ok || len(ifaces) != 3 {
			t.Fatalf("%s has the interfaces %v", root, ifaces)
		}
		exported := ifaces[node.Interface.Name]
		for _, m := range node.Interface.Methods {
			in := ""
			for _, a := range m.Args {
				if a.Direction == "in" {
					in += a.Type
				}
			}
			if exported[m.Name] == nil || exported[m.Name].in != in {
				t.Errorf("%s is not exported as described", m.Name)
			}
		}
		if len(exported) != len(node.Interface.Methods) {
			t.Errorf("%d methods are described, %d exported", len(node.Interface.Methods), len(exported))
		}
		var gotNames, gotSignatures []string
		for _, p := range node.Interface.Properties {
			gotNames, gotSignatures = append(gotNames, p.Name), append(gotSignatures, p.Type)
			if p.Access != "read" {
				t.Errorf("%s has access %s", p.Name, p.Access)
			}
		}
		if d := cmp.Diff(names, gotNames) + cmp.Diff(signatures, gotSignatures); d != "" {
			t.Errorf("properties of %s (-served +described):\n%s", root, d)
		}
	}
	names, signatures := propertyNames(discoveryKind.properties)
	compare(dbusinterfaces.StafController, staf.tree, finderPath, names, signatures)
	names, signatures = propertyNames(ioKind.properties)
	compare(dbusinterfaces.StacController, stac.tree, connectorPath, names, signatures)
}

func propertyNames[T any](list []property[T]) (names, signatures []string) {
	for _, p := range list {
		names, signatures = append(names, p.name), append(signatures, p.sig.String())
	}
	return names, signatures
}

func TestObjectsAsTheyAre(t *testing.T) {
	b := privatebus.Start(t)
	o, io := newFakeObjects[DiscoveryController](), newFakeObjects[IOController]()
	f := &fakeDaemon{}
	want, wantIO := discoveryController("1f-2"), ioController("ab")
	o.put(want.Key, want)
	io.put(wantIO.Key, wantIO)
	staf, stac := finderWithObjects(options(b), f, o), connectorWithObjects(options(b), f, io)
	start(t, staf)
	start(t, stac)
	onBus(t, staf.server)
	onBus(t, stac.server)
	c, err := ConnectFinder(t.Context(), options(b))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	list, ok, err := c.DiscoveryControllers(t.Context())
	if d := cmp.Diff([]DiscoveryController{want}, list); d != "" || !ok || err != nil {
		t.Errorf("%v, %v, %s", ok, err, d)
	}
	cc, err := ConnectConnector(t.Context(), options(b))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	one, err := cc.IOController(t.Context(), "ab")
	if d := cmp.Diff(wantIO, one, cmp.Transformer("nil", func(s []string) string { return strings.Join(s, ",") })); d != "" || err != nil {
		t.Errorf("%v, %s", err, d)
	}
	if _, err := cc.IOController(t.Context(), "no"); !errors.Is(err, ErrNoController) {
		t.Errorf("nothing is %v", err)
	}
	for _, name := range []string{FinderName, ConnectorName} {
		out := b.Busctl("tree", "--list", name)
		if !strings.Contains(out, "/controller/") {
			t.Errorf("busctl tree: %s", out)
		}
		if out := b.Busctl("introspect", name, strings.TrimSpace(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:])); !strings.Contains(out, ".Reconnect") || !strings.Contains(out, `"live"`) {
			t.Errorf("busctl introspect: %s", out)
		}
	}
}

func TestObjectMethodsAndTheirCallers(t *testing.T) {
	for name, begin := range map[string]func(testing.TB) *privatebus.Bus{"policy": privatebus.Start, "code": privatebus.StartOpen} {
		t.Run(name, func(t *testing.T) {
			b := begin(t)
			o, io := newFakeObjects[DiscoveryController](), newFakeObjects[IOController]()
			o.put("a", discoveryController("a"))
			io.put("b", ioController("b"))
			f := &fakeDaemon{}
			f.setPage(Page{Key: "a", Complete: true, GenCtr: 7}, []nvme.DiscoveryEntry{{Traddr: "192.0.2.3"}})
			staf, stac := finderWithObjects(options(b), f, o), connectorWithObjects(options(b), f, io)
			start(t, staf)
			start(t, stac)
			onBus(t, staf.server)
			onBus(t, stac.server)
			guest, root := connectAs(t, b, options(b), nobody), connectAs(t, b, options(b), 0)
			at := func(conn *link, name string, path dbus.ObjectPath, method string, args ...any) string {
				return errorName(conn.Object(name, path).Call(method, 0, args...).Err)
			}
			dc, ioc := childPath(finderPath, "a"), childPath(connectorPath, "b")
			for _, c := range []struct {
				name    string
				path    dbus.ObjectPath
				method  string
				args    []any
				guest   string
				root    string
				request string
			}{
				{FinderName, dc, discoveryInterface + ".Reconnect", nil, errAccessDenied, "success", "reconnect a"},
				{FinderName, dc, discoveryInterface + ".Refresh", nil, errAccessDenied, "success", "refresh a"},
				{FinderName, dc, discoveryInterface + ".GetLogPage", nil, "success", "success", ""},
				{FinderName, childPath(finderPath, "x"), discoveryInterface + ".GetLogPage", nil, errUnknownObject, errUnknownObject, ""},
				{FinderName, childPath(finderPath, "x"), discoveryInterface + ".Refresh", nil, errAccessDenied, errUnknownObject, ""},
				{FinderName, dc, properties + ".GetAll", []any{discoveryInterface}, "success", "success", ""},
				{FinderName, dc, properties + ".Get", []any{discoveryInterface, "Nonsense"}, errUnknownProperty, errUnknownProperty, ""},
				{FinderName, dc, properties + ".Set", []any{discoveryInterface, "Device", dbus.MakeVariant("x")}, errAccessDenied, errPropertyReadOnly, ""},
				{FinderName, finderPath, objectManager + ".GetManagedObjects", nil, "success", "success", ""},
				{ConnectorName, ioc, ioInterface + ".Reconnect", nil, errAccessDenied, "success", "reconnect b"},
				{ConnectorName, ioc, ioInterface + ".Disconnect", []any{false}, errAccessDenied, "success", "disconnect b"},
				{ConnectorName, ioc, ioInterface + ".Disconnect", []any{true}, errAccessDenied, errNotSupported, ""},
				{ConnectorName, ioc, properties + ".Get", []any{ioInterface, "State"}, "success", "success", ""},
			} {
				if got := at(guest, c.name, c.path, c.method, c.args...); got != c.guest {
					t.Errorf("nobody, %s at %s: %s, want %s", c.method, c.path, got, c.guest)
				}
				if len(o.asked)+len(io.asked) != 0 {
					t.Fatalf("nobody had %v %v done", o.asked, io.asked)
				}
				if got := at(root, c.name, c.path, c.method, c.args...); got != c.root {
					t.Errorf("root, %s at %s: %s, want %s", c.method, c.path, got, c.root)
				}
				if got := strings.Join(append(o.asked, io.asked...), ","); got != c.request {
					t.Errorf("root, %s at %s asks for %q", c.method, c.path, got)
				}
				o.asked, io.asked = nil, nil
			}
		})
	}
}

func TestPageThatWasNeverRead(t *testing.T) {
	b := privatebus.Start(t)
	o := newFakeObjects[DiscoveryController]()
	f := &fakeDaemon{}
	f.setPage(Page{Key: "a"}, nil)
	s := finderWithObjects(options(b), f, o)
	start(t, s)
	onBus(t, s.server)
	conn := connectAs(t, b, options(b), nobody)
	if got := errorName(conn.Object(FinderName, childPath(finderPath, "a")).Call(discoveryInterface+".GetLogPage", 0).Err); got != errNotRead {
		t.Errorf("GetLogPage: %s", got)
	}
}

// TestSignalsEqualState: whatever happens, a client that began with GetManagedObjects and applied all signals
// has the state; and what others ask meanwhile changes nothing about that.
func TestSignalsEqualState(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	o := newFakeObjects[IOController]()
	o.put("a", ioController("a"))
	s := connectorWithObjects(options(b), f, o)
	start(t, s)
	onBus(t, s.server)

	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	seen, up := map[string]IOController{}, make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		err := WatchIOControllers(ctx, options(b), func(c Change[IOController]) {
			mu.Lock()
			defer mu.Unlock()
			switch c.Kind {
			case Up:
				close(up)
			case Known, Added, Changed:
				seen[c.Key] = c.After
			case Removed:
				delete(seen, c.Key)
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-up
	conn := connectAs(t, b, options(b), nobody)
	keys := []string{"a", "b", "c-2"}
	same := func() string {
		mu.Lock()
		defer mu.Unlock()
		return cmp.Diff(o.snapshot(), seen, cmp.Transformer("joined", func(s []string) string { return strings.Join(s, ",") }))
	}
	rapid.Check(t, func(r *rapid.T) {
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			key := rapid.SampledFrom(keys).Draw(r, "key")
			c := ioController(key)
			c.Attempts = rapid.Uint32Range(0, 2).Draw(r, "attempts")
			c.LastError = rapid.SampledFrom([]string{"", "refused", "tim\x00ed out\xff"}).Draw(r, "error")
			c.NextRetry = time.UnixMicro(rapid.Int64Range(1, 2).Draw(r, "retry"))
			c.BlockDevices = rapid.SliceOfN(rapid.SampledFrom([]string{"nvme0n1", "nvme0n2"}), 0, 2).Draw(r, "devices")
			switch rapid.IntRange(0, 4).Draw(r, "what") {
			case 0:
				o.remove(key)
				s.ControllerChanged(key)
			case 1:
				if err := conn.Object(ConnectorName, connectorPath).Call(objectManager+".GetManagedObjects", 0).Err; err != nil {
					r.Fatal(err)
				}
			default:
				c.LastError = clean(c.LastError)
				o.put(key, c)
				s.ControllerChanged(key)
				if rapid.Bool().Draw(r, "event") {
					s.ControllerConnected(key)
				}
			}
		}
		eventually(t, "the client sees the state: "+same(), func() bool { return same() == "" })
	})
}

func TestEvents(t *testing.T) {
	b := privatebus.Start(t)
	o := newFakeObjects[IOController]()
	o.put("a", ioController("a"))
	s := connectorWithObjects(options(b), &fakeDaemon{}, o)
	start(t, s)
	onBus(t, s.server)
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan Change[IOController], 100)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		_ = WatchIOControllers(ctx, options(b), func(c Change[IOController]) { changes <- c })
	})
	expect := func(kind ChangeKind, name, reason string) Change[IOController] {
		t.Helper()
		select {
		case c := <-changes:
			if c.Kind != kind || c.Name != name || c.Reason != reason {
				t.Fatalf("got %+v, want %d %s %s", c, kind, name, reason)
			}
			return c
		case <-time.After(20 * time.Second):
			t.Fatalf("nothing for 20 s, want %d %s", kind, name)
		}
		panic("not reached")
	}
	expect(Up, "", "")
	expect(Known, "", "")
	s.ControllerGivenUp("a", "no contact")
	expect(Event, "GivenUp", "no contact")
	c := ioController("a")
	c.State = "reconnecting"
	o.put("a", c)
	s.ControllerLost("a")
	if c := expect(Changed, "", ""); !slices.Equal(c.Properties, []string{"State"}) || c.Before.State != "connected" || c.After.State != "reconnecting" {
		t.Errorf("change %+v", c)
	}
	expect(Event, "Lost", "")
	o.remove("a")
	s.ControllerLost("a")
	expect(Event, "Lost", "")
	expect(Removed, "", "")
	b.Kill()
}

func TestObjectsOverTheCap(t *testing.T) {
	b := privatebus.Start(t)
	o := newFakeObjects[IOController]()
	for i := range 600 {
		c := ioController(fmt.Sprint(i))
		c.LastError = strings.Repeat("x", 30000)
		o.put(c.Key, c)
	}
	s := connectorWithObjects(options(b), &fakeDaemon{}, o)
	start(t, s)
	onBus(t, s.server)
	conn := connectAs(t, b, options(b), nobody)
	err := conn.Object(ConnectorName, connectorPath).Call(objectManager+".GetManagedObjects", 0).Err
	if errorName(err) != errLimitsExceeded || !strings.Contains(err.Error(), "GetAll") {
		t.Errorf("GetManagedObjects: %v", err)
	}
}

func TestStateThatCannotBeHadStaysDue(t *testing.T) {
	b := privatebus.Start(t)
	o := newFakeObjects[IOController]()
	s := connectorWithObjects(options(b), &fakeDaemon{}, o)
	start(t, s)
	onBus(t, s.server)
	conn := connectAs(t, b, options(b), nobody, dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	signals := make(chan *dbus.Signal, 10)
	conn.Signal(signals)
	if err := conn.AddMatchSignal(dbus.WithMatchSender(ConnectorName)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Object(ConnectorName, connectorPath).Call(objectManager+".GetManagedObjects", 0).Err; err != nil {
		t.Fatal(err)
	}
	o.fail(errors.New("busy"))
	o.put("a", ioController("a"))
	s.ControllerChanged("a")
	eventually(t, "it was tried to tell", func() bool { return o.failures() > 0 })
	if got := errorName(conn.Object(ConnectorName, connectorPath).Call(objectManager+".GetManagedObjects", 0).Err); got != errFailed {
		t.Errorf("GetManagedObjects: %s", got)
	}
	o.fail(nil)
	if sig := next(t, signals); sig.Name != objectManager+".InterfacesAdded" {
		t.Errorf("signal %+v", sig)
	}
}

// What could not be told in time is told later, and does not hide what has happened to the controller since.
func TestWhatCouldNotBeReadIsToldLater(t *testing.T) {
	b := privatebus.Start(t)
	o := newFakeObjects[IOController]()
	for _, key := range []string{"a", "b"} {
		o.put(key, ioController(key))
	}
	s := connectorWithObjects(options(b), &fakeDaemon{}, o)
	start(t, s)
	onBus(t, s.server)
	conn := connectAs(t, b, options(b), nobody, dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	signals := make(chan *dbus.Signal, 10)
	conn.Signal(signals)
	if err := conn.AddMatchSignal(dbus.WithMatchSender(ConnectorName), dbus.WithMatchInterface(ioEventsInterface)); err != nil {
		t.Fatal(err)
	}
	o.fail(errors.New("busy"))
	s.ControllerConnected("a")
	s.ControllerConnected("b")
	eventually(t, "it was tried", func() bool { return o.failures() > 0 })
	s.ControllerLost("b") // before it can be told: that takes a second, and so may the way to the next line
	o.fail(nil)
	got := map[any]string{}
	for range 2 {
		sig := next(t, signals)
		got[sig.Body[0]] = sig.Name
	}
	if got[s.controllers.path("a")] != ioEventsInterface+".Connected" || got[s.controllers.path("b")] != ioEventsInterface+".Lost" {
		t.Errorf("signals: %v", got)
	}
	select {
	case sig := <-signals:
		t.Errorf("one more: %+v", sig)
	case <-time.After(1500 * time.Millisecond):
	}
}
