package bus

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/test/privatebus"
)

func TestFailuresAreErrorsNeverShortReplies(t *testing.T) {
	b := privatebus.Start(t)
	opts := options(b)
	f := &fakeDaemon{}
	server := opts
	server.CallTimeout = 300 * time.Millisecond
	startFinder(t, server, f)
	o := connectAs(t, b, opts, 0).Object(FinderName, finderPath)
	all := map[string][]any{
		FinderName + ".list_controllers":      {false},
		FinderName + ".get_all_log_pages":     {true},
		FinderName + ".get_log_pages":         {"", "", "", "", "", "", ""},
		FinderName + ".debug.process_info":    nil,
		FinderName + ".debug.controller_info": {"", "", "", "", "", "", ""},
		pagesInterface + ".ListPages":         nil,
		pagesInterface + ".GetPage":           {"k", uint32(0)},
	}
	for _, c := range []struct {
		want string
		set  func(bool)
	}{
		{errFailed, func(on bool) { f.panics = on }},
		{errTimeout, func(on bool) { f.hang = on }},
		{errFailed, func(on bool) {
			if f.err = nil; on {
				f.err = errors.New("cannot say")
			}
		}},
	} {
		f.set(func() { c.set(true) })
		for method, args := range all {
			if got := errorName(o.Call(method, 0, args...).Err); got != c.want {
				t.Errorf("%s: %s, want %s", method, got, c.want)
			}
		}
		f.set(func() { c.set(false) })
	}
	for method, args := range map[string][]any{
		FinderName + ".list_controllers": {"yes"}, FinderName + ".get_log_pages": {"tcp"}, pagesInterface + ".GetPage": {"k"},
		FinderName + ".debug.process_info": {true},
	} {
		if got := errorName(o.Call(method, 0, args...).Err); got != errInvalidArgs {
			t.Errorf("%s%v: %s, want %s", method, args, got, errInvalidArgs)
		}
	}
	if got := errorName(o.Call(pagesInterface+".GetPage", 0, "none", uint32(0)).Err); got != errUnknownObject {
		t.Errorf("GetPage of nothing: %s", got)
	}
	for method, args := range all {
		if strings.HasSuffix(method, "GetPage") {
			continue
		}
		if err := o.Call(method, 0, args...).Err; err != nil {
			t.Errorf("after the failures, %s: %v", method, err)
		}
	}
}

func TestTooManyCallsAtATime(t *testing.T) {
	b := privatebus.Start(t)
	server := options(b)
	server.CallTimeout = 500 * time.Millisecond
	f := &fakeDaemon{hang: true}
	startFinder(t, server, f)
	o := connectAs(t, b, options(b), 0).Object(FinderName, finderPath)
	done := make(chan *dbus.Call, 4*maxCalls)
	for range cap(done) {
		o.Go(FinderName+".list_controllers", 0, done, false)
	}
	got := make(map[string]int)
	for range cap(done) {
		got[errorName((<-done).Err)]++
	}
	if got[errTimeout] < maxCalls || got[errTimeout]+got[errLimitsExceeded] != cap(done) {
		t.Errorf("answers: %v", got)
	}
}

// The bus bounds the calls of a user that await an answer, and not those that want none.
func TestFloodOfCallsThatWantNoAnswer(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{hang: true}
	startFinder(t, options(b), f)
	conn := connectAs(t, b, options(b), nobody)
	o := conn.Object(FinderName, finderPath)
	before := runtime.NumGoroutine()
	for range 5000 {
		o.Call(FinderName+".get_all_log_pages", dbus.FlagNoReplyExpected, true)
	}
	// This one is behind them all.
	if err := o.Call(FinderName+".no_such_method", 0).Err; errorName(err) != errUnknownMethod {
		t.Fatal(err)
	}
	most := before + maxWaiting + 200
	for end := time.Now().Add(options(b).CallTimeout / 2); runtime.NumGoroutine() > most; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, before there were %d", runtime.NumGoroutine(), before)
		}
	}
	f.set(func() { f.hang = false })
	eventually(t, "calls are answered again", func() bool { return o.Call(FinderName+".list_controllers", 0, false).Err == nil })
}

// Who wants no answer gets no error either (D-Bus specification, "Message Format", NO_REPLY_EXPECTED).
func TestNoErrorWhereNoAnswerIsWanted(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{err: errors.New("cannot say")}
	s := startFinder(t, options(b), f)
	conn := connectAs(t, b, options(b), 0)
	object, _ := s.tree.LookupObject(finderPath)
	iface, _ := object.LookupInterface(FinderName)
	m, _ := iface.LookupMethod("list_controllers")
	call := func(flags dbus.Flags) error {
		msg := &dbus.Message{Flags: flags, Headers: map[dbus.HeaderField]dbus.Variant{dbus.FieldSignature: dbus.MakeVariant(dbus.ParseSignatureMust("b"))}}
		args, err := m.(dbus.ArgumentDecoder).DecodeArguments(conn.Conn, ":1.1", msg, []any{true})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Call(args...)
		return err
	}
	if call(0) == nil {
		t.Error("no error where one is wanted")
	}
	if err := call(dbus.FlagNoReplyExpected); err != nil {
		t.Error(err)
	}
	f.set(func() { f.panics = true })
	if err := call(dbus.FlagNoReplyExpected); err != nil {
		t.Error(err)
	}
}

func TestRepliesOverTheCapNameTheOtherWay(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	long := strings.Repeat("x", 200)
	for range 60000 {
		f.controllers = append(f.controllers, Controller{ID: ID{Traddr: long}})
	}
	entries := make([]nvme.DiscoveryEntry, 50000)
	for i := range entries {
		entries[i] = nvme.DiscoveryEntry{SubNQN: long}
	}
	f.logs = []ControllerLog{{Controller{}, entries}}
	startFinder(t, options(b), f)
	conn := connectAs(t, b, options(b), nobody)
	o := conn.Object(FinderName, finderPath)
	for method, want := range map[string]string{
		"list_controllers": ".debug.controller_info", "get_all_log_pages": ".get_log_pages", "get_log_pages": ".GetPage",
	} {
		args := []any{false}
		if method == "get_log_pages" {
			args = ID{}.args()
		}
		err := o.Call(FinderName+"."+method, 0, args...).Err
		if errorName(err) != errLimitsExceeded || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one that names %s", method, err, want)
		}
	}
	if !conn.Connected() {
		t.Error("the bus dropped the connection")
	}
}

func TestTextThatTheBusDoesNotTake(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{
		controllers: []Controller{{
			ID: ID{Traddr: "a\x00b"}, Device: "\xff\xfe", Tunables: []Field{{"k\x00", "v\xc3"}},
			Info: []Field{{"dhchap-ctrl-secret", "hidden"}},
		}},
		info: Object{{"bad\xff", "\x00"}, {"hostkey", "hidden"}, {"DHCHAP-Secret", "hidden"}, {"deep", Object{{"hostkey", "hidden"}}}},
	}
	f.setPage(Page{Key: "k\xff", ID: ID{Traddr: "\xff\x00"}, Disposition: Active}, nil)
	startFinder(t, options(b), f)
	o := connectAs(t, b, options(b), nobody).Object(FinderName, finderPath)
	var list []map[string]string
	if err := o.Call(FinderName+".list_controllers", 0, true).Store(&list); err != nil || list[0]["traddr"] != "a\uFFFDb" || list[0]["k\uFFFD"] != "v\uFFFD" {
		t.Errorf("list_controllers: %v, %v", list, err)
	}
	if _, ok := list[0]["dhchap-ctrl-secret"]; ok {
		t.Error("list_controllers gives a secret")
	}
	var text string
	if err := o.Call(FinderName+".debug.process_info", 0).Store(&text); err != nil || !json.Valid([]byte(text)) || strings.Contains(text, "hidden") {
		t.Errorf("process_info: %s, %v", text, err)
	}
	if !strings.Contains(text, `"hostkey": "[redacted]"`) {
		t.Errorf("process_info does not say that there is a host key: %s", text)
	}
	if err := o.Call(pagesInterface+".ListPages", 0).Err; err != nil {
		t.Errorf("ListPages: %v", err)
	}
}

// slowLogs is a daemon that takes its time for all log pages, and for nothing else.
type slowLogs struct{ *fakeDaemon }

func (slowLogs) AllLogPages(ctx context.Context, _ bool) ([]ControllerLog, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Any local user may call. That keeps neither root, as whom stacd asks, nor all other users from being answered.
func TestFloodOfOneUserHoldsUpNobodyElse(t *testing.T) {
	b := privatebus.Start(t)
	f := &fakeDaemon{}
	f.setPage(Page{Key: "k", Disposition: Active}, nil)
	s := NewFinderServer(options(b), slowLogs{f}, f, f)
	start(t, s)
	onBus(t, s.server)
	c := NewPagesClient(options(b))
	start(t, c)
	eventually(t, "the client knows the server", func() bool { return c.State().Available })
	for range 3 {
		o := connectAs(t, b, options(b), nobody).Object(FinderName, finderPath)
		for range 2 * maxWaiting {
			o.Call(FinderName+".get_all_log_pages", dbus.FlagNoReplyExpected, true)
		}
		// These are behind them all.
		if err := o.Call(FinderName+".no_such_method", 0).Err; errorName(err) != errUnknownMethod {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), options(b).callTimeout()/2)
	defer cancel()
	for range 3 {
		if pages, err := c.List(ctx); err != nil || len(pages) != 1 {
			t.Errorf("stacd was told %v, %v", pages, err)
		}
		if _, _, err := c.Get(ctx, "k"); err != nil {
			t.Error(err)
		}
	}
	other := connectAs(t, b, options(b), another).Object(FinderName, finderPath)
	if err := other.CallWithContext(ctx, FinderName+".list_controllers", 0, false).Err; err != nil {
		t.Errorf("another user: %v", err)
	}
}
