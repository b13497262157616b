package nvmetcp

import (
	"context"

	"github.com/stas-go/stas/pkg/nvme"
)

// AuthKey is a DH-HMAC-CHAP key in its text form. It prints as [redacted].
type AuthKey struct{ secret string }

func (h *Host) authenticate(context.Context, *queue) error { return nvme.StatusAuthRequired }

// Authenticator is a Backend that lets only hosts in which prove a key.
type Authenticator interface{ HostKey(hostNQN string) AuthKey }

type authState struct{}

func newAuth(Backend, *Controller) *authState        { return nil }
func (a *authState) pending() bool                   { return false }
func (c *conn) authSend(sqe *SQE, data []byte) reply { return fail(nvme.StatusInvalidOpcode) }
func (c *conn) authReceive(sqe *SQE) reply           { return fail(nvme.StatusInvalidOpcode) }
