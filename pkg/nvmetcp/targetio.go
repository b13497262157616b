package nvmetcp

import (
	"sync"

	"github.com/stas-go/stas/pkg/nvme"
)

// I/O opcodes that pkg/nvme does not need (NVM Command Set 1.1, figure 21).
const (
	opWriteZeroes = 0x08
	opDSM         = 0x09
)

// statusLBARange is LBA Out of Range (Base 4.2.3.1).
const statusLBARange nvme.Status = 0x080

// readChunk is how much data one C2HData of a read carries.
const readChunk = 128 << 10

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readChunk); return &b }}

// io executes a command on an I/O queue.
func (c *conn) io(sqe *SQE, data []byte, act Action) error {
	r := fail(nvme.StatusInvalidOpcode | nvme.StatusDNR)
	nvm, ok := c.ctrl.backend.(NVMBackend)
	if !ok {
		return c.finishCommand(sqe, r, act)
	}
	ns := nvm.Namespace(sqe.NSID())
	if ns == nil && (sqe.Opcode() != nvme.OpFlush || sqe.NSID() != 0xffffffff) {
		return c.finishCommand(sqe, fail(nvme.StatusInvalidNamespace|nvme.StatusDNR), act)
	}
	if s := c.ctrl.anaState().Status(); s.Err() != nil {
		return c.finishCommand(sqe, fail(s), act)
	}
	switch sqe.Opcode() {
	case nvme.OpRead:
		return c.read(sqe, ns, act)
	case nvme.OpWrite:
		return c.writeBlocks(sqe, ns, data, act)
	case nvme.OpFlush:
		r = reply{}
	case opWriteZeroes:
		r = writeZeroes(sqe, ns)
	case opDSM:
		r = deallocate(sqe, ns, data)
	}
	return c.finishCommand(sqe, r, act)
}

// blocks gives the extent of a command in bytes: SLBA in dwords 10 and 11, NLB,
// 0-based, in 15:0 of dword 12.
func blocks(sqe *SQE, ns *Namespace) (off, n uint64, status nvme.Status) {
	off, n, ok := ns.extent(le.Uint64(sqe[40:]), uint64(sqe.Dword(12)&0xffff)+1)
	if !ok {
		return 0, 0, statusLBARange | nvme.StatusDNR
	}
	return off, n, nvme.StatusSuccess
}

// transferExtent is blocks for commands with data, whose length has to agree.
func transferExtent(sqe *SQE, ns *Namespace) (off, n uint64, status nvme.Status) {
	off, n, status = blocks(sqe, ns)
	if status.Err() == nil && (n > maxTransfer || n != uint64(sqe.DataLen())) {
		status = nvme.StatusInvalidField | nvme.StatusDNR
	}
	return off, n, status
}

func (c *conn) read(sqe *SQE, ns *Namespace, act Action) error {
	off, n, status := transferExtent(sqe, ns)
	if status.Err() != nil {
		return c.finishCommand(sqe, fail(status), act)
	}
	if act.Corrupt == CorruptShortData {
		n = n / 2 &^ 3
	}
	bp := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(bp)
	for sent := uint64(0); sent < n; {
		b := (*bp)[:min(n-sent, readChunk)]
		if _, err := ns.Store.ReadAt(b, int64(off+sent)); err != nil {
			return c.finishCommand(sqe, fail(nvme.StatusInternalError), act)
		}
		d := &C2HData{CID: sqe.CID(), Offset: uint32(sent), Data: b}
		sent += uint64(len(b))
		d.Last = sent == n
		d.Success = d.Last && c.noFlow && act.Corrupt == CorruptNothing
		c.wmu.Lock()
		var err error
		if act.Corrupt == CorruptNothing || act.Corrupt == CorruptShortData {
			err = c.writeLocked(d)
		} else {
			err = c.writeDamaged(d, act.Corrupt)
		}
		c.wmu.Unlock()
		if err != nil || d.Success {
			return err
		}
	}
	return c.respond(sqe.CID(), nvme.StatusSuccess, 0, CorruptNothing)
}

func (c *conn) writeBlocks(sqe *SQE, ns *Namespace, data []byte, act Action) error {
	off, n, status := transferExtent(sqe, ns)
	if status.Err() != nil {
		return c.finishCommand(sqe, fail(status), act)
	}
	if sqe.InCapsule() {
		if uint64(len(data)) != n {
			return c.finishCommand(sqe, fail(nvme.StatusInvalidField|nvme.StatusDNR), act)
		}
		return c.finishCommand(sqe, stored(ns, data, off), act)
	}
	t := &transfer{sqe: *sqe, act: act, length: n}
	var failed reply
	t.write = func(p []byte, at uint64) error {
		if r := stored(ns, p, off+at); r.status.Err() != nil {
			failed = r
		}
		return nil
	}
	t.done = func(damaged bool) error {
		if damaged {
			failed = fail(statusTransient)
		}
		return c.finishCommand(&t.sqe, failed, act)
	}
	return c.fetch(t)
}

// stored writes to the store; where that has no room the status is Capacity Exceeded.
func stored(ns *Namespace, p []byte, off uint64) reply {
	const statusCapacity nvme.Status = 0x081
	if _, err := ns.Store.WriteAt(p, int64(off)); err != nil {
		return fail(statusCapacity | nvme.StatusDNR)
	}
	return reply{}
}

func writeZeroes(sqe *SQE, ns *Namespace) reply {
	off, n, status := blocks(sqe, ns)
	if status.Err() != nil {
		return fail(status)
	}
	if err := ns.Store.Discard(off, n); err != nil {
		return fail(nvme.StatusInternalError)
	}
	return reply{}
}

// deallocate takes Dataset Management: up to 256 ranges of 16 bytes, in the capsule
// (NVM Command Set 3.2.3). Other attributes than Deallocate are hints.
func deallocate(sqe *SQE, ns *Namespace, data []byte) reply {
	n := int(sqe.Dword(10)&0xff) + 1
	if len(data) < 16*n {
		return fail(nvme.StatusInvalidField | nvme.StatusDNR)
	}
	if sqe.Dword(11)&(1<<2) == 0 {
		return reply{}
	}
	for i := range n {
		r := data[16*i:]
		off, length, ok := ns.extent(le.Uint64(r[8:]), uint64(le.Uint32(r[4:])))
		if !ok {
			return fail(statusLBARange | nvme.StatusDNR)
		}
		if err := ns.Store.Discard(off, length); err != nil {
			return fail(nvme.StatusInternalError)
		}
	}
	return reply{}
}
