package nvmetcp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// writeTimeout bounds how long a peer may refuse to take what is sent to it.
const writeTimeout = 10 * time.Second

// errQueueClosed is why a queue ended that this side closed.
var errQueueClosed = errors.New("connection closed by this host")

// queue is one queue of a host: a TCP connection after ICReq/ICResp. exec may be
// called by any number of goroutines.
type queue struct {
	id        uint16
	c         net.Conn
	maxH2C    int // most data in one H2CData
	inCapsule int // most data in one capsule
	slots     chan uint16

	wmu sync.Mutex // held while writing a PDU
	w   *Writer

	mu      sync.Mutex
	pending map[uint16]*call
	err     error // why the queue ended

	done chan struct{} // closed when the queue has ended
	wg   sync.WaitGroup
}

// call is a command under way. Its fields are guarded by queue.mu until done is closed.
type call struct {
	out, in  []byte
	received int
	sending  bool // an R2T is being answered
	cqe      CQE
	err      error
	done     chan struct{}
}

// openQueue connects and initializes a queue of the given depth. maxData bounds
// what one C2HData may carry.
func openQueue(ctx context.Context, cfg *HostConfig, id uint16, depth, inCapsule, maxData int) (*queue, error) {
	c, err := cfg.dial(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := initialize(ctx, c, cfg.HeaderDigest, cfg.DataDigest)
	if err != nil {
		c.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	return newQueue(c, resp, id, depth, inCapsule, maxData), nil
}

// newQueue makes a queue of a connection that is initialized.
func newQueue(c net.Conn, resp *ICResp, id uint16, depth, inCapsule, maxData int) *queue {
	q := &queue{
		id: id, c: c, inCapsule: inCapsule,
		maxH2C:  int(min(resp.MaxH2CData, 1<<20)),
		slots:   make(chan uint16, depth),
		w:       NewWriter(c),
		pending: make(map[uint16]*call),
		done:    make(chan struct{}),
	}
	q.w.HeaderDigest, q.w.DataDigest = resp.HeaderDigest, resp.DataDigest
	for i := range depth {
		q.slots <- uint16(i)
	}
	r := NewReader(bufio.NewReaderSize(c, 4096), HostSide, maxData)
	r.HeaderDigest, r.DataDigest = resp.HeaderDigest, resp.DataDigest
	q.wg.Go(func() { q.receive(r) })
	return q
}

// exec sends a command and waits for its completion. out is data for the
// controller, in is filled by it; at most one of them is given. When ctx or the queue
// ends first, the command is abandoned: in is not touched any more, out may be read until
// the queue is closed.
func (q *queue) exec(ctx context.Context, sqe *SQE, out, in []byte) (CQE, error) {
	var cid uint16
	select {
	case cid = <-q.slots:
	case <-ctx.Done():
		return CQE{}, classify(ctx.Err(), nil)
	case <-q.done:
		return CQE{}, q.failure()
	}
	c := &call{out: out, in: in, done: make(chan struct{})}
	q.mu.Lock()
	if q.err != nil {
		q.mu.Unlock()
		return CQE{}, q.failure()
	}
	q.pending[cid] = c
	q.mu.Unlock()
	sqe.SetCID(cid)
	p := &CapsuleCmd{SQE: *sqe}
	switch {
	case len(out) == 0:
		p.SQE.setSGL(sglTransport, uint32(len(in)))
	case len(out) <= q.inCapsule:
		p.SQE.setSGL(sglInCapsule, uint32(len(out)))
		p.Data = out
	default:
		p.SQE.setSGL(sglTransport, uint32(len(out)))
	}
	_ = q.write(p) // what fails ends the queue
	select {
	case <-c.done:
		return c.cqe, c.err
	case <-ctx.Done():
		return q.abandon(c, classify(ctx.Err(), nil))
	case <-q.done:
		return q.abandon(c, q.failure())
	}
}

// abandon gives up a command for a reason, unless its answer has come meanwhile.
func (q *queue) abandon(c *call, reason error) (CQE, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-c.done:
		return c.cqe, c.err
	default:
	}
	c.in = nil // late data is dropped; the slot is free once the answer comes
	return CQE{}, reason
}

func (q *queue) write(p PDU) error {
	q.wmu.Lock()
	defer q.wmu.Unlock()
	_ = q.c.SetWriteDeadline(time.Now().Add(writeTimeout))
	err := q.w.Write(p)
	if err != nil {
		q.end(fmt.Errorf("cannot send %s: %w", p.pduType(), classify(err, nil)))
	}
	return err
}

// receive reads until the connection ends.
func (q *queue) receive(r *Reader) {
	for {
		p, err := r.Next()
		var damaged *DataDigestError
		if err != nil && !errors.As(err, &damaged) {
			q.fatal(r, err)
			return
		}
		if err := q.handle(p, damaged); err != nil {
			q.fatal(r, err)
			return
		}
	}
}

// fatal ends the queue, and tells the controller why where it is to blame.
func (q *queue) fatal(r *Reader, err error) {
	var pe *ProtocolError
	if errors.As(err, &pe) {
		_ = q.write(&TermReq{FES: pe.FES, FEI: pe.FEI, Header: r.LastHeader()})
	}
	q.end(classify(err, nil))
}

func (q *queue) handle(p PDU, damaged *DataDigestError) error {
	switch p := p.(type) {
	case *CapsuleResp:
		return q.complete(p.CQE.CID(), p.CQE, nil)
	case *C2HData:
		return q.data(p, damaged)
	case *R2T:
		return q.ready(p)
	case *TermReq:
		return &TerminatedError{p.FES, p.FEI}
	}
	return sequenceErr("%s after initialization", p.pduType())
}

// complete ends the command cid.
func (q *queue) complete(cid uint16, cqe CQE, err error) error {
	q.mu.Lock()
	c, ok := q.pending[cid]
	delete(q.pending, cid)
	if ok {
		c.cqe = cqe
		if c.err == nil {
			c.err = err
		}
		if c.err == nil && cqe.Status().Err() == nil && c.received < len(c.in) {
			c.err = fmt.Errorf("only %d of %d bytes came", c.received, len(c.in))
		}
		close(c.done)
	}
	q.mu.Unlock()
	if !ok {
		return sequenceErr("completion of command %d, which is not under way", cid)
	}
	q.slots <- cid
	return nil
}

func (q *queue) data(p *C2HData, damaged *DataDigestError) error {
	q.mu.Lock()
	c, ok := q.pending[p.CID]
	var err error
	switch {
	case !ok:
		err = sequenceErr("data of command %d, which is not under way", p.CID)
	case c.in == nil && c.received == 0 && len(c.out) == 0:
		// abandoned: dropped
	case int64(p.Offset) != int64(c.received):
		err = rangeErr("data at offset %d, expected at %d", p.Offset, c.received)
	case c.in != nil && int(p.Offset)+len(p.Data) > len(c.in):
		err = rangeErr("data up to %d, asked were %d bytes", int(p.Offset)+len(p.Data), len(c.in))
	default:
		copy(c.in[min(c.received, len(c.in)):], p.Data)
		c.received += len(p.Data)
		if damaged != nil {
			c.err = damaged
		}
	}
	q.mu.Unlock()
	if err != nil || !p.Success {
		return err
	}
	return q.complete(p.CID, NewCQE(p.CID, q.id, 0, 0, 0), nil)
}

// ready answers an R2T. The data is sent by a goroutine of its own, as a
// controller may have to be read before it goes on reading. There is one for each
// command at most: ICReq allows no more than one R2T at a time (MAXR2T 0).
func (q *queue) ready(p *R2T) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	c, ok := q.pending[p.CID]
	switch {
	case !ok:
		return sequenceErr("R2T for command %d, which is not under way", p.CID)
	case uint64(p.Offset)+uint64(p.Length) > uint64(len(c.out)) || p.Length == 0:
		return rangeErr("R2T for %d bytes at %d of %d", p.Length, p.Offset, len(c.out))
	case c.sending:
		return &ProtocolError{FESDataLimit, 0, fmt.Sprintf("R2T for command %d before the one before is answered", p.CID)}
	}
	c.sending = true
	q.wg.Go(func() {
		for off, end := int(p.Offset), int(p.Offset+p.Length); off < end; {
			n := min(end-off, q.maxH2C)
			d := &H2CData{p.CID, p.TTag, uint32(off), off+n == end, c.out[off : off+n]}
			if d.Last { // with it the controller may ask for more
				q.mu.Lock()
				c.sending = false
				q.mu.Unlock()
			}
			if q.write(d) != nil {
				return
			}
			off += n
		}
	})
	return nil
}

// end closes the connection and fails what is under way; the first reason stays.
func (q *queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return
	}
	q.err = err
	q.c.Close()
	close(q.done)
}

func (q *queue) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// close ends the queue and waits for its goroutines.
func (q *queue) close() {
	q.end(errQueueClosed)
	q.wg.Wait()
}
