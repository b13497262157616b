package nvmetcp

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// Property values (Base 3.1.4).
const (
	// capValue: MQES 127, CQR, TO 500 ms, the NVM command set. CSS bit 43 must stay
	// clear, or Linux demands command set identifiers.
	capValue = 0x00000020_01010000 | mqes
	vsValue  = 0x00010400
	csts     = 1        // RDY
	cstsShut = 2 << 2   // SHST: shutdown complete
	ccEnable = 1        // EN
	ccShut   = 3 << 14  // SHN
	dcVS     = 0x020000 // 2.0 knows DCTYPE, LID 0 and DIM
)

// Controller is what one admin queue Connect made: it lives as long as that connection.
type Controller struct {
	target  *Target
	backend Backend
	id      uint16
	req     ConnectRequest
	admin   *conn
	since   time.Time
	kind    nvme.ControllerType

	mu       sync.Mutex
	cc       uint32
	shut     bool
	queues   int // I/O queues granted
	kato     time.Duration
	io       map[uint16]*conn
	mask     uint32 // events enabled, bits of OAES
	requests []uint16
	pending  []nvme.AsyncEvent
	retained map[uint8]bool // log pages whose event waits to be cleared by a read
}

// ID is the controller's CNTLID.
func (c *Controller) ID() uint16 { return c.id }

// HostNQN says whose controller it is.
func (c *Controller) HostNQN() string { return c.req.HostNQN }

// HostID is the Host Identifier that came with the host's NQN.
func (c *Controller) HostID() nvme.HostID { return c.req.HostID }

// SubNQN is the NQN that the host asked for, which may be the well-known one.
func (c *Controller) SubNQN() string { return c.req.SubNQN }

// Remote is where the admin queue comes from.
func (c *Controller) Remote() netip.AddrPort { return c.req.Remote }

// Since is when the host connected.
func (c *Controller) Since() time.Time { return c.since }

// Backend is the subsystem behind the controller.
func (c *Controller) Backend() Backend { return c.backend }

// ControllerType is what the backend said in its first Identify.
func (c *Controller) ControllerType() nvme.ControllerType { return c.kind }

// Port names the listener that the controller was reached through.
func (c *Controller) Port() string { return c.req.Port }

// KeepAlive is the timeout in force, 0 for none.
func (c *Controller) KeepAlive() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kato
}

// Queues is the number of I/O queues that are connected.
func (c *Controller) Queues() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.io)
}

// Close ends the controller and all its connections, as a target does that goes away.
// It does not wait.
func (c *Controller) Close() { c.admin.close(errTargetClosed) }

// Done is closed when the controller's admin queue ends.
func (c *Controller) Done() <-chan struct{} { return c.admin.ctx.Done() }

// eventBit is the bit of OAES that stands for an event; 0 for events that cannot be turned off.
func eventBit(e nvme.AsyncEvent) uint32 {
	if e.Type() != nvme.EventTypeNotice {
		return 0
	}
	switch e.Info() {
	case nvme.NoticeNamespace:
		return nvme.OAESNamespace
	case nvme.NoticeFirmware:
		return nvme.OAESFirmware
	case nvme.NoticeANA:
		return nvme.OAESANA
	case nvme.NoticeDiscovery:
		return nvme.OAESDiscovery
	}
	return 0
}

// Notify raises an asynchronous event if the host has asked for it. An event whose
// predecessor the host has not cleared yet, by reading the log page, is dropped: the
// read will show it. Without a request outstanding the event waits for one.
func (c *Controller) Notify(e nvme.AsyncEvent) {
	c.mu.Lock()
	bit := eventBit(e)
	if bit != 0 && c.mask&bit == 0 || c.retained[e.LogPage()] || slices.Contains(c.pending, e) {
		c.mu.Unlock()
		return
	}
	if c.retained == nil {
		c.retained = make(map[uint8]bool)
	}
	c.retained[e.LogPage()] = true
	if len(c.requests) == 0 {
		c.pending = append(c.pending, e)
		c.mu.Unlock()
		return
	}
	cid := c.requests[0]
	c.requests = c.requests[1:]
	c.mu.Unlock()
	c.sendEvent(cid, e)
}

// Spam sends an event whether or not the host wants it or has cleared the last one,
// if a request is outstanding; it tells whether one was.
func (c *Controller) Spam(e nvme.AsyncEvent) bool {
	c.mu.Lock()
	if len(c.requests) == 0 {
		c.mu.Unlock()
		return false
	}
	cid := c.requests[0]
	c.requests = c.requests[1:]
	c.mu.Unlock()
	c.sendEvent(cid, e)
	return true
}

func (c *Controller) sendEvent(cid uint16, e nvme.AsyncEvent) {
	act := c.target.intercept(c.admin.step(StepAEN))
	if act.Delay == 0 {
		c.answerRequest(cid, e, act)
		return
	}
	go func() { // who raises the event may be what reads the host's commands
		select {
		case <-time.After(act.Delay):
			c.answerRequest(cid, e, act)
		case <-c.Done():
		}
	}()
}

func (c *Controller) answerRequest(cid uint16, e nvme.AsyncEvent, act Action) {
	if act.Close {
		c.admin.close(errMisbehave)
		return
	}
	if act.Silent { // the event is lost, the request stays
		c.mu.Lock()
		c.requests = append(c.requests, cid)
		delete(c.retained, e.LogPage())
		c.mu.Unlock()
		return
	}
	_ = c.admin.respond(cid, act.Status, uint64(e), act.Corrupt)
	c.target.observe(c.admin.event("aen", e.String()))
}

// request takes an Asynchronous Event Request. It is answered when there is an event.
func (c *Controller) request(cid uint16) nvme.Status {
	c.mu.Lock()
	if len(c.requests) > aerl {
		c.mu.Unlock()
		return nvme.StatusAERLimit
	}
	if len(c.pending) == 0 {
		c.requests = append(c.requests, cid)
		c.mu.Unlock()
		return nvme.StatusSuccess
	}
	e := c.pending[0]
	c.pending = c.pending[1:]
	c.mu.Unlock()
	c.sendEvent(cid, e)
	return nvme.StatusSuccess
}

// clearEvent lets a log page raise events again.
func (c *Controller) clearEvent(lid uint8) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.retained, lid)
}

// setCC takes a write to the CC property.
func (c *Controller) setCC(v uint32) {
	var deleted map[uint16]*conn
	c.mu.Lock()
	if c.cc&ccEnable != 0 && v&ccEnable == 0 { // controller reset
		c.mask, c.requests, c.pending, c.retained = 0, nil, nil, nil
		c.shut = false
		deleted, c.io, c.queues = c.io, nil, 0
	}
	if v&ccShut != 0 {
		c.shut = true
	}
	c.cc = v
	c.mu.Unlock()
	for _, q := range deleted {
		q.close(errReset)
	}
}

func (c *Controller) enabled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cc&ccEnable != 0
}

// property gives the value of a property.
func (c *Controller) property(offset uint32) (uint64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch offset {
	case nvme.PropertyCAP:
		return capValue, true
	case nvme.PropertyVS:
		if c.kind == nvme.ControllerDiscovery {
			return dcVS, true
		}
		return vsValue, true
	case nvme.PropertyCC:
		return uint64(c.cc), true
	case nvme.PropertyCSTS:
		v := uint64(c.cc & ccEnable * csts)
		if c.shut {
			v |= cstsShut
		}
		return v, true
	}
	return 0, false
}

// attach takes an I/O queue.
func (c *Controller) attach(q *conn, qid uint16) nvme.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cc&ccEnable == 0:
		return nvme.StatusCommandSequence
	case int(qid) > c.queues, c.io[qid] != nil:
		return nvme.StatusConnectInvalid | nvme.StatusDNR
	}
	if c.io == nil {
		c.io = make(map[uint16]*conn)
	}
	c.io[qid] = q
	return nvme.StatusSuccess
}

func (c *Controller) detach(q *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.io[q.qid] == q {
		delete(c.io, q.qid)
	}
}

// end is called when the admin connection has ended.
func (c *Controller) end(reason error) {
	c.target.remove(c)
	c.mu.Lock()
	io := make([]*conn, 0, len(c.io))
	for _, q := range c.io {
		io = append(io, q)
	}
	c.queues = 0 // no further queue attaches
	c.mu.Unlock()
	for _, q := range io {
		q.close(reason)
	}
	if f, ok := c.backend.(Follower); ok {
		f.Closed(c, reason)
	}
}

// anaState is how the controller reaches its namespaces, 0 where it does not report that.
func (c *Controller) anaState() nvme.ANAState {
	if b, ok := c.backend.(ANABackend); ok {
		return b.ANAState(c)
	}
	return 0
}

// Requests is the number of Asynchronous Event Requests that are outstanding.
func (c *Controller) Requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.requests)
}
