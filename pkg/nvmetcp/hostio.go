package nvmetcp

import (
	"context"
	"errors"
	"fmt"

	"github.com/stas-go/stas/pkg/nvme"
)

// maxIOData bounds the data of one C2HData on an I/O queue, and one [Host.Read].
const maxIOData = 1 << 20

// OpenQueues asks for n I/O queues and connects as many as the controller grants,
// which is what it returns.
func (h *Host) OpenQueues(ctx context.Context, n int) (int, error) {
	if n < 1 || n > 128 {
		return 0, fmt.Errorf("cannot open %d I/O queues, allowed are 1 to 128", n)
	}
	var sqe SQE
	sqe[0] = nvme.OpSetFeatures
	sqe.SetDword(10, nvme.FeatureNumberOfQueues)
	sqe.SetDword(11, uint32(n-1)|uint32(n-1)<<16)
	cqe, err := h.exec(ctx, h.admin, &sqe, nil, nil)
	if err != nil {
		return 0, fmt.Errorf("cannot set the number of queues: %w", err)
	}
	n = min(n, int(uint16(cqe.Result()))+1)
	inCapsule := max(0, int(min(h.identify.IOCCSZ, 1<<16))*16-64)
	for id := 1; id <= n; id++ {
		q, err := openQueue(ctx, &h.cfg, uint16(id), ioDepth, inCapsule, maxIOData)
		if err == nil {
			if _, err = h.connectQueue(ctx, q, h.cntlid, ioDepth); err != nil {
				q.close()
			}
		}
		if err != nil {
			return id - 1, fmt.Errorf("cannot open I/O queue %d: %w", id, err)
		}
		h.mu.Lock()
		h.io = append(h.io, q)
		h.mu.Unlock()
	}
	return n, nil
}

// NamespaceSize tells how many blocks a namespace has, and how many bytes a block has.
func (h *Host) NamespaceSize(ctx context.Context, nsid uint32) (blocks uint64, blockSize int, err error) {
	b := make([]byte, identifySize)
	var sqe SQE
	sqe[0] = nvme.OpIdentify
	sqe.SetDword(1, nsid)
	sqe.SetDword(10, nvme.CNSNamespace)
	if _, err := h.exec(ctx, h.admin, &sqe, nil, b); err != nil {
		return 0, 0, fmt.Errorf("cannot identify namespace %d: %w", nsid, err)
	}
	// NSZE at 0; FLBAS at 26 chooses among the formats from 128 on, of which byte 2
	// is LBADS (NVM Command Set 4.1.5.1).
	blocks = le.Uint64(b)
	shift := b[128+4*int(b[26]&0xf)+2]
	if blocks == 0 || shift < 9 || shift > 16 {
		return 0, 0, fmt.Errorf("namespace %d is not there, or has blocks of 2^%d bytes", nsid, shift)
	}
	return blocks, 1 << shift, nil
}

// Read reads len(buf) bytes from block lba on; blockSize divides len(buf).
func (h *Host) Read(ctx context.Context, nsid uint32, lba uint64, blockSize int, buf []byte) error {
	return h.transfer(ctx, nvme.OpRead, nsid, lba, blockSize, nil, buf)
}

// Write writes buf from block lba on; blockSize divides len(buf). After an error buf
// must not be changed before Close.
func (h *Host) Write(ctx context.Context, nsid uint32, lba uint64, blockSize int, buf []byte) error {
	return h.transfer(ctx, nvme.OpWrite, nsid, lba, blockSize, buf, nil)
}

func (h *Host) transfer(ctx context.Context, op uint8, nsid uint32, lba uint64, blockSize int, out, in []byte) error {
	size := len(out) + len(in)
	if blockSize < 512 || size == 0 || size%blockSize != 0 || size > maxIOData {
		return fmt.Errorf("cannot transfer %d bytes in blocks of %d", size, blockSize)
	}
	h.mu.Lock()
	var q *queue
	if n := len(h.io); n > 0 {
		q = h.io[int(lba)&0xffff%n]
	}
	h.mu.Unlock()
	if q == nil {
		return errors.New("cannot transfer: no I/O queue is open")
	}
	var sqe SQE
	sqe[0] = op
	sqe.SetDword(1, nsid)
	le.PutUint64(sqe[40:], lba)
	sqe.SetDword(12, uint32(size/blockSize-1))
	if _, err := h.exec(ctx, q, &sqe, out, in); err != nil {
		return fmt.Errorf("cannot transfer %d bytes at block %d: %w", size, lba, err)
	}
	return nil
}
