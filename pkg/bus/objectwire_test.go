package bus

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/godbus/dbus/v5"
	"pgregory.net/rapid"

	"github.com/stas-go/stas/test/privatebus"
)

func TestPathElements(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		key := rapid.String().Draw(r, "key")
		e := pathElement(key)
		if !dbus.ObjectPath("/" + e).IsValid() {
			t.Fatalf("%q is not part of a path", e)
		}
		if got := keyOfElement(e); got != key {
			t.Fatalf("%q became %q and then %q", key, e, got)
		}
	})
}

func FuzzKeyOfElement(f *testing.F) {
	f.Add("_")
	f.Add("1f_2d2")
	f.Add("_2")
	f.Fuzz(func(t *testing.T, e string) {
		if key := keyOfElement(e); keyOfElement(pathElement(key)) != key {
			t.Errorf("%q", e)
		}
	})
}

// TestMemoryOfObjects: 10 000 objects that were told to the bus and never changed since.
func TestMemoryOfObjects(t *testing.T) {
	const n = 10000
	o := newObjects(ioKind, connectorPath, ioEventsInterface, func(context.Context, []string) ([]IOController, error) {
		list := make([]IOController, n)
		for i := range list {
			list[i] = ioController(fmt.Sprintf("%016x", i))
		}
		return list, nil
	})
	o.open(nil)
	before := heap()
	if list, err := o.publish(t.Context(), nil, nil); err != nil || len(list) != n {
		t.Fatal(len(list), err)
	}
	per := (heap() - before) / n
	t.Logf("%d bytes per object", per)
	if per > 1024 {
		t.Errorf("%d bytes per object", per)
	}
	runtime.KeepAlive(o)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkManagedObjects10000(b *testing.B) {
	daemon := privatebus.Start(b)
	o := newFakeObjects[IOController]()
	for i := range 10000 {
		key := fmt.Sprintf("%016x", i)
		o.put(key, ioController(key))
	}
	s := connectorWithObjects(options(daemon), &fakeDaemon{}, o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-ended })
	<-s.Settled()
	c, err := ConnectConnector(ctx, options(daemon))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	b.ReportAllocs()
	for b.Loop() {
		if list, _, err := c.IOControllers(ctx); err != nil || len(list) != 10000 {
			b.Fatal(len(list), err)
		}
	}
}
