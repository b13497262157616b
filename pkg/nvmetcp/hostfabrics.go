package nvmetcp

import (
	"context"
	"fmt"

	"github.com/stas-go/stas/pkg/nvme"
)

// Bits of the result of Connect (Base 6.3, figure "Connect Response").
const (
	connectAuthRequired = 1 << 17 // ATR
	connectSecureConcat = 1 << 18 // ASCR
)

// cattrDisableSQFlow is the bit of CATTR that turns SQ flow control off (Base 6.3).
const cattrDisableSQFlow = 1 << 2

// connectQueue performs Connect, and authenticates when the controller asks for it.
func (h *Host) connectQueue(ctx context.Context, q *queue, cntlid uint16, depth int) (uint16, error) {
	data := nvme.ConnectData{HostID: h.cfg.HostID, CntlID: cntlid, SubNQN: h.cfg.SubNQN, HostNQN: h.cfg.HostNQN}
	b, err := data.Encode()
	if err != nil {
		return 0, err
	}
	var sqe SQE
	sqe[0] = nvme.OpFabrics
	sqe[4] = nvme.FabricsConnect
	le.PutUint16(sqe[42:], q.id)
	le.PutUint16(sqe[44:], uint16(depth-1))
	sqe[46] = cattrDisableSQFlow
	if q.id == 0 {
		le.PutUint32(sqe[48:], uint32(h.cfg.KeepAlive.Milliseconds()))
	}
	cqe, err := h.exec(ctx, q, &sqe, b, nil)
	if err != nil {
		return 0, fmt.Errorf("connect of queue %d failed: %w", q.id, err)
	}
	result := cqe.Result()
	switch {
	case result&connectSecureConcat != 0:
		return 0, fmt.Errorf("the controller demands secure channel concatenation: %w", nvme.StatusAuthRequired)
	case result&connectAuthRequired != 0:
		if err := h.authenticate(ctx, q); err != nil {
			return 0, fmt.Errorf("cannot authenticate queue %d: %w", q.id, err)
		}
	}
	return uint16(result), nil
}

// property reads a property of 4 or 8 bytes.
func (h *Host) property(ctx context.Context, offset uint32, size int) (uint64, error) {
	var sqe SQE
	sqe[0] = nvme.OpFabrics
	sqe[4] = nvme.FabricsPropertyGet
	if size == 8 {
		sqe[40] = 1
	}
	le.PutUint32(sqe[44:], offset)
	cqe, err := h.exec(ctx, h.admin, &sqe, nil, nil)
	if err != nil {
		return 0, fmt.Errorf("cannot get property 0x%x: %w", offset, err)
	}
	return cqe.Result(), nil
}

func (h *Host) setProperty(ctx context.Context, offset uint32, value uint64) error {
	var sqe SQE
	sqe[0] = nvme.OpFabrics
	sqe[4] = nvme.FabricsPropertySet
	le.PutUint32(sqe[44:], offset)
	le.PutUint64(sqe[48:], value)
	if _, err := h.exec(ctx, h.admin, &sqe, nil, nil); err != nil {
		return fmt.Errorf("cannot set property 0x%x: %w", offset, err)
	}
	return nil
}
