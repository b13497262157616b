package kernel

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"strings"
)

// tlsHash is the hash of a configured PSK (NVMe/TCP transport specification 1.1,
// section 3.6.1.5): how the PSK is made into the retained one, and which cipher suite goes with it.
type tlsHash uint8

const (
	tlsHashNone   tlsHash = 0 // the configured PSK is the retained one
	tlsHashSHA256 tlsHash = 1 // TLS_AES_128_GCM_SHA256
	tlsHashSHA384 tlsHash = 2 // TLS_AES_256_GCM_SHA384
)

func (h tlsHash) new() func() hash.Hash {
	if h == tlsHashSHA384 {
		return sha512.New384
	}
	return sha256.New
}

// configuredPSK is a PSK as the administrator has it. It must never be printed.
type configuredPSK struct {
	hash tlsHash
	key  []byte // 32 or 48 bytes
}

var errTLSKey = errors.New("the TLS key is not of the form NVMeTLSkey-1:<00, 01 or 02>:<base64>:")

// parseTLSKey reads the interchange form: hash, and base64 of the PSK with its CRC-32, least
// significant byte first (section 3.6.1.5). Errors do not tell the key.
func parseTLSKey(s string) (configuredPSK, error) {
	rest, ok := strings.CutPrefix(s, "NVMeTLSkey-1:")
	kind, rest, ok2 := strings.Cut(rest, ":")
	text, tail, ok3 := strings.Cut(rest, ":")
	if !ok || !ok2 || !ok3 || tail != "" {
		return configuredPSK{}, errTLSKey
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 4 {
		return configuredPSK{}, errTLSKey
	}
	psk := configuredPSK{key: b[:len(b)-4]}
	want := len(psk.key) == 32 || len(psk.key) == 48
	switch kind {
	case "00":
	case "01":
		psk.hash, want = tlsHashSHA256, len(psk.key) == 32
	case "02":
		psk.hash, want = tlsHashSHA384, len(psk.key) == 48
	default:
		return configuredPSK{}, errTLSKey
	}
	if !want {
		return configuredPSK{}, fmt.Errorf("the TLS key has %d bytes, which does not go with hash %s", len(psk.key), kind)
	}
	if crc32.ChecksumIEEE(psk.key) != binary.LittleEndian.Uint32(b[len(psk.key):]) {
		return configuredPSK{}, errors.New("the TLS key has a wrong checksum: it was mistyped")
	}
	return psk, nil
}

// cipher is the hash of the cipher suite.
func (p configuredPSK) cipher() tlsHash {
	switch {
	case p.hash != tlsHashNone:
		return p.hash
	case len(p.key) == 48:
		return tlsHashSHA384
	}
	return tlsHashSHA256
}

// derive gives the TLS PSK between a host and a subsystem, and the identity under which
// TLS names it, in version 1 (sections 3.6.1.3 and 3.6.1.4).
func (p configuredPSK) derive(hostNQN, subsysNQN string) (identity string, key []byte, err error) {
	cipher := p.cipher()
	retained := p.key
	if p.hash != tlsHashNone {
		if retained, err = expandLabel(p.hash, p.key, "HostNQN", hostNQN); err != nil {
			return "", nil, err
		}
	}
	mac := hmac.New(cipher.new(), retained)
	mac.Write([]byte(hostNQN + " " + subsysNQN + " NVMe-over-Fabrics"))
	digest := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	identity = fmt.Sprintf("NVMe1R%02d %s %s %s", cipher, hostNQN, subsysNQN, digest)
	key, err = expandLabel(cipher, retained, "nvme-tls-psk", fmt.Sprintf("%02d %s", cipher, digest))
	return identity, key, err
}

// expandLabel is HKDF-Extract without salt and HKDF-Expand-Label of TLS 1.3 (RFC 8446,
// section 7.1), to a key as long as the secret.
func expandLabel(h tlsHash, secret []byte, label, context string) ([]byte, error) {
	prk, err := hkdf.Extract(h.new(), secret, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot derive a TLS key: %w", err)
	}
	label = "tls13 " + label
	if len(context) > 255 {
		return nil, fmt.Errorf("cannot derive a TLS key: a context of %d bytes is longer than 255", len(context))
	}
	info := binary.BigEndian.AppendUint16(nil, uint16(len(secret)))
	info = append(append(info, byte(len(label))), label...)
	info = append(append(info, byte(len(context))), context...)
	key, err := hkdf.Expand(h.new(), prk, string(info), len(secret))
	if err != nil {
		return nil, fmt.Errorf("cannot derive a TLS key: %w", err)
	}
	return key, nil
}
