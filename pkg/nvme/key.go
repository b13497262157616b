package nvme

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"log/slog"
	"strings"
)

// Key is key material. It prints, marshals and logs as "[redacted]"; the bytes are to be
// had from [Key.Bytes] only. The zero Key has none.
//
// They lie behind a pointer to a string, as package fmt goes past all methods in unexported
// fields and where it complains about a verb, and then follows pointers to slices.
type Key struct{ p *string }

func newKey(b []byte) Key {
	s := string(b)
	return Key{&s}
}

const redacted = "[redacted]"

// raw gives the bytes without copying them.
func (k Key) raw() string {
	if k.p == nil {
		return ""
	}
	return *k.p
}

// Bytes gives the key itself, which must reach nothing but the kernel.
func (k Key) Bytes() []byte { return []byte(k.raw()) }

// Len is the length of the key in bytes.
func (k Key) Len() int { return len(k.raw()) }

// Format prints "[redacted]" for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

func (k Key) String() string { return redacted }

// MarshalText gives "[redacted]", for JSON too.
func (k Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue gives "[redacted]".
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// KeyHash is the hash that a key's text form names.
type KeyHash uint8

// Hashes (Base 2.1, section 8.3.4.5.8; NVMe/TCP transport specification, section 3.6.1.5).
const (
	HashNone   KeyHash = 0 // the key is used as it is
	HashSHA256 KeyHash = 1
	HashSHA384 KeyHash = 2
	HashSHA512 KeyHash = 3 // DH-HMAC-CHAP only
)

func (h KeyHash) new() func() hash.Hash {
	switch h {
	case HashSHA256:
		return sha256.New
	case HashSHA384:
		return sha512.New384
	case HashSHA512:
		return sha512.New
	}
	return nil
}

var (
	errKeyPrefix = errors.New("it does not start with the prefix of its format")
	errKeyHash   = errors.New("it names an unknown hash")
	errKeyColon  = errors.New("it does not end in a colon")
	errKeyBase64 = errors.New("it is not base64 behind the hash")
	errKeyLength = errors.New("it has the wrong length")
	errKeyCRC    = errors.New("its checksum is wrong: it was changed or mistyped")
)

// parseKey takes "PREFIX:HH:base64(key, crc32):" apart. No error shows any of s.
func parseKey(s, prefix string, last KeyHash) (KeyHash, []byte, error) {
	s, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return 0, nil, errKeyPrefix
	}
	if len(s) < 3 || s[0] != '0' || s[1] < '0' || s[1] > '0'+byte(last) || s[2] != ':' {
		return 0, nil, errKeyHash
	}
	h := KeyHash(s[1] - '0')
	s, ok = strings.CutSuffix(s[3:], ":")
	if !ok {
		return 0, nil, errKeyColon
	}
	// The longest is 64 bytes and their checksum; and the decoder skips line ends.
	if len(s) > 96 {
		return 0, nil, errKeyLength
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return 0, nil, errKeyBase64
	}
	if len(b) < 4 {
		return 0, nil, errKeyLength
	}
	key, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	switch len(key) {
	case 32, 48, 64:
	default:
		return 0, nil, errKeyLength
	}
	if crc32.ChecksumIEEE(key) != sum {
		return 0, nil, errKeyCRC
	}
	return h, key, nil
}
