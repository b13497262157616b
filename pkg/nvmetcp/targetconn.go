package nvmetcp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// Reasons why a target ends a connection.
var (
	errTargetClosed = errors.New("closed by the target")
	errMisbehave    = errors.New("closed on purpose")
	errKeepAlive    = errors.New("keep-alive timeout")
	errHostLeft     = errors.New("closed by the host")
	errReset        = errors.New("controller reset by the host")
)

// conn is one connection of a target, which is one queue. One goroutine reads and
// executes its commands in order; commands that are delayed on purpose have their own.
type conn struct {
	t      *Target
	port   string
	nc     net.Conn
	r      *Reader
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // delayed commands
	delays atomic.Int32   // how many there are

	wmu  sync.Mutex // held while writing a PDU
	w    *Writer
	sqhd uint16

	// Set by Connect, by the reading goroutine, before anything else uses them.
	ctrl    *Controller
	qid     uint16
	depth   uint16
	noFlow  bool // SQ flow control is off
	auth    *authState
	started time.Time

	tmu       sync.Mutex
	transfers map[uint16]*transfer // by transfer tag
	lastTag   uint16
}

func (t *Target) serveConn(ctx context.Context, nc net.Conn, port string) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	defer nc.Close()
	c := &conn{t: t, port: port, nc: nc, ctx: ctx, cancel: cancel, w: NewWriter(nc), started: time.Now()}
	c.r = NewReader(bufio.NewReaderSize(nc, 4096), TargetSide, MaxAdminInCapsule)
	err := c.run()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
		if errors.Is(err, context.Canceled) {
			err = errTargetClosed
		}
	}
	c.close(err)
	c.wg.Wait()
	c.finish(err)
}

// finish undoes what Connect did.
func (c *conn) finish(err error) {
	switch {
	case c.ctrl == nil:
		c.t.observe(c.event("connection", "ended: "+err.Error()))
	case c.qid == 0:
		c.ctrl.end(err)
		c.t.observe(c.event("disconnect", err.Error()))
	default:
		c.ctrl.detach(c)
	}
}

// close ends the connection; the first reason stays. It does not wait.
func (c *conn) close(reason error) { c.cancel(reason) }

func (c *conn) step(name string) Step {
	s := Step{Name: name, Port: c.port, Local: addrPort(c.nc.LocalAddr()), Remote: addrPort(c.nc.RemoteAddr())}
	if c.ctrl != nil {
		s.SubNQN, s.HostNQN = c.ctrl.SubNQN(), c.ctrl.HostNQN()
	}
	return s
}

func (c *conn) event(kind, detail string) Event {
	e := Event{Kind: kind, Port: c.port, Queue: c.qid, Detail: detail,
		Local: addrPort(c.nc.LocalAddr()), Remote: addrPort(c.nc.RemoteAddr())}
	if c.ctrl != nil {
		e.Cntlid, e.SubNQN, e.HostNQN = c.ctrl.id, c.ctrl.SubNQN(), c.ctrl.HostNQN()
	}
	return e
}

// run serves the connection until it ends and says why.
func (c *conn) run() error {
	if act := c.t.intercept(c.step(StepAccept)); act != (Action{}) {
		if err := c.misbehave(act); err != nil {
			return err
		}
	}
	c.nc.SetReadDeadline(time.Now().Add(setupTimeout))
	if err := c.initialize(); err != nil {
		return c.readError(err)
	}
	for {
		p, err := c.r.Next()
		var damaged *DataDigestError
		if err != nil && !errors.As(err, &damaged) {
			return c.readError(err)
		}
		if err := c.handle(p, damaged != nil); err != nil {
			return c.readError(err)
		}
	}
}

// misbehave performs the parts of an action that concern the connection, before
// anything was answered. A silent target takes what comes until the host gives up.
func (c *conn) misbehave(act Action) error {
	if act.Delay > 0 {
		select {
		case <-time.After(act.Delay):
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		}
		c.nc.SetReadDeadline(time.Now().Add(setupTimeout)) // the host has waited, not been late
	}
	switch {
	case act.Close:
		return errMisbehave
	case act.Silent:
		c.nc.SetReadDeadline(time.Time{})
		_, _ = io.Copy(io.Discard, c.nc)
		return errHostLeft
	}
	return nil
}

// initialize takes ICReq and answers ICResp.
func (c *conn) initialize() error {
	p, err := c.r.Next()
	if err != nil {
		return err
	}
	req, ok := p.(*ICReq)
	if !ok {
		return sequenceErr("%s in place of ICReq", p.pduType())
	}
	if req.PFV != 0 || req.HPDA != 0 {
		return &ProtocolError{FESUnsupportedParameter, 8, "ICReq with another format version or alignment"}
	}
	resp := &ICResp{HeaderDigest: req.HeaderDigest, DataDigest: req.DataDigest, MaxH2CData: maxH2CData}
	act := c.t.intercept(c.step(StepICReq))
	if err := c.misbehave(act); err != nil {
		return err
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	switch act.Corrupt {
	case CorruptNothing:
		err = c.w.Write(resp)
	case CorruptDigest:
		resp.HeaderDigest = !resp.HeaderDigest
		err = c.w.Write(resp)
	default:
		return c.writeDamaged(resp, act.Corrupt)
	}
	c.r.HeaderDigest, c.r.DataDigest = req.HeaderDigest, req.DataDigest
	c.w.HeaderDigest, c.w.DataDigest = req.HeaderDigest, req.DataDigest
	return err
}

// readError tells the host what it did wrong, where it did, and gives the reason
// for the end of the connection.
func (c *conn) readError(err error) error {
	var pe *ProtocolError
	if errors.As(err, &pe) {
		_ = c.write(&TermReq{FromController: true, FES: pe.FES, FEI: pe.FEI, Header: c.r.LastHeader()})
		c.t.observe(c.event("error", err.Error()))
		return err
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET): // Linux closes with a reset
		return errHostLeft
	case errors.Is(err, os.ErrDeadlineExceeded) && c.ctrl != nil:
		return errKeepAlive
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no Connect within %s", setupTimeout)
	}
	return err
}

// rearm sets the time at which the connection counts as dead.
func (c *conn) rearm() {
	var deadline time.Time
	if c.auth.pending() {
		deadline = time.Now().Add(setupTimeout)
	} else if c.ctrl != nil && c.qid == 0 {
		if kato := c.ctrl.KeepAlive(); kato > 0 {
			deadline = time.Now().Add(kato + keepAliveGrace)
		}
	}
	c.nc.SetReadDeadline(deadline)
}

func (c *conn) handle(p PDU, damaged bool) error {
	switch p := p.(type) {
	case *CapsuleCmd:
		if c.ctrl != nil {
			c.rearm()
		}
		return c.command(p, damaged)
	case *H2CData:
		return c.hostData(p, damaged)
	case *TermReq:
		return &TerminatedError{p.FES, p.FEI}
	}
	return sequenceErr("%s after initialization", p.pduType())
}

// write sends a PDU. A failure ends the connection.
func (c *conn) write(p PDU) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.writeLocked(p)
}

func (c *conn) writeLocked(p PDU) error {
	c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	err := c.w.Write(p)
	if err != nil {
		c.close(fmt.Errorf("cannot send %s: %w", p.pduType(), err))
	}
	return err
}

// respond completes a command.
func (c *conn) respond(cid uint16, status nvme.Status, result uint64, corrupt Corruption) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.respondLocked(cid, status, result, corrupt)
}

func (c *conn) respondLocked(cid uint16, status nvme.Status, result uint64, corrupt Corruption) error {
	var sqhd uint16
	if !c.noFlow && c.depth > 0 {
		c.sqhd = (c.sqhd + 1) % c.depth
		sqhd = c.sqhd
	}
	p := &CapsuleResp{NewCQE(cid, c.qid, sqhd, status, result)}
	if corrupt == CorruptNothing || corrupt == CorruptShortData {
		return c.writeLocked(p)
	}
	return c.writeDamaged(p, corrupt)
}

// writeDamaged sends a PDU with the damage asked for; wmu is held.
func (c *conn) writeDamaged(p PDU, how Corruption) error {
	if how == CorruptCommandID {
		switch q := p.(type) {
		case *CapsuleResp:
			le.PutUint16(q.CQE[12:], q.CQE.CID()^0x0155)
		case *C2HData:
			q.CID ^= 0x0155
		}
		return c.writeLocked(p)
	}
	if how == CorruptTerminate {
		// Without a header that is to blame: none is, and the reader may be at the next already.
		return c.writeLocked(&TermReq{FromController: true, FES: FESInvalidHeader, FEI: 0})
	}
	var b []byte
	for _, part := range c.w.encode(p) {
		b = append(b, part...)
	}
	switch {
	case how == CorruptTruncate:
		b = b[:len(b)/2]
	case how == CorruptDigest && b[1]&flagDataDigest != 0:
		b[len(b)-1] ^= 0xff
	case how == CorruptDigest && b[1]&flagHeaderDigest != 0:
		b[b[2]] ^= 0xff
	default:
		b[2] += 4
	}
	c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.nc.Write(b)
	if how == CorruptTruncate {
		c.close(errMisbehave)
	}
	return err
}
