package nvmetcp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/stas-go/stas/pkg/nvme"
)

// ErrAuthentication says that the two ends do not prove to each other who they are.
var ErrAuthentication = errors.New("authentication failed")

// authenticate performs DH-HMAC-CHAP on a queue (Base 8.3.4.5.1).
func (h *Host) authenticate(ctx context.Context, q *queue) error {
	if h.cfg.Key.Key.Len() == 0 {
		return fmt.Errorf("there is no key for it: %w", nvme.StatusAuthRequired)
	}
	const tid = 1
	if err := h.authSend(ctx, q, negotiateMessage(tid)); err != nil {
		return err
	}
	b, err := h.authReceive(ctx, q)
	if err != nil {
		return err
	}
	m, err := decodeChallenge(b)
	if err != nil {
		return err
	}
	if m.tid != tid {
		return errAuthMessage
	}
	c := chap{hash: m.hash, group: m.group, tid: tid, hostNQN: h.cfg.HostNQN, subNQN: h.cfg.SubNQN}
	r := replyMessage{tid: tid}
	if m.group != DHNull {
		exponent, public := m.group.keyPair()
		if c.secret, err = m.group.shared(exponent, m.public); err != nil {
			return err
		}
		r.public = public
	}
	r.response = c.response(false, h.cfg.Key, m.challenge, m.seq)
	if h.cfg.ControllerKey.Key.Len() > 0 {
		r.challenge = make([]byte, len(m.challenge))
		_, _ = rand.Read(r.challenge) // never fails
		r.seq = 1
	}
	if err := h.authSend(ctx, q, r.encode()); err != nil {
		return err
	}
	if b, err = h.authReceive(ctx, q); err != nil {
		return err
	}
	return h.conclude(ctx, q, &c, &r, b)
}

// conclude looks at the controller's verdict and, where it was challenged, at its proof.
func (h *Host) conclude(ctx context.Context, q *queue, c *chap, r *replyMessage, b []byte) error {
	hl := len(r.response)
	switch {
	case len(b) >= 8 && b[0] == authCommon && b[1] == authFailure1:
		return fmt.Errorf("%w: the controller refuses it, reason %d.%d", ErrAuthentication, b[6], b[7])
	case len(b) < authHeader+hl, b[0] != authCHAP, b[1] != authSuccess1, le.Uint16(b[4:]) != c.tid, int(b[6]) != hl:
		return errAuthMessage
	case r.challenge == nil:
		return nil
	}
	want := c.response(true, h.cfg.ControllerKey, r.challenge, r.seq)
	if b[8] == 0 || !hmac.Equal(want, b[authHeader:authHeader+hl]) {
		_ = h.authSend(ctx, q, authFailure(authFailure2, c.tid, explainAuthentication)) // the verdict stands whatever comes of it
		return fmt.Errorf("%w: the controller has another key", ErrAuthentication)
	}
	return h.authSend(ctx, q, authMessage(authCHAP, authSuccess2, c.tid, authHeader))
}

// negotiateMessage offers all hashes and groups.
func negotiateMessage(tid uint16) []byte {
	b := authMessage(authCommon, authNegotiate, tid, 8+64)
	b[7] = 1 // descriptors
	d := b[8:]
	d[0] = authCHAP
	d[2] = uint8(copy(d[4:], []byte{uint8(nvme.HashSHA256), uint8(nvme.HashSHA384), uint8(nvme.HashSHA512)}))
	d[3] = uint8(copy(d[34:], []byte{uint8(DHNull), uint8(FFDHE2048), uint8(FFDHE3072), uint8(FFDHE4096), uint8(FFDHE6144), uint8(FFDHE8192)}))
	return b
}

func authSQE(kind uint8, size int) *SQE {
	sqe := new(SQE)
	sqe[0], sqe[4] = nvme.OpFabrics, kind
	sqe[41], sqe[42], sqe[43] = spsp, spsp, secpNVMe
	le.PutUint32(sqe[44:], uint32(size))
	return sqe
}

func (h *Host) authSend(ctx context.Context, q *queue, b []byte) error {
	_, err := h.exec(ctx, q, authSQE(nvme.FabricsAuthSend, len(b)), b, nil)
	return err
}

func (h *Host) authReceive(ctx context.Context, q *queue) ([]byte, error) {
	b := make([]byte, maxAuthData)
	_, err := h.exec(ctx, q, authSQE(nvme.FabricsAuthReceive, len(b)), nil, b)
	return b, err
}
