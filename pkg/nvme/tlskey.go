package nvme

import (
	"crypto/hkdf"
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// TLSKey is a configured PSK for NVMe/TCP with TLS, as the interchange format
// "NVMeTLSkey-1:HH:base64:" has it (NVMe/TCP transport specification, section 3.6.1.5).
type TLSKey struct {
	Hash KeyHash // by which the retained PSK is derived; 0: it is the configured one
	Key  Key     // 32 or 48 bytes
}

// ParseTLSKey parses the text form. No error shows any of s.
func ParseTLSKey(s string) (TLSKey, error) {
	h, key, err := parseKey(s, "NVMeTLSkey-1:", HashSHA384)
	if err == nil && (len(key) == 64 || h == HashSHA256 && len(key) != 32 || h == HashSHA384 && len(key) != 48) {
		err = errKeyLength
	}
	if err != nil {
		return TLSKey{}, fmt.Errorf("cannot use TLS key: %w", err)
	}
	return TLSKey{Hash: h, Key: newKey(key)}, nil
}

// CheckTLSKey tells why s is no configured PSK. No error shows any of s.
func CheckTLSKey(s string) error {
	_, err := ParseTLSKey(s)
	return err
}

// TLSIdentityVersion is the version of a PSK identity; Linux prefers version 1.
type TLSIdentityVersion uint8

// TLSDerivation selects how the label of a derivation is encoded.
type TLSDerivation bool

// Derivations. Both ends of a connection must use the same.
const (
	TLSStandard TLSDerivation = false // HkdfLabel of RFC 8446, section 7.1
	TLSCompat   TLSDerivation = true  // that of libnvme before 1.16: no length bytes, little endian
)

// Derive gives what belongs into the keyring of the kernel for one host and subsystem: the
// description and the payload of a key of type "psk" (NVMe/TCP transport specification,
// sections 3.6.1.3 and 3.6.1.4). The subsystem is the one that is asked for: the well-known
// NQN where a discovery controller is reached by that.
func (k TLSKey) Derive(version TLSIdentityVersion, hostNQN, subNQN string, how TLSDerivation) (identity string, psk Key, err error) {
	fail := func(err error) (string, Key, error) {
		return "", Key{}, fmt.Errorf("cannot derive TLS PSK for host %q and subsystem %q: %w", hostNQN, subNQN, err)
	}
	if version > 1 {
		return fail(fmt.Errorf("identity version %d is unknown", version))
	}
	cipher := k.Hash
	if cipher == HashNone {
		cipher = HashSHA256
		if k.Key.Len() == 48 {
			cipher = HashSHA384
		}
	}
	retained := k.Key.Bytes()
	if k.Hash != HashNone {
		if retained, err = expandLabel(k.Hash, retained, "HostNQN", hostNQN, how); err != nil {
			return fail(err)
		}
	}
	identity = fmt.Sprintf("NVMe%dR%02d %s %s", version, cipher, hostNQN, subNQN)
	context := identity
	if version == 1 {
		m := hmac.New(cipher.new(), retained)
		m.Write([]byte(hostNQN + " " + subNQN + " " + overFabrics))
		digest := base64.StdEncoding.EncodeToString(m.Sum(nil))
		identity += " " + digest
		context = fmt.Sprintf("%02d %s", cipher, digest)
	}
	b, err := expandLabel(cipher, retained, "nvme-tls-psk", context, how)
	if err != nil {
		return fail(err)
	}
	return identity, newKey(b), nil
}

// expandLabel is HKDF-Extract without salt, then HKDF-Expand-Label of RFC 8446 to the
// length of the secret.
func expandLabel(h KeyHash, secret []byte, label, context string, how TLSDerivation) ([]byte, error) {
	label = "tls13 " + label
	if len(context) > 255 {
		return nil, fmt.Errorf("context of %d bytes is longer than 255", len(context))
	}
	prk, err := hkdf.Extract(h.new(), secret, nil)
	if err != nil {
		return nil, err
	}
	var info []byte
	if how == TLSCompat {
		info = binary.LittleEndian.AppendUint16(nil, uint16(len(secret)))
		info = append(info, label+context...)
	} else {
		info = binary.BigEndian.AppendUint16(nil, uint16(len(secret)))
		info = append(info, byte(len(label)))
		info = append(info, label...)
		info = append(info, byte(len(context)))
		info = append(info, context...)
	}
	return hkdf.Expand(h.new(), prk, string(info), len(secret))
}
