package fake

import (
	"cmp"
	"syscall"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

// Behaviour is how a target behaves. The zero value is an I/O controller that does
// everything right at once.
type Behaviour struct {
	Kind    tid.Kind
	SubNQN  string      // of the Identify data; "" means the NQN asked for
	DCType  nvme.DCType // of a discovery controller
	SrcAddr string      // that sysfs shows while connected

	ConnectDelay time.Duration   // before every connect ends, well or not
	Failures     []syscall.Errno // of the next connects, one each; 0 is a success
	Errno        syscall.Errno   // of all connects after those
	Hang         bool            // connects end only when Unhang is called or the host is closed

	LogDelay  time.Duration
	LogErrors []error // of the next reads of the log page, one each; nil is a success
	LogHang   bool    // reads end only when Unhang is called or the host is closed

	RegisterErrors  []error // of the next registrations, one each
	DisconnectDelay time.Duration
	DisconnectError error

	OAES       uint32 // 0 means that of a discovery controller that tells of changes
	Supported  nvme.SupportedLogPages
	Namespaces []kernel.Namespace
}

func (b *Behaviour) subNQN(asked string) string { return cmp.Or(b.SubNQN, asked) }

// Target is a controller that can be connected to.
type Target struct {
	Behaviour
	log    *nvme.DiscoveryLog
	unhang chan struct{}
	lsp    uint8
}

// Stats count what was done on a host.
type Stats struct {
	Connects       int // writes to the fabrics device, failed ones too
	ConnectsFailed int
	Disconnects    int // controllers deleted on request
	LogReads       int
	Registrations  int
	Kickstarts     int
	Reads          int // of a controller from sysfs
}

// Stats gives the counts so far.
func (h *Host) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stats
}

func addressOf(t tid.TID) address { return address{t.Transport, t.Traddr, t.Trsvcid, t.NQN} }

// AddTarget makes a target reachable, or changes how one behaves. A discovery controller
// is found under the NQN of t and under the well-known one.
func (h *Host) AddTarget(t tid.TID, b Behaviour) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.targets[addressOf(t)]; old != nil {
		old.Behaviour = b
		return
	}
	target := &Target{Behaviour: b, unhang: make(chan struct{})}
	h.targets[addressOf(t)] = target
	if b.Kind == tid.Discovery {
		known := t
		known.NQN = nvme.DiscoveryNQN
		h.targets[addressOf(known)] = target
		if b.SubNQN != "" {
			known.NQN = b.SubNQN
			h.targets[addressOf(known)] = target
		}
	}
}

// RemoveTarget makes a target refuse connections. Connected controllers stay.
func (h *Host) RemoveTarget(t tid.TID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	target := h.targets[addressOf(t)]
	for a, other := range h.targets {
		if other == target {
			delete(h.targets, a)
		}
	}
}

// Unhang ends every call that hangs at a target, and makes it hang no more.
func (h *Host) Unhang(t tid.TID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if target := h.targets[addressOf(t)]; target != nil {
		target.Hang, target.LogHang = false, false
		close(target.unhang)
		target.unhang = make(chan struct{})
	}
}

// SetLog gives a discovery controller a log page and raises the event on each connection
// to it. The page must not be changed after that.
func (h *Host) SetLog(t tid.TID, log *nvme.DiscoveryLog) {
	h.mu.Lock()
	defer h.mu.Unlock()
	target := h.targets[addressOf(t)]
	if target == nil {
		panic("fake: no target " + t.String())
	}
	target.log = log
	for _, c := range h.controllers {
		if c.target == target {
			h.raise(c)
		}
	}
}

// SetLogQuietly is SetLog without an event.
func (h *Host) SetLogQuietly(t tid.TID, log *nvme.DiscoveryLog) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.targets[addressOf(t)].log = log
}

// raise sends the event about a changed log page, unless one was sent since the last read.
func (h *Host) raise(c *controller) {
	if c.ready && c.armed && c.State == kernel.StateLive {
		c.armed = false
		h.emit("change", c.Name, c.Transport, "NVME_AEN=0x70f002")
	}
}

// RaiseAEN sends the event about a changed log page, even if one was sent already.
func (h *Host) RaiseAEN(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.controllers[name]; c != nil {
		c.armed = true
		h.raise(c)
	}
}

// Drop removes a controller, as the kernel does when it gives up reconnecting.
func (h *Host) Drop(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.controllers[name]; c != nil {
		h.remove(c)
		delete(h.owners, name) // the udev rule's work
	}
}

// Lose breaks the connection of a controller: it reconnects until Restore or Drop. The
// kernel tells nobody.
func (h *Host) Lose(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.controllers[name]; c != nil {
		c.State, c.SrcAddr = kernel.StateConnecting, ""
	}
}

// Restore ends what Lose began: rediscover, for a discovery controller, then connected.
func (h *Host) Restore(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.controllers[name]
	if c == nil || !c.ready {
		return
	}
	c.State, c.SrcAddr, c.armed = kernel.StateLive, c.target.SrcAddr, true
	if c.Kind == tid.Discovery {
		h.emit("change", name, c.Transport, "NVME_EVENT=rediscover")
	}
	h.emit("change", name, c.Transport, "NVME_EVENT=connected")
}

// AddForeign connects a target by another hand than the host's user: live at once, and
// registered as owner says ("" for nobody). It gives the name.
func (h *Host) AddForeign(t tid.TID, host tid.Host, owner string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.HostNQN = cmp.Or(t.HostNQN, host.NQN)
	target := h.targets[addressOf(t)]
	if target == nil {
		panic("fake: no target " + t.String())
	}
	c := h.add(t, host.ID, target)
	h.live(c)
	if owner != "" {
		h.setOwner(c.Name, registry.OwnedBy(owner))
	}
	return c.Name
}

// Registered gives what was registered with the discovery controller name, oldest first.
func (h *Host) Registered(name string) [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.controllers[name]; c != nil {
		return c.registered
	}
	return nil
}

// LogReads says how often the log page of the controller name was read.
func (h *Host) LogReads(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.controllers[name]; c != nil {
		return c.reads
	}
	return 0
}

// RemoveFabrics takes /dev/nvme-fabrics away, AddFabrics brings it back with its event.
func (h *Host) RemoveFabrics() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fabricsGone = true
}

// AddFabrics ends RemoveFabrics.
func (h *Host) AddFabrics() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fabricsGone = false
	h.emitRaw("add", "/devices/virtual/misc/nvme-fabrics", "SUBSYSTEM=misc", "DEVNAME=nvme-fabrics")
}

// SetOptions sets what the kernel's option parser knows.
func (h *Host) SetOptions(o kernel.Options) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known = o
}
