package nvmetcp

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// statusTransient is Transient Transport Error (Base 4.2.3.1): data was damaged on its way.
const statusTransient nvme.Status = 0x022

// reply is the answer to a command.
type reply struct {
	status nvme.Status
	result uint64
	data   []byte
	later  bool // something else answers
}

func fail(s nvme.Status) reply { return reply{status: s} }

// failure is the status that an error of a backend stands for.
func failure(err error) reply {
	var s nvme.Status
	if errors.As(err, &s) && s.Err() != nil {
		return reply{status: s}
	}
	return reply{status: nvme.StatusInternalError}
}

// command executes a command capsule.
func (c *conn) command(p *CapsuleCmd, damaged bool) error {
	sqe := p.SQE
	act := c.t.intercept(c.stepOfCommand(&sqe, p.Data))
	if act.Delay == 0 {
		return c.execute(&sqe, p.Data, damaged, act)
	}
	data := bytes.Clone(p.Data) // the reader uses its buffer again
	if c.ctrl == nil {
		// Connect decides what the connection is: what follows waits for it.
		select {
		case <-time.After(act.Delay):
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		}
		return c.execute(&sqe, data, damaged, act)
	}
	if c.delays.Add(1) > int32(c.depth) {
		return sequenceErr("more than %d commands are under way", c.depth)
	}
	c.wg.Go(func() {
		defer c.delays.Add(-1)
		select {
		case <-time.After(act.Delay):
		case <-c.ctx.Done():
			return
		}
		if err := c.execute(&sqe, data, damaged, act); err != nil {
			c.close(err)
		}
	})
	return nil
}

func (c *conn) stepOfCommand(sqe *SQE, data []byte) Step {
	s := c.step(stepOf(sqe, c.qid))
	if c.ctrl == nil {
		if d, err := nvme.DecodeConnectData(data); err == nil {
			s.SubNQN, s.HostNQN = d.SubNQN, d.HostNQN
		}
	}
	return s
}

func (c *conn) execute(sqe *SQE, data []byte, damaged bool, act Action) error {
	switch {
	case act.Close:
		return errMisbehave
	case act.Silent:
		return nil
	case damaged:
		return c.finishCommand(sqe, fail(statusTransient), act)
	case act.Status.Err() != nil:
		return c.finishCommand(sqe, fail(act.Status), act)
	}
	switch {
	case sqe.Opcode() == nvme.OpFabrics:
		return c.finishCommand(sqe, c.fabrics(sqe, data), act)
	case c.ctrl == nil:
		return c.finishCommand(sqe, fail(nvme.StatusCommandSequence|nvme.StatusDNR), act)
	case c.auth.pending():
		return c.finishCommand(sqe, fail(nvme.StatusAuthRequired|nvme.StatusDNR), act)
	case !c.ctrl.enabled():
		return c.finishCommand(sqe, fail(nvme.StatusCommandSequence), act)
	case c.qid != 0:
		return c.io(sqe, data, act)
	case sqe.DataLen() > 0 && sqe.Opcode()&3 == 1 && !sqe.InCapsule():
		return c.fetchAdmin(sqe, act)
	}
	return c.finishCommand(sqe, c.adminCommand(sqe, data), act)
}

// finishCommand sends the answer of a command.
func (c *conn) finishCommand(sqe *SQE, r reply, act Action) error {
	if r.later {
		return nil
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	corrupt := act.Corrupt
	if r.status.Err() == nil && len(r.data) > 0 {
		if corrupt == CorruptShortData {
			r.data = r.data[:len(r.data)/2&^3]
		}
		d := &C2HData{CID: sqe.CID(), Last: true, Success: c.noFlow && corrupt == CorruptNothing, Data: r.data}
		if corrupt == CorruptNothing || corrupt == CorruptShortData {
			if err := c.writeLocked(d); err != nil || d.Success {
				return err
			}
			return c.respondLocked(sqe.CID(), r.status, r.result, CorruptNothing)
		}
		if err := c.writeDamaged(d, corrupt); err != nil || corrupt != CorruptDigest {
			return err
		}
		return c.respondLocked(sqe.CID(), r.status, r.result, CorruptNothing)
	}
	return c.respondLocked(sqe.CID(), r.status, r.result, corrupt)
}
