package fake

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// command is the common part of admin commands: the controller, if it takes any.
func (h *Host) command(name string) (*controller, error) {
	c := h.controllers[name]
	switch {
	case c == nil:
		return nil, fmt.Errorf("cannot send a command to %s: %w", name, kernel.ErrGone)
	case c.State != kernel.StateLive:
		return nil, fmt.Errorf("cannot send a command to %s: %w", name, kernel.ErrNotLive)
	}
	return c, nil
}

func pop(list *[]error) error {
	if len(*list) == 0 {
		return nil
	}
	err := (*list)[0]
	*list = (*list)[1:]
	return err
}

// DiscoveryLog is kernel.Worker.DiscoveryLog. It gives what SetLog set, not a copy.
func (h *Host) DiscoveryLog(ctx context.Context, name string, opt nvme.ReadOptions) (*nvme.DiscoveryLog, error) {
	return run(ctx, func() (*nvme.DiscoveryLog, error) {
		h.mu.Lock()
		c, err := h.command(name)
		if err != nil {
			h.mu.Unlock()
			return nil, err
		}
		h.stats.LogReads++
		c.reads++
		delay, hang := c.target.LogDelay, c.target.LogHang
		h.mu.Unlock()
		h.await(c.target, delay, hang)

		h.mu.Lock()
		defer h.mu.Unlock()
		if _, err := h.command(name); err != nil {
			return nil, err
		}
		c.armed, c.target.lsp = true, opt.LSP
		if err := pop(&c.target.LogErrors); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if c.target.log == nil {
			return &nvme.DiscoveryLog{}, nil
		}
		return c.target.log, nil
	}, nil)
}

// LSP gives the log specific parameter of the last read of a target's log page.
func (h *Host) LSP(t tid.TID) uint8 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.targets[addressOf(t)].lsp
}

// Identify is kernel.Worker.Identify.
func (h *Host) Identify(_ context.Context, name string) (*nvme.Identify, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, err := h.command(name)
	if err != nil {
		return nil, err
	}
	id := &nvme.Identify{SN: c.Serial, MN: c.Model, FR: c.Firmware, CNTLID: uint16(c.CntlID), SUBNQN: c.NQN,
		CNTRLTYPE: nvme.ControllerIO, LPA: nvme.LPAExtendedData, OAES: c.target.OAES, DCTYPE: c.target.DCType}
	if c.Kind == tid.Discovery {
		id.CNTRLTYPE = nvme.ControllerDiscovery
		id.OAES = cmp.Or(id.OAES, nvme.OAESDiscovery)
	}
	if c.target.Supported != (nvme.SupportedLogPages{}) {
		id.LPA |= nvme.LPASupportedLogPages
	}
	return id, nil
}

// SupportedLogPages is kernel.Worker.SupportedLogPages.
func (h *Host) SupportedLogPages(_ context.Context, name string) (*nvme.SupportedLogPages, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, err := h.command(name)
	if err != nil {
		return nil, err
	}
	if c.target.Supported == (nvme.SupportedLogPages{}) {
		return nil, fmt.Errorf("%s: %w", name, nvme.StatusInvalidField|nvme.StatusDNR)
	}
	pages := c.target.Supported
	return &pages, nil
}

// Register is kernel.Worker.Register.
func (h *Host) Register(_ context.Context, name string, dim []byte, _ nvme.DIMTask) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, err := h.command(name)
	if err != nil {
		return err
	}
	h.stats.Registrations++
	if err := pop(&c.target.RegisterErrors); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.registered = append(c.registered, slices.Clone(dim))
	return nil
}

// Options is kernel.Worker.Options.
func (h *Host) Options(context.Context) (kernel.Options, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fabricsGone {
		return kernel.Options{}, kernel.ErrNoFabrics
	}
	return h.known, nil
}
