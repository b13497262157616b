package nvme

import (
	"crypto/hmac"
	"fmt"
)

// DHCHAPSecret is a secret for DH-HMAC-CHAP, as "DHHC-1:HH:base64:" has it (Base 2.1,
// section 8.3.4.5.8). The kernel does the authentication; stas checks, and passes on.
type DHCHAPSecret struct {
	Hash KeyHash // by which the secret is transformed
	Key  Key     // 32, 48 or 64 bytes
}

// ParseDHCHAPSecret parses the text form. No error shows any of s.
func ParseDHCHAPSecret(s string) (DHCHAPSecret, error) {
	h, key, err := parseKey(s, "DHHC-1:", HashSHA512)
	if err != nil {
		return DHCHAPSecret{}, fmt.Errorf("cannot use DH-HMAC-CHAP secret: %w", err)
	}
	return DHCHAPSecret{Hash: h, Key: newKey(key)}, nil
}

// CheckDHCHAPSecret tells why the kernel would refuse s as dhchap_secret or
// dhchap_ctrl_secret. No error shows any of s.
func CheckDHCHAPSecret(s string) error {
	_, err := ParseDHCHAPSecret(s)
	return err
}

// Transformed gives the key that the protocol uses: HMAC of the owner's NQN under the
// secret, or the secret itself where it names no hash.
func (s DHCHAPSecret) Transformed(nqn string) Key {
	if s.Hash == HashNone {
		return s.Key
	}
	m := hmac.New(s.Hash.new(), s.Key.Bytes())
	m.Write([]byte(nqn))
	m.Write([]byte(overFabrics))
	return newKey(m.Sum(nil))
}

// overFabrics ends what DH-HMAC-CHAP and PSK identities put under an HMAC.
const overFabrics = "NVMe-over-Fabrics"
