package mdns

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/holoplot/go-avahi"
)

// fakeAvahi plays the Avahi daemon on a testBus: the part that a Browser uses.
type fakeAvahi struct {
	conn *dbus.Conn

	mu       sync.Mutex
	n        int
	client   string                     // who browses
	browsers map[string]dbus.ObjectPath // by service type
	items    []avahi.Service            // announced when a browser comes
	silent   bool                       // says no AllForNow
	lookups  int
	// resolve answers a lookup; nil: answer.
	resolve func(s avahi.Service, n int) (avahi.Service, error)
	hang    chan struct{} // lookups wait for it
}

// serveAvahi puts a fake on the bus. Fields are set by prepare, before a client can call.
func serveAvahi(t *testing.T, b *testBus, prepare func(*fakeAvahi)) *fakeAvahi {
	t.Helper()
	f := &fakeAvahi{conn: b.Conn(), browsers: map[string]dbus.ObjectPath{}}
	if prepare != nil {
		prepare(f)
	}
	if err := f.conn.Export(fakeServer{f}, "/", avahiName+".Server"); err != nil {
		t.Fatal(err)
	}
	reply, err := f.conn.RequestName(avahiName, dbus.NameFlagDoNotQueue)
	if err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("RequestName: %v, %v", reply, err)
	}
	return f
}

// lookedUp waits until so many lookups have been made.
func (f *fakeAvahi) lookedUp(t *testing.T, want int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		f.mu.Lock()
		n := f.lookups
		f.mu.Unlock()
		if n >= want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d lookups, want %d", n, want)
		}
	}
}

// Leave takes the daemon off the bus.
func (f *fakeAvahi) Leave() { f.conn.Close() }

func (f *fakeAvahi) signal(path dbus.ObjectPath, member string, body ...any) {
	f.mu.Lock()
	to := f.client
	f.mu.Unlock()
	sendSignal(f.conn, to, path, browserIface, member, body...)
}

// sendSignal sends a signal to one client, as Avahi does.
func sendSignal(conn *dbus.Conn, to string, path dbus.ObjectPath, iface, member string, body ...any) {
	m := &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath:        dbus.MakeVariant(path),
		dbus.FieldInterface:   dbus.MakeVariant(iface),
		dbus.FieldMember:      dbus.MakeVariant(member),
		dbus.FieldDestination: dbus.MakeVariant(to),
	}, Body: body}
	if len(body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	conn.Send(m, nil) // a connection that is closed in the middle of a burst is part of some tests
}

func (f *fakeAvahi) path(typ string) dbus.ObjectPath {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.browsers[typ]
}

func itemBody(s avahi.Service) []any {
	return []any{s.Interface, s.Protocol, s.Name, s.Type, s.Domain, s.Flags}
}

// Announce and Withdraw are what the network does.
func (f *fakeAvahi) Announce(s avahi.Service) { f.signal(f.path(s.Type), "ItemNew", itemBody(s)...) }
func (f *fakeAvahi) Withdraw(s avahi.Service) { f.signal(f.path(s.Type), "ItemRemove", itemBody(s)...) }

// AllForNow ends the first look around of both browsers.
func (f *fakeAvahi) AllForNow() {
	for _, typ := range browsed {
		f.signal(f.path(typ), "AllForNow")
	}
}

// fakeServer has the methods on the bus.
type fakeServer struct{ f *fakeAvahi }

func (s fakeServer) ServiceBrowserNew(ifindex, proto int32, typ, domain string, flags uint32, from dbus.Sender) (dbus.ObjectPath, *dbus.Error) {
	f := s.f
	f.mu.Lock()
	f.n++
	path := dbus.ObjectPath(fmt.Sprintf("/Client0/ServiceBrowser%d", f.n))
	f.client = string(from)
	f.browsers[typ] = path
	items, silent := f.items, f.silent
	f.mu.Unlock()
	// Avahi signals at once, often before its reply is read.
	for _, item := range items {
		if item.Type == typ {
			f.signal(path, "ItemNew", itemBody(item)...)
		}
	}
	if !silent {
		f.signal(path, "AllForNow")
	}
	return path, nil
}

func (s fakeServer) ResolveService(ifindex, proto int32, name, typ, domain string, aproto int32, flags uint32) (int32, int32, string, string, string, string, int32, string, uint16, [][]byte, uint32, *dbus.Error) {
	f := s.f
	f.mu.Lock()
	f.lookups++
	n, resolve, hang := f.lookups, f.resolve, f.hang
	f.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if resolve == nil {
		resolve = answer
	}
	r, err := resolve(avahi.Service{Interface: ifindex, Protocol: proto, Name: name, Type: typ, Domain: domain, Aprotocol: aproto}, n)
	if err != nil {
		return 0, 0, "", "", "", "", 0, "", 0, nil, 0, dbus.NewError(avahiName+".TimeoutError", []any{err.Error()})
	}
	return r.Interface, r.Protocol, r.Name, r.Type, r.Domain, r.Host, r.Aprotocol, r.Address, r.Port, r.Txt, r.Flags, nil
}

// answer gives every service an address made of its number.
func answer(s avahi.Service, _ int) (avahi.Service, error) {
	var n int
	fmt.Sscanf(s.Name, "dc%d", &n)
	s.Host, s.Port, s.Flags = "host.local", 8009, avahi.LookupResultMulticast
	s.Address = fmt.Sprintf("10.0.%d.%d", n/250, n%250+1)
	s.Txt = [][]byte{[]byte("p=tcp")}
	return s, nil
}

// dc is the announcement of discovery controller n on the loopback interface.
func dc(n int) avahi.Service {
	return avahi.Service{Interface: 1, Protocol: avahi.ProtoInet, Name: fmt.Sprintf("dc%d", n),
		Type: TypeTCP, Domain: domain, Flags: avahi.LookupResultMulticast}
}

func dcs(n int) []avahi.Service {
	var list []avahi.Service
	for i := range n {
		list = append(list, dc(i))
	}
	return list
}
