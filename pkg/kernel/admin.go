package kernel

import (
	"context"
	"fmt"

	"github.com/stas-go/stas/pkg/nvme"
)

// session sends admin commands to one controller, always to the same one: when its
// name goes to another meanwhile, commands fail.
type session struct {
	worker *Worker
	name   string
	id     uint64
}

func (w *Worker) open(name string) session { return session{w, name, w.nextSession()} }

func (s session) close() {
	s.worker.note(&request{Op: opRelease, Admin: &adminCommand{Name: s.name, Session: s.id}})
}

// send performs a command and fills buf with what the controller gives.
func (s session) send(ctx context.Context, c adminCommand, buf []byte) error {
	c.Name, c.Session, c.Read = s.name, s.id, len(buf)
	got, err := s.worker.call(ctx, &call{request: &request{Op: opAdmin, Admin: &c}}, nil)
	if err != nil {
		return err
	}
	if len(got.data) != len(buf) {
		return fmt.Errorf("%s: the kernel worker gave %d bytes of %d", s.name, len(got.data), len(buf))
	}
	copy(buf, got.data)
	return nil
}

func (s session) getLog(ctx context.Context, g nvme.GetLogPage, nsid uint32, buf []byte) error {
	g.Length = uint32(len(buf))
	c := adminCommand{Opcode: nvme.OpGetLogPage, NSID: nsid}
	c.CDW[0], c.CDW[1], c.CDW[2], c.CDW[3] = g.Dwords()
	return s.send(ctx, c, buf)
}

// DiscoveryLog reads the discovery log page of a live discovery controller. Where ctx ends
// midway, the event that the read held back is armed again behind the caller's back.
func (w *Worker) DiscoveryLog(ctx context.Context, name string, opt nvme.ReadOptions) (*nvme.DiscoveryLog, error) {
	s := w.open(name)
	log, err := nvme.ReadDiscoveryLog(func(lid, lsp uint8, offset uint64, buf []byte, rae bool) error {
		return s.getLog(ctx, nvme.GetLogPage{LID: lid, LSP: lsp, Offset: offset, RAE: rae}, 0, buf)
	}, opt)
	if err != nil && ctx.Err() != nil {
		go func() {
			defer s.close()
			rearm := nvme.GetLogPage{LID: nvme.LogDiscovery, LSP: opt.LSP}
			_ = s.getLog(context.WithoutCancel(ctx), rearm, 0, make([]byte, nvme.DiscoveryHeaderSize))
		}()
	} else {
		s.close()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return log, nil
}

// Identify reads the Identify Controller data of a live controller.
func (w *Worker) Identify(ctx context.Context, name string) (*nvme.Identify, error) {
	buf := make([]byte, nvme.IdentifySize)
	c := adminCommand{Opcode: nvme.OpIdentify}
	c.CDW[0] = nvme.CNSController
	if err := (session{worker: w, name: name}).send(ctx, c, buf); err != nil {
		return nil, wrap(err, "identify "+name)
	}
	return nvme.DecodeIdentify(buf)
}

// allNamespaces as nsid stands for the controller as a whole (Base 2.1, section 5.1.12).
const allNamespaces = 0xFFFFFFFF

// SupportedLogPages reads log page 0 of a live controller. One that does not have the page
// answers with an [nvme.Status].
func (w *Worker) SupportedLogPages(ctx context.Context, name string) (*nvme.SupportedLogPages, error) {
	buf := make([]byte, nvme.SupportedLogPagesSize)
	if err := (session{worker: w, name: name}).getLog(ctx, nvme.GetLogPage{LID: nvme.LogSupported}, allNamespaces, buf); err != nil {
		return nil, wrap(err, "read the supported log pages of "+name)
	}
	return nvme.DecodeSupportedLogPages(buf)
}

// Register sends a Discovery Information Management command with the encoded dim. A
// controller that refuses answers with an [nvme.Status].
func (w *Worker) Register(ctx context.Context, name string, dim []byte, task nvme.DIMTask) error {
	c := adminCommand{Name: name, Opcode: nvme.OpDIM}
	c.CDW[0] = uint32(task)
	_, err := w.call(ctx, &call{request: &request{Op: opAdmin, Admin: &c}}, dim)
	return wrap(err, "register with "+name)
}
