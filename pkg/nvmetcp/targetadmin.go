package nvmetcp

import (
	"fmt"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

const (
	opAbort = 0x08 // Base, figure 89
	aerl    = 3    // Asynchronous Event Requests taken at once, 0-based
	// sgls: SGLs without alignment; transport SGLs; in-capsule data at an offset.
	// Linux refuses a controller without bit 0.
	sglsValue = 0x00100001
)

// adminCommand executes a command on the admin queue.
func (c *conn) adminCommand(sqe *SQE, data []byte) reply {
	switch sqe.Opcode() {
	case nvme.OpIdentify:
		return c.identify(sqe)
	case nvme.OpGetLogPage:
		return c.getLog(sqe)
	case nvme.OpSetFeatures:
		r := c.setFeatures(sqe)
		c.rearm() // the keep-alive timeout may be another one
		return r
	case nvme.OpGetFeatures:
		return c.getFeatures(sqe)
	case nvme.OpAER:
		if s := c.ctrl.request(sqe.CID()); s.Err() != nil {
			return fail(s)
		}
		return reply{later: true}
	case nvme.OpKeepAlive:
		return reply{}
	case opAbort:
		return reply{result: 1} // bit 0: not aborted
	case nvme.OpDIM:
		return c.dim(sqe, data)
	}
	return fail(nvme.StatusInvalidOpcode | nvme.StatusDNR)
}

func (c *conn) identify(sqe *SQE) reply {
	cns := uint8(sqe.Dword(10))
	if cns == nvme.CNSController {
		id := c.ctrl.backend.Identify(c.ctrl)
		c.complete(&id)
		return reply{data: limit(id.Encode(), sqe.DataLen())}
	}
	nvm, ok := c.ctrl.backend.(NVMBackend)
	if !ok {
		return fail(nvme.StatusInvalidField | nvme.StatusDNR)
	}
	b, s := identifyNamespaces(nvm, c.ctrl.anaState() != 0, cns, sqe.NSID(), sqe.Dword(11))
	if s.Err() != nil {
		return fail(s)
	}
	return reply{data: limit(b, sqe.DataLen())}
}

// limit gives the first n bytes of b, with zeros where b is shorter; n is bounded.
func limit(b []byte, n uint32) []byte {
	n = min(n, maxTransfer)
	if uint32(len(b)) >= n {
		return b[:n]
	}
	return append(b, make([]byte, n-uint32(len(b)))...)
}

// complete fills in what the transport and the connection decide, as the Linux host
// insists on it (nvme_init_subsystem, nvmf_validate_identify_ctrl).
func (c *conn) complete(id *nvme.Identify) {
	id.CNTLID = c.ctrl.id
	if id.SUBNQN == "" {
		id.SUBNQN = c.ctrl.SubNQN()
	}
	id.VER = vsValue
	if id.CNTRLTYPE == nvme.ControllerDiscovery {
		id.VER = dcVS
	}
	id.MDTS = mdts
	id.AERL = aerl
	id.KAS = 10 // 1 s
	id.SQES, id.CQES = 0x66, 0x44
	id.MAXCMD = mqes + 1
	id.SGLS = sglsValue
	id.CTRATT |= nvme.CTRATTHostID128
	if id.CNTRLTYPE == nvme.ControllerIO {
		id.IOCCSZ = (64 + ioInCapsule) / 16
		id.IORCSZ = 1
	}
}

func (c *conn) getLog(sqe *SQE) reply {
	g := nvme.ParseGetLogPage(sqe.Dword(10), sqe.Dword(11), sqe.Dword(12), sqe.Dword(13))
	// A transfer shorter than NUMD cannot hold it; a longer one is only filled as far.
	if g.Length > maxTransfer || g.Length > sqe.DataLen() || g.Offset%4 != 0 {
		return fail(nvme.StatusInvalidField | nvme.StatusDNR)
	}
	if !g.RAE {
		c.ctrl.clearEvent(g.LID)
	}
	b, err := c.ctrl.backend.GetLog(c.ctrl, g)
	if err != nil {
		return failure(err)
	}
	c.t.observe(c.event("command", fmt.Sprintf("get log page 0x%02x, %d bytes at %d, RAE %t, LSP %d",
		g.LID, g.Length, g.Offset, g.RAE, g.LSP)))
	return reply{data: limit(b, g.Length)}
}

func (c *conn) setFeatures(sqe *SQE) reply {
	ctrl := c.ctrl
	v := sqe.Dword(11)
	ctrl.mu.Lock()
	defer ctrl.mu.Unlock()
	switch uint8(sqe.Dword(10)) {
	case nvme.FeatureNumberOfQueues:
		if ctrl.kind == nvme.ControllerDiscovery || v&0xffff == 0xffff || v>>16 == 0xffff {
			return fail(nvme.StatusInvalidField | nvme.StatusDNR)
		}
		most := c.t.IOQueues
		if most <= 0 || most > maxIOQueues {
			most = maxIOQueues
		}
		ctrl.queues = min(int(min(v&0xffff, v>>16))+1, most)
		return reply{result: queueCount(ctrl.queues)}
	case nvme.FeatureAsyncEvents:
		ctrl.mask = v
		return reply{}
	case nvme.FeatureKeepAlive:
		ctrl.kato = time.Duration(v) * time.Millisecond
		return reply{}
	}
	return fail(nvme.StatusInvalidField | nvme.StatusDNR)
}

func queueCount(n int) uint64 { return uint64(n-1) | uint64(n-1)<<16 }

func (c *conn) getFeatures(sqe *SQE) reply {
	ctrl := c.ctrl
	ctrl.mu.Lock()
	defer ctrl.mu.Unlock()
	switch uint8(sqe.Dword(10)) {
	case nvme.FeatureNumberOfQueues:
		if ctrl.queues > 0 {
			return reply{result: queueCount(ctrl.queues)}
		}
	case nvme.FeatureAsyncEvents:
		return reply{result: uint64(ctrl.mask)}
	case nvme.FeatureKeepAlive:
		return reply{result: uint64(ctrl.kato.Milliseconds())}
	}
	return fail(nvme.StatusInvalidField | nvme.StatusDNR)
}

func (c *conn) dim(sqe *SQE, data []byte) reply {
	b, ok := c.ctrl.backend.(DIMBackend)
	if !ok {
		return fail(nvme.StatusInvalidOpcode | nvme.StatusDNR)
	}
	task := nvme.DIMTask(sqe.Dword(10) & 0xf)
	d, err := nvme.DecodeDIM(data)
	if err != nil {
		c.t.observe(c.event("error", err.Error()))
		return fail(nvme.StatusInvalidDiscovery | nvme.StatusDNR)
	}
	if err := b.DIM(c.ctrl, task, d); err != nil {
		c.t.observe(c.event("error", err.Error()))
		return failure(err)
	}
	return reply{}
}

// fetchAdmin asks for the data of an admin command that is too long for its capsule.
func (c *conn) fetchAdmin(sqe *SQE, act Action) error {
	n := sqe.DataLen()
	if n > nvme.MaxDIMSize {
		return c.finishCommand(sqe, fail(nvme.StatusInvalidField|nvme.StatusDNR), act)
	}
	buf := make([]byte, n)
	t := &transfer{sqe: *sqe, act: act, length: uint64(n),
		write: func(p []byte, off uint64) error { copy(buf[off:], p); return nil }}
	t.done = func(damaged bool) error {
		if damaged {
			return c.finishCommand(&t.sqe, fail(statusTransient), act)
		}
		return c.finishCommand(&t.sqe, c.adminCommand(&t.sqe, buf), act)
	}
	return c.fetch(t)
}
