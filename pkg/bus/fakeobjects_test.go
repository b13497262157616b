package bus

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// fakeObjects is the controllers of a daemon, and the requests that it got.
type fakeObjects[T any] struct {
	mu    sync.Mutex
	all   map[string]T
	asked []string
	fails error
	tries int // that failed
}

func newFakeObjects[T any]() *fakeObjects[T] { return &fakeObjects[T]{all: map[string]T{}} }

func (f *fakeObjects[T]) read(_ context.Context, keys []string) ([]T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		f.tries++
		return nil, f.fails
	}
	if keys == nil {
		keys = slices.Sorted(maps.Keys(f.all))
	}
	var list []T
	for _, k := range keys {
		if c, ok := f.all[k]; ok {
			list = append(list, c)
		}
	}
	return list, nil
}

func (f *fakeObjects[T]) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = err
}

func (f *fakeObjects[T]) failures() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tries
}

func (f *fakeObjects[T]) DiscoveryControllers(ctx context.Context, keys []string) ([]T, error) {
	return f.read(ctx, keys)
}

func (f *fakeObjects[T]) IOControllers(ctx context.Context, keys []string) ([]T, error) {
	return f.read(ctx, keys)
}

func (f *fakeObjects[T]) ask(what, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.all[key]; !ok {
		return ErrNoController
	}
	f.asked = append(f.asked, what+" "+key)
	return nil
}

func (f *fakeObjects[T]) Reconnect(_ context.Context, key string) error {
	return f.ask("reconnect", key)
}
func (f *fakeObjects[T]) Refresh(_ context.Context, key string) error { return f.ask("refresh", key) }
func (f *fakeObjects[T]) Disconnect(_ context.Context, key string) error {
	return f.ask("disconnect", key)
}

func (f *fakeObjects[T]) put(key string, c T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[key] = c
}

func (f *fakeObjects[T]) remove(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, key)
}

func (f *fakeObjects[T]) snapshot() map[string]T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.all)
}

func finderWithObjects(opts Options, f *fakeDaemon, o *fakeObjects[DiscoveryController]) *FinderServer {
	s := NewFinderServer(opts, f, f, f)
	s.ServeControllers(o)
	return s
}

func connectorWithObjects(opts Options, f *fakeDaemon, o *fakeObjects[IOController]) *ConnectorServer {
	s := NewConnectorServer(opts, f, f)
	s.ServeControllers(o)
	return s
}

func discoveryController(key string) DiscoveryController {
	return DiscoveryController{
		Key: key, ID: ID{"tcp", "192.0.2.1", "8009", nvme.DiscoveryNQN, "", "eth0", "nqn.h"}, HostID: "id",
		Origins: []string{"configured stafd.conf:3"}, Device: "nvme0", KernelState: "live", SessionState: "held",
		LastError: "refused", LastErrorTime: time.UnixMicro(17), Registration: "registered", PageGeneration: 4, Records: 2,
		PageReadTime: time.UnixMicro(99), Disposition: Active, Owner: "stas", PendingChanges: []string{"kato"},
	}
}

func ioController(key string) IOController {
	return IOController{
		Key: key, ID: ID{"tcp", "192.0.2.1", "4420", "nqn.2026-01.test:a", "", "", "nqn.h"}, HostID: "id",
		Device: "nvme1", Subsystem: "nvme-subsys1", KernelState: "live", State: "connected",
		Reasons: []string{"listed by x"}, Owner: "stas", SrcAddr: "192.0.2.9", BlockDevices: []string{"nvme1n1"},
	}
}
