package nvmetcp

import (
	"context"
	"errors"
	"fmt"

	"github.com/stas-go/stas/pkg/nvme"
)

// GetLog performs one Get Log Page of len(buf) bytes, a multiple of 4 of at most 4 MiB.
func (h *Host) GetLog(ctx context.Context, lid, lsp uint8, offset uint64, buf []byte, rae bool) error {
	if len(buf) == 0 || len(buf)%4 != 0 || len(buf) > maxAdminData {
		return fmt.Errorf("cannot get log page 0x%02x: %d bytes cannot be asked for", lid, len(buf))
	}
	g := nvme.GetLogPage{LID: lid, LSP: lsp, RAE: rae, Length: uint32(len(buf)), Offset: offset}
	var sqe SQE
	sqe[0] = nvme.OpGetLogPage
	if lid == nvme.LogSupported {
		sqe.SetDword(1, 0xffffffff)
	}
	d10, d11, d12, d13 := g.Dwords()
	sqe.SetDword(10, d10)
	sqe.SetDword(11, d11)
	sqe.SetDword(12, d12)
	sqe.SetDword(13, d13)
	if _, err := h.exec(ctx, h.admin, &sqe, nil, buf); err != nil {
		return fmt.Errorf("cannot get log page 0x%02x: %w", lid, err)
	}
	return nil
}

// SupportedLogPages reads log page 00h. A controller without it supports nothing,
// which is no error.
func (h *Host) SupportedLogPages(ctx context.Context) (*nvme.SupportedLogPages, error) {
	if h.identify.LPA&nvme.LPASupportedLogPages == 0 {
		return new(nvme.SupportedLogPages), nil
	}
	b := make([]byte, nvme.SupportedLogPagesSize)
	err := h.GetLog(ctx, nvme.LogSupported, 0, 0, b, true)
	var status nvme.Status
	if errors.As(err, &status) {
		return new(nvme.SupportedLogPages), nil
	}
	if err != nil {
		return nil, err
	}
	return nvme.DecodeSupportedLogPages(b)
}

// ReadDiscoveryLog reads log page 70h with those of the bits in lsp that the
// controller supports.
func (h *Host) ReadDiscoveryLog(ctx context.Context, lsp uint8) (*nvme.DiscoveryLog, error) {
	return h.ReadAdmittedDiscoveryLog(ctx, lsp, nil)
}

// ReadAdmittedDiscoveryLog is ReadDiscoveryLog of a page whose number of entries admit does not
// refuse ([nvme.ReadOptions]).
func (h *Host) ReadAdmittedDiscoveryLog(ctx context.Context, lsp uint8, admit func(records int) error) (*nvme.DiscoveryLog, error) {
	opt := nvme.ReadOptions{
		ChunkSize: h.chunk(),
		NoOffset:  h.identify.LPA&nvme.LPAExtendedData == 0,
		Admit:     admit,
	}
	if lsp != 0 {
		pages, err := h.SupportedLogPages(ctx)
		if err != nil {
			return nil, err
		}
		opt.LSP = pages.DiscoveryLSP(lsp)
	}
	return nvme.ReadDiscoveryLog(func(lid, lsp uint8, off uint64, buf []byte, rae bool) error {
		return h.GetLog(ctx, lid, lsp, off, buf, rae)
	}, opt)
}

// chunk is the most that one Get Log Page may ask for: MDTS counts in units of
// CAP.MPSMIN, which is 4 KiB or more.
func (h *Host) chunk() int {
	const most = 64 << 10
	if mdts := h.identify.MDTS; mdts > 0 && mdts < 4 {
		return 4096 << mdts
	}
	return most
}

// DIM registers, updates or removes discovery information.
func (h *Host) DIM(ctx context.Context, task nvme.DIMTask, d *nvme.DIM) error {
	b, err := d.Encode()
	if err != nil {
		return err
	}
	var sqe SQE
	sqe[0] = nvme.OpDIM
	sqe.SetDword(10, uint32(task))
	if _, err := h.exec(ctx, h.admin, &sqe, b, nil); err != nil {
		return fmt.Errorf("cannot perform discovery information task %d: %w", task, err)
	}
	return nil
}

// EnableEvents asks for the asynchronous events in mask (bits of OAES) that the
// controller can raise; [Host.WaitEvent] then delivers them. Call it once.
func (h *Host) EnableEvents(ctx context.Context, mask uint32) error {
	mask &= h.identify.OAES
	if mask == 0 {
		return errors.New("the controller raises none of these events")
	}
	var sqe SQE
	sqe[0] = nvme.OpSetFeatures
	sqe.SetDword(10, nvme.FeatureAsyncEvents)
	sqe.SetDword(11, mask)
	if _, err := h.exec(ctx, h.admin, &sqe, nil, nil); err != nil {
		return fmt.Errorf("cannot enable asynchronous events: %w", err)
	}
	h.wg.Go(h.requestEvents)
	return nil
}

// requestEvents keeps one Asynchronous Event Request outstanding. An event that
// nobody takes holds the next request back, and with it what the controller sends.
func (h *Host) requestEvents() {
	for {
		var sqe SQE
		sqe[0] = nvme.OpAER
		cqe, err := h.admin.exec(context.Background(), &sqe, nil, nil)
		if err != nil || cqe.Status().Err() != nil {
			return
		}
		select {
		case h.events <- nvme.AsyncEvent(cqe.Result()):
		case <-h.admin.done:
			return
		}
	}
}

// WaitEvent waits for the next asynchronous event, the end of ctx or of the connection.
func (h *Host) WaitEvent(ctx context.Context) (nvme.AsyncEvent, error) {
	select {
	case e := <-h.events:
		return e, nil
	case <-ctx.Done():
		return 0, classify(ctx.Err(), nil)
	case <-h.admin.done:
		return 0, h.admin.failure()
	}
}

// Discover connects to a discovery controller, reads its log page and disconnects.
func Discover(ctx context.Context, cfg HostConfig) (*nvme.DiscoveryLog, *nvme.Identify, error) {
	h, err := Dial(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	defer h.Close()
	log, err := h.ReadDiscoveryLog(ctx, 0)
	return log, h.identify, err
}
