package kernel

import (
	"errors"
	"strings"
)

// tlsKeys are the serial numbers of kernel keys, decimal, "" for none.
type tlsKeys struct{ keyring, key string }

func findKeys(w *wanted) (tlsKeys, error) {
	if w.Keyring != "" && !isNumber(w.Keyring) || w.TLSKey != "" && !isNumber(w.TLSKey) {
		return tlsKeys{}, errors.New("keys are given by serial number only so far")
	}
	return tlsKeys{w.Keyring, w.TLSKey}, nil
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
