package nvmetcp

import (
	"fmt"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// Result of a Connect that fails with invalid parameters (Base 6.3): where the
// invalid one is. IATTR says that the offset counts in the data.
const (
	connectInData  = 1 << 16
	offsetCntlID   = connectInData | 16
	offsetSubNQN   = connectInData | 256
	offsetHostNQN  = connectInData | 512
	offsetQueueID  = 42
	offsetSQSize   = 44
	invalidConnect = nvme.StatusConnectInvalid | nvme.StatusDNR
)

// fabrics executes a fabrics command.
func (c *conn) fabrics(sqe *SQE, data []byte) reply {
	kind := sqe.FabricsType()
	if kind == nvme.FabricsConnect {
		return c.connect(sqe, data)
	}
	if c.ctrl == nil {
		return fail(nvme.StatusCommandSequence | nvme.StatusDNR)
	}
	switch kind {
	case nvme.FabricsAuthSend:
		return c.authSend(sqe, data)
	case nvme.FabricsAuthReceive:
		return c.authReceive(sqe)
	}
	if c.auth.pending() {
		return fail(nvme.StatusAuthRequired | nvme.StatusDNR)
	}
	switch {
	case kind == nvme.FabricsPropertyGet && c.qid == 0:
		v, ok := c.ctrl.property(le.Uint32(sqe[44:]))
		if !ok {
			return fail(nvme.StatusInvalidField | nvme.StatusDNR)
		}
		if sqe[40]&7 == 0 { // 4 bytes
			v = uint64(uint32(v))
		}
		return reply{result: v}
	case kind == nvme.FabricsPropertySet && c.qid == 0:
		if le.Uint32(sqe[44:]) != nvme.PropertyCC {
			return fail(nvme.StatusInvalidField | nvme.StatusDNR)
		}
		c.ctrl.setCC(uint32(le.Uint64(sqe[48:])))
		return reply{}
	}
	return fail(nvme.StatusInvalidOpcode | nvme.StatusDNR)
}

// connect takes the Connect of an admin or I/O queue.
func (c *conn) connect(sqe *SQE, data []byte) reply {
	if c.ctrl != nil {
		return fail(nvme.StatusCommandSequence | nvme.StatusDNR)
	}
	if le.Uint16(sqe[40:]) != 0 {
		return fail(nvme.StatusConnectFormat | nvme.StatusDNR)
	}
	qid, sqsize := le.Uint16(sqe[42:]), le.Uint16(sqe[44:])
	if sqsize == 0 || sqsize > mqes {
		return reply{status: invalidConnect, result: offsetSQSize}
	}
	req, err := nvme.DecodeConnectData(data)
	if err != nil {
		return reply{status: invalidConnect, result: offsetSubNQN}
	}
	if err := nvme.CheckName(req.HostNQN); err != nil {
		return reply{status: invalidConnect, result: offsetHostNQN}
	}
	// Before the connection is anything to others: all later readers see these.
	c.depth, c.noFlow = sqsize+1, sqe[46]&cattrDisableSQFlow != 0
	var r reply
	if qid == 0 {
		r = c.connectAdmin(req, time.Duration(le.Uint32(sqe[48:]))*time.Millisecond)
	} else {
		r = c.connectIO(req, qid)
	}
	if r.status.Err() != nil {
		e := c.event("connect", "refused: "+r.status.Error())
		e.HostNQN, e.SubNQN, e.Queue = req.HostNQN, req.SubNQN, qid
		c.t.observe(e)
	}
	return r
}

func (c *conn) connectAdmin(data *nvme.ConnectData, kato time.Duration) reply {
	if data.CntlID != nvme.CntlIDDynamic {
		return reply{status: invalidConnect, result: offsetCntlID}
	}
	req := ConnectRequest{ConnectData: *data, Port: c.port, KeepAlive: kato,
		Local: addrPort(c.nc.LocalAddr()), Remote: addrPort(c.nc.RemoteAddr())}
	backend, err := c.t.Resolver.Resolve(&req)
	if err != nil {
		r := failure(err)
		if r.status.Code() == nvme.StatusConnectInvalid {
			r.result = offsetSubNQN
		}
		return r
	}
	ctrl := &Controller{target: c.t, backend: backend, req: req, kato: kato, admin: c, since: time.Now()}
	id := backend.Identify(ctrl)
	ctrl.kind = id.CNTRLTYPE
	if err := c.t.add(ctrl); err != nil {
		return failure(err)
	}
	c.ctrl = ctrl
	c.r.MaxData = nvme.MaxDIMSize
	result := uint64(ctrl.id)
	c.auth = newAuth(backend, ctrl)
	c.rearm()
	if c.auth.pending() {
		result |= connectAuthRequired
	}
	if f, ok := backend.(Follower); ok {
		f.Opened(ctrl)
	}
	c.t.observe(c.event("connect", fmt.Sprintf("keep alive %s, host ID %s", kato, req.HostID)))
	return reply{result: result}
}

func (c *conn) connectIO(data *nvme.ConnectData, qid uint16) reply {
	ctrl := c.t.controller(data.CntlID)
	if ctrl == nil || ctrl.HostNQN() != data.HostNQN || ctrl.SubNQN() != data.SubNQN || ctrl.HostID() != data.HostID {
		return reply{status: invalidConnect, result: offsetCntlID}
	}
	if s := ctrl.attach(c, qid); s.Err() != nil {
		return reply{status: s, result: offsetQueueID}
	}
	c.qid = qid
	c.ctrl = ctrl
	c.r.MaxData = maxH2CData
	result := uint64(ctrl.id)
	c.auth = newAuth(ctrl.backend, ctrl)
	c.rearm()
	if c.auth.pending() {
		result |= connectAuthRequired
	}
	c.t.observe(c.event("connect", fmt.Sprintf("I/O queue %d of %d entries", qid, c.depth)))
	return reply{result: result}
}
