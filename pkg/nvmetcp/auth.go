package nvmetcp

import (
	"context"

	"github.com/stas-go/stas/pkg/nvme"
)

func (h *Host) authenticate(context.Context, *queue) error { return nvme.StatusAuthRequired }

// Authenticator is a Backend that has hosts authenticate before they may do anything.
type Authenticator interface {
	// HostKeys gives the keys of a connecting host and of the controller towards it;
	// a host without key need not authenticate.
	HostKeys(hostNQN string) (host, controller nvme.DHCHAPSecret)
}

type authState struct{}

func newAuth(Backend, *Controller) *authState        { return nil }
func (a *authState) pending() bool                   { return false }
func (c *conn) authSend(sqe *SQE, data []byte) reply { return fail(nvme.StatusInvalidOpcode) }
func (c *conn) authReceive(sqe *SQE) reply           { return fail(nvme.StatusInvalidOpcode) }
