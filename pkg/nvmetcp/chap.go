package nvmetcp

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"

	"github.com/stas-go/stas/pkg/nvme"
)

// Messages of authentication: type and identifier (Base 8.3.4.4, 8.3.4.5).
const (
	authCommon = 0x00
	authCHAP   = 0x01

	authNegotiate = 0x00
	authChallenge = 0x01
	authReply     = 0x02
	authSuccess1  = 0x03
	authSuccess2  = 0x04
	authFailure2  = 0xf0
	authFailure1  = 0xf1
)

// Security protocol of Authentication Send and Receive (Base 6.1, 6.2): SECP E9h, SPSP0 and SPSP1 1.
const (
	secpNVMe = 0xe9
	spsp     = 0x01
)

// Reasons why authentication fails: reason code 1, and these explanations.
const (
	authReasonFailed      = 1
	explainAuthentication = 1
	explainHash           = 4
	explainGroup          = 5
	explainPayload        = 6
	explainMessage        = 7
)

// authHeader is the length of the fixed part of each message.
const authHeader = 16

// maxAuthData bounds a message: the longest is a reply with a value of 8192 bits.
const maxAuthData = 4096

func chapHash(id nvme.KeyHash) func() hash.Hash {
	switch id {
	case nvme.HashSHA256:
		return sha256.New
	case nvme.HashSHA384:
		return sha512.New384
	case nvme.HashSHA512:
		return sha512.New
	}
	return nil
}

// chap is what both ends of an exchange compute from.
type chap struct {
	hash            nvme.KeyHash
	group           DHGroup
	tid             uint16
	secret          []byte // shared Diffie-Hellman secret, nil for DHNull
	hostNQN, subNQN string
}

// response is the answer to a challenge, of the host or of the controller
// (Base 8.3.4.5.5, 8.3.4.5.6).
func (c *chap) response(controller bool, key nvme.DHCHAPSecret, challenge []byte, seq uint32) []byte {
	newHash := chapHash(c.hash)
	who, owner, other := "HostHost", c.hostNQN, c.subNQN
	if controller {
		who, owner, other = "Controller", c.subNQN, c.hostNQN
	}
	if c.secret != nil { // augmented challenge: HMAC of the challenge under the hashed secret
		h := newHash()
		h.Write(c.secret)
		m := hmac.New(newHash, h.Sum(nil))
		m.Write(challenge)
		challenge = m.Sum(nil)
	}
	m := hmac.New(newHash, key.Transformed(owner).Bytes())
	m.Write(challenge)
	var b [7]byte // S, T_ID, SC_C 0: no secure channel is set up
	le.PutUint32(b[0:], seq)
	le.PutUint16(b[4:], c.tid)
	m.Write(b[:])
	m.Write([]byte(who))
	m.Write([]byte(owner))
	m.Write([]byte{0})
	m.Write([]byte(other))
	return m.Sum(nil)
}

// message makes the first bytes of a message.
func authMessage(kind, id uint8, tid uint16, size int) []byte {
	b := make([]byte, size)
	b[0], b[1] = kind, id
	le.PutUint16(b[4:], tid)
	return b
}

func authFailure(id uint8, tid uint16, explain uint8) []byte {
	b := authMessage(authCommon, id, tid, 8)
	b[6], b[7] = authReasonFailed, explain
	return b
}

// challengeMessage is DH-HMAC-CHAP_Challenge (Base 8.3.4.5.3).
type challengeMessage struct {
	tid       uint16
	hash      nvme.KeyHash
	group     DHGroup
	seq       uint32
	challenge []byte
	public    []byte // empty for DHNull
}

func (m *challengeMessage) encode() []byte {
	b := authMessage(authCHAP, authChallenge, m.tid, authHeader)
	b[6] = uint8(len(m.challenge))
	b[8], b[9] = uint8(m.hash), uint8(m.group)
	le.PutUint16(b[10:], uint16(len(m.public)))
	le.PutUint32(b[12:], m.seq)
	return append(append(b, m.challenge...), m.public...)
}

var errAuthMessage = errors.New("authentication message makes no sense")

func decodeChallenge(b []byte) (*challengeMessage, error) {
	if len(b) < authHeader || b[0] != authCHAP || b[1] != authChallenge {
		return nil, errAuthMessage
	}
	m := &challengeMessage{tid: le.Uint16(b[4:]), hash: nvme.KeyHash(b[8]), group: DHGroup(b[9]), seq: le.Uint32(b[12:])}
	hl, dl := int(b[6]), int(le.Uint16(b[10:]))
	newHash := chapHash(m.hash)
	if newHash == nil || hl != newHash().Size() || m.group > FFDHE8192 || dl != m.group.size() || len(b) < authHeader+hl+dl {
		return nil, errAuthMessage
	}
	m.challenge, m.public = b[authHeader:authHeader+hl], b[authHeader+hl:authHeader+hl+dl]
	return m, nil
}

// replyMessage is DH-HMAC-CHAP_Reply (Base 8.3.4.5.4). The challenge to the
// controller takes its place even where there is none.
type replyMessage struct {
	tid                 uint16
	seq                 uint32
	response, challenge []byte // challenge is nil when the controller need not prove itself
	public              []byte
}

func (m *replyMessage) encode() []byte {
	b := authMessage(authCHAP, authReply, m.tid, authHeader+2*len(m.response))
	b[6] = uint8(len(m.response))
	if m.challenge != nil {
		b[8] = 1
	}
	le.PutUint16(b[10:], uint16(len(m.public)))
	le.PutUint32(b[12:], m.seq)
	copy(b[authHeader:], m.response)
	copy(b[authHeader+len(m.response):], m.challenge)
	return append(b, m.public...)
}

func decodeReply(b []byte, hl int) (*replyMessage, error) {
	if len(b) < authHeader+2*hl || b[0] != authCHAP || b[1] != authReply || int(b[6]) != hl {
		return nil, errAuthMessage
	}
	m := &replyMessage{tid: le.Uint16(b[4:]), seq: le.Uint32(b[12:]), response: b[authHeader : authHeader+hl]}
	if b[8] != 0 {
		m.challenge = b[authHeader+hl : authHeader+2*hl]
	}
	rest := b[authHeader+2*hl:]
	dl := int(le.Uint16(b[10:]))
	if dl > len(rest) {
		return nil, errAuthMessage
	}
	m.public = rest[:dl]
	return m, nil
}
