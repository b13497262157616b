// Package fake is a host without a kernel: the method sets of kernel.Worker, kernel.Sysfs and
// the registry over memory, and a kernel.Watcher over events that can be lost, held back and
// shuffled. Targets fail as a script says. It serves tests, with testing/synctest: all
// waiting is on channels and timers.
//
// The rules are those of Linux as far as callers can see them: one connect at a time, the
// lowest free instance, a controller that shows up while it still connects and goes when
// that fails, EALREADY for a second equal I/O connection and never for a discovery one, an
// event about the log page only once per read.
package fake

import (
	"container/heap"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

// Host is a host in memory. All methods may be called from many goroutines.
type Host struct {
	// OnOrphan is as in kernel.WorkerOptions; set it before the first request.
	OnOrphan func(kernel.Late)

	lane   chan struct{} // holds the one who is connecting
	closed chan struct{}

	mu          sync.Mutex
	closeOnce   sync.Once
	targets     map[address]*Target
	controllers map[string]*controller
	connected   map[duplicate]string
	free        instances
	next        int
	inode       uint64
	seqnum      uint64
	owners      map[string]entry
	unwritable  error // what writing an entry of the registry gives
	source      *source
	fabricsGone bool
	known       kernel.Options
	stats       Stats
}

// address is what a connect finds a target by.
type address struct {
	transport                nvme.Transport
	traddr, trsvcid, subject string
}

// duplicate is what the kernel compares when it looks for an equal I/O connection.
type duplicate struct {
	tid.TID
	hostID string
}

type entry struct {
	owner  registry.Owner
	seqnum string
}

// controller is one controller of the host.
type controller struct {
	kernel.Controller
	target     *Target
	dup        duplicate
	ready      bool // the first connect is through
	armed      bool // the next change of the log page raises an event
	reads      int
	registered [][]byte
}

// New makes a host with nothing on it. Call it inside the synctest bubble.
func New() *Host {
	return &Host{
		lane: make(chan struct{}, 1), closed: make(chan struct{}),
		targets: map[address]*Target{}, controllers: map[string]*controller{}, connected: map[duplicate]string{},
		owners: map[string]entry{},
		known: kernel.Options{Release: "6.12.0", Names: []string{"concat", "ctrl_loss_tmo", "data_digest", "dhchap_ctrl_secret",
			"dhchap_secret", "disable_sqflow", "discovery", "duplicate_connect", "fast_io_fail_tmo", "hdr_digest", "host_iface",
			"host_traddr", "hostid", "hostnqn", "keep_alive_tmo", "keyring", "nqn", "nr_io_queues", "nr_poll_queues",
			"nr_write_queues", "queue_size", "reconnect_delay", "tls", "tls_key", "tos", "traddr", "transport", "trsvcid"}},
	}
}

// instances is the heap of instance numbers given back.
type instances []int

func (h instances) Len() int           { return len(h) }
func (h instances) Less(i, j int) bool { return h[i] < h[j] }
func (h instances) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *instances) Push(x any)        { *h = append(*h, x.(int)) }
func (h *instances) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// add brings a controller into being, still connecting. The caller holds the lock.
func (h *Host) add(t tid.TID, hostID string, target *Target) *controller {
	instance := h.next
	if h.free.Len() > 0 {
		instance = heap.Pop(&h.free).(int)
	} else {
		h.next++
	}
	h.inode++
	c := &controller{target: target, dup: duplicate{t, hostID}}
	c.Controller = kernel.Controller{
		Name: kernel.Name(instance), Instance: instance, Inode: h.inode, HostID: hostID,
		State: kernel.StateConnecting, KATO: 30,
		Live: tid.Live{Transport: t.Transport, Traddr: t.Traddr, Trsvcid: t.Trsvcid, HostTraddr: t.HostTraddr,
			HostIface: t.HostIface, HostNQN: t.HostNQN},
	}
	h.controllers[c.Name] = c
	h.emit("add", c.Name, t.Transport)
	return c
}

// live completes the first connect of c. The caller holds the lock.
func (h *Host) live(c *controller) {
	b := &c.target.Behaviour
	c.ready, c.armed = true, true
	c.State, c.CntlID = kernel.StateLive, int(h.inode%0xFFEF)+1
	c.NQN = b.subNQN(c.dup.NQN)
	c.KindKnown, c.Kind, c.CntrlType, c.QueueCount = true, tid.IO, kernel.TypeIO, 3
	if b.Kind == tid.Discovery {
		c.Kind, c.CntrlType, c.QueueCount = tid.Discovery, kernel.TypeDiscovery, 1
		c.DCType = b.DCType.String()
	} else {
		h.connected[c.dup] = c.Name
	}
	c.SrcAddr = b.SrcAddr
	c.Model, c.Serial, c.Firmware = "fake", fmt.Sprintf("%08x", c.Inode), "1"
	h.emit("change", c.Name, c.Transport, "NVME_EVENT=connected")
}

// remove takes a controller off the host. The caller holds the lock.
func (h *Host) remove(c *controller) {
	if h.controllers[c.Name] != c {
		return
	}
	delete(h.controllers, c.Name)
	if h.connected[c.dup] == c.Name {
		delete(h.connected, c.dup)
	}
	heap.Push(&h.free, c.Instance)
	h.emit("remove", c.Name, c.Transport)
}

// Names implements kernel.Reader.
func (h *Host) Names() ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := make([]string, 0, len(h.controllers))
	for n := range h.controllers {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int { return h.controllers[a].Instance - h.controllers[b].Instance })
	return names, nil
}

// Controllers is kernel.Sysfs.Controllers.
func (h *Host) Controllers() ([]kernel.Controller, error) {
	names, _ := h.Names()
	list := make([]kernel.Controller, 0, len(names))
	for _, n := range names {
		if c, err := h.Controller(n); err == nil {
			list = append(list, c)
		}
	}
	return list, nil
}

// Controller is kernel.Sysfs.Controller.
func (h *Host) Controller(name string) (kernel.Controller, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.controllers[name]
	if c == nil {
		return kernel.Controller{}, fmt.Errorf("cannot read controller %s: %w", name, kernel.ErrGone)
	}
	h.stats.Reads++
	return c.Controller, nil
}

// ControllerIf is kernel.Sysfs.ControllerIf.
func (h *Host) ControllerIf(name string, want func(kernel.Kind) bool) (kernel.Controller, bool, error) {
	c, err := h.Controller(name)
	if err == nil && want != nil && !want(kernel.Kind{Kind: c.Kind, Known: c.KindKnown}) {
		return kernel.Controller{}, false, nil
	}
	return c, err == nil, err
}

// Namespaces is kernel.Sysfs.Namespaces.
func (h *Host) Namespaces(name string) ([]kernel.Namespace, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.controllers[name]
	if c == nil {
		return nil, fmt.Errorf("cannot list namespaces of %s: %w", name, kernel.ErrGone)
	}
	return slices.Clone(c.target.Namespaces), nil
}

// wait sleeps, unless the host is closed first.
func (h *Host) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-h.closed:
	}
}
