package nvme

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// HostID is a Host Identifier: a UUID, its bytes in the order of the text form as Linux
// sends them in Connect (uuid_t, not guid_t).
type HostID [16]byte

// uuidNQNPrefix begins an NQN that is made of a UUID (Base 2.1, section 4.7).
const uuidNQNPrefix = "nqn.2014-08.org.nvmexpress:uuid:"

var errUUID = errors.New("not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx with hexadecimal digits")

// ParseHostID reads the text form of a UUID, in either case, without braces: what the
// option hostid= of /dev/nvme-fabrics takes.
func ParseHostID(s string) (HostID, error) {
	var id HostID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return HostID{}, fmt.Errorf("cannot parse host ID %q: %w", s, errUUID)
	}
	digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return HostID{}, fmt.Errorf("cannot parse host ID %q: %w", s, errUUID)
	}
	return id, nil
}

// CheckHostID tells why s cannot be the Host Identifier of a connection. The zero UUID is
// refused: it stands for "no Host Identifier".
func CheckHostID(s string) error {
	id, err := ParseHostID(s)
	if err != nil {
		return err
	}
	if id.IsZero() {
		return fmt.Errorf("host ID %q is zero, which identifies nobody", s)
	}
	return nil
}

// IsZero says whether id identifies nobody.
func (id HostID) IsZero() bool { return id == HostID{} }

// String is the canonical lower-case text form.
func (id HostID) String() string {
	var b [36]byte
	hex.Encode(b[0:], id[0:4])
	hex.Encode(b[9:], id[4:6])
	hex.Encode(b[14:], id[6:8])
	hex.Encode(b[19:], id[8:10])
	hex.Encode(b[24:], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// NQN is the NQN that is made of the UUID.
func (id HostID) NQN() string { return uuidNQNPrefix + id.String() }

// HostIDFromNQN gives the UUID that an NQN is made of; false for NQNs of other forms
// and for the zero UUID.
func HostIDFromNQN(nqn string) (HostID, bool) {
	text, ok := strings.CutPrefix(nqn, uuidNQNPrefix)
	if !ok {
		return HostID{}, false
	}
	id, err := ParseHostID(text)
	if err != nil || id.IsZero() {
		return HostID{}, false
	}
	return id, true
}

// HostIDFor gives the Host Identifier that goes with an NQN for which none is configured: the
// UUID that the NQN is made of, else one of version 8 (RFC 9562, section 5.8) computed from the
// whole NQN, so that it is the same on each run and differs between NQNs, as Linux demands since
// 6.5. The zero HostID is for the empty NQN.
func HostIDFor(nqn string) HostID {
	if nqn == "" {
		return HostID{}
	}
	if id, ok := HostIDFromNQN(nqn); ok {
		return id
	}
	sum := sha256.Sum256([]byte("stas host ID " + nqn))
	id := HostID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}
