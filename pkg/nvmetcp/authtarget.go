package nvmetcp

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"math/big"
	"slices"
	"sync"

	"github.com/stas-go/stas/pkg/nvme"
)

// AuthPolicy says how a host has to authenticate.
type AuthPolicy struct {
	Host       nvme.DHCHAPSecret // of the host; without it the host need not authenticate
	Controller nvme.DHCHAPSecret // of the controller; without it the controller proves nothing
	Hash       nvme.KeyHash      // HashNone stands for SHA-256
	Group      DHGroup
}

// Authenticator is a Backend that has hosts authenticate before they may do anything.
type Authenticator interface {
	AuthPolicy(hostNQN string) AuthPolicy
}

// authStep is what is expected next on a queue.
type authStep uint8

const (
	expectNegotiate authStep = iota
	owesChallenge
	expectReply
	owesSuccess
	owesFailure
	expectSuccess2
	authDone
	authFailed
)

// authState is the authentication of one queue; nil where none is needed. Its messages may
// be delayed on purpose, and are then taken beside the commands that come meanwhile.
type authState struct {
	mu        sync.Mutex // guards the others
	policy    AuthPolicy
	chap      chap
	step      authStep
	passed    bool // the host has proved itself; a later exchange may take that back
	explain   uint8
	challenge []byte
	seq       uint32
	exponent  *big.Int
	public    []byte
	proof     []byte // the controller's response, nil if it was not challenged
}

func newAuth(b Backend, c *Controller) *authState {
	a, ok := b.(Authenticator)
	if !ok {
		return nil
	}
	p := a.AuthPolicy(c.HostNQN())
	if p.Host.Key.Len() == 0 {
		return nil
	}
	if p.Hash == nvme.HashNone {
		p.Hash = nvme.HashSHA256
	}
	return &authState{policy: p, chap: chap{hash: p.Hash, group: p.Group, hostNQN: c.HostNQN(), subNQN: c.SubNQN()}}
}

// pending says whether commands have to wait for the authentication.
func (a *authState) pending() bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.passed
}

// authSend takes Authentication Send.
func (c *conn) authSend(sqe *SQE, data []byte) reply {
	if c.auth == nil || sqe[41] != spsp || sqe[42] != spsp || sqe[43] != secpNVMe ||
		uint64(le.Uint32(sqe[44:])) != uint64(len(data)) || len(data) < 8 || len(data) > maxAuthData {
		return fail(nvme.StatusInvalidField | nvme.StatusDNR)
	}
	a := c.auth
	a.mu.Lock()
	defer a.mu.Unlock()
	if data[0] == authCommon && data[1] == authFailure2 {
		a.step, a.passed = authFailed, false
		c.t.observe(c.event("error", "host does not accept the authentication"))
		return reply{}
	}
	explain := a.take(data)
	if explain != 0 {
		a.step, a.explain, a.passed = owesFailure, explain, false
		c.t.observe(c.event("error", "host fails to authenticate"))
	}
	if a.step == authDone {
		c.t.observe(c.event("authenticated", "both ways"))
	}
	return reply{}
}

// take takes a message; the result is the explanation of a failure, or 0.
func (a *authState) take(b []byte) (explain uint8) {
	switch {
	case b[0] == authCommon && b[1] == authNegotiate:
		// Allowed at any time: it begins again.
		return a.negotiate(b)
	case b[0] == authCHAP && b[1] == authReply && a.step == expectReply:
		return a.reply(b)
	case b[0] == authCHAP && b[1] == authSuccess2 && a.step == expectSuccess2:
		a.step = authDone
		return 0
	}
	return explainMessage
}

// negotiate takes AUTH_Negotiate: descriptors of 64 bytes with up to 30 hashes from
// byte 4 and up to 30 groups from byte 34 on (Base 8.3.4.4.1).
func (a *authState) negotiate(b []byte) uint8 {
	const descriptor = 64
	if len(b) < 8+descriptor || int(b[7]) < 1 || len(b) < 8+descriptor*int(b[7]) {
		return explainPayload
	}
	a.chap.tid, a.chap.secret = le.Uint16(b[4:]), nil
	for d := range slices.Chunk(b[8:8+descriptor*int(b[7])], descriptor) {
		if d[0] != authCHAP || d[2] > 30 || d[3] > 30 {
			continue
		}
		switch {
		case !bytes.Contains(d[4:4+d[2]], []byte{uint8(a.policy.Hash)}):
			return explainHash
		case !bytes.Contains(d[34:34+d[3]], []byte{uint8(a.policy.Group)}):
			return explainGroup
		}
		a.step = owesChallenge
		return 0
	}
	return explainPayload
}

// reply checks the host's response and prepares the controller's.
func (a *authState) reply(b []byte) uint8 {
	hl := len(a.challenge)
	m, err := decodeReply(b, hl)
	if err != nil || m.tid != a.chap.tid || len(m.public) != a.chap.group.size() {
		return explainPayload
	}
	if a.chap.group != DHNull {
		if a.chap.secret, err = a.chap.group.shared(a.exponent, m.public); err != nil {
			return explainPayload
		}
	}
	want := a.chap.response(false, a.policy.Host, a.challenge, a.seq)
	if !hmac.Equal(want, m.response) {
		return explainAuthentication
	}
	a.step, a.proof = owesSuccess, nil
	if m.challenge != nil {
		if a.policy.Controller.Key.Len() == 0 {
			return explainAuthentication // asked for what there is no key for
		}
		a.proof = a.chap.response(true, a.policy.Controller, m.challenge, m.seq)
	}
	return 0
}

// authReceive answers Authentication Receive with the message that is due.
func (c *conn) authReceive(sqe *SQE) reply {
	n := le.Uint32(sqe[44:])
	if c.auth == nil || sqe[41] != spsp || sqe[42] != spsp || sqe[43] != secpNVMe || n != sqe.DataLen() || n > maxTransfer {
		return fail(nvme.StatusInvalidField | nvme.StatusDNR)
	}
	b := c.auth.next(c)
	c.rearm() // nothing more may come for long: an I/O queue can be idle
	switch {
	case b == nil:
		return fail(nvme.StatusCommandSequence | nvme.StatusDNR)
	case len(b) > int(n):
		return fail(nvme.StatusInvalidField | nvme.StatusDNR)
	}
	return reply{data: limit(b, n)}
}

// next gives the message that is due, nil for none.
func (a *authState) next(c *conn) (b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.step {
	case owesChallenge:
		b = a.challengeHost()
	case owesSuccess:
		b = a.succeed()
		if a.step == authDone {
			c.t.observe(c.event("authenticated", "the host"))
		}
	case owesFailure:
		b = authFailure(authFailure1, a.chap.tid, a.explain)
		a.step = authFailed
	}
	return b
}

func (a *authState) challengeHost() []byte {
	a.challenge = make([]byte, chapHash(a.policy.Hash)().Size())
	var seq [4]byte
	_, _ = rand.Read(a.challenge) // never fails
	_, _ = rand.Read(seq[:])
	a.seq = le.Uint32(seq[:]) | 1 // 0 means that there is none
	a.public = nil
	if a.policy.Group != DHNull {
		a.exponent, a.public = a.policy.Group.keyPair()
	}
	a.step = expectReply
	m := challengeMessage{a.chap.tid, a.policy.Hash, a.policy.Group, a.seq, a.challenge, a.public}
	return m.encode()
}

// succeed makes DH-HMAC-CHAP_Success1 (Base 8.3.4.5.6).
func (a *authState) succeed() []byte {
	b := authMessage(authCHAP, authSuccess1, a.chap.tid, authHeader+len(a.challenge))
	b[6] = uint8(len(a.challenge))
	a.step, a.passed = authDone, true
	if a.proof != nil {
		b[8] = 1
		copy(b[authHeader:], a.proof)
		a.step = expectSuccess2
	}
	return b
}
