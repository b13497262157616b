package kernel

import (
	"strings"
	"testing"
)

// The PSK of libnvme's tests, in its interchange forms and the identities it leads to.
const (
	psk256  = "VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ"
	psk384  = "VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwP/w0S89ELi3W2LxIcLXVsDn8kXZQ=="
	tlsHost = "nqn.psk-test-host"
	tlsSub  = "nqn.psk-test-subsys"
)

func TestTLSIdentity(t *testing.T) {
	for key, want := range map[string]string{
		"NVMeTLSkey-1:01:" + psk256 + ":": "NVMe1R01 nqn.psk-test-host nqn.psk-test-subsys iSbjiStwJ/1TrTvDlt2fjFmzvsytOJelidNnA+X5lEU=",
		"NVMeTLSkey-1:02:" + psk384 + ":": "NVMe1R02 nqn.psk-test-host nqn.psk-test-subsys QhW2+Rp6RzHlNtCslyRxMnwJ11tKKhz8JCAQpQ+XUD8f9td1VeH5h53yz2wKJG1a",
	} {
		psk, err := parseTLSKey(key)
		if err != nil {
			t.Fatal(err)
		}
		identity, derived, err := psk.derive(tlsHost, tlsSub)
		if err != nil || identity != want {
			t.Errorf("identity %q, %v; want %q", identity, err, want)
		}
		if len(derived) != len(psk.key) || string(derived) == string(psk.key) {
			t.Errorf("derived key %x", derived)
		}
	}
}

// Without a hash the configured PSK is the retained one, so that another key comes out.
func TestTLSKeyWithoutHash(t *testing.T) {
	none, err := parseTLSKey("NVMeTLSkey-1:00:" + psk256 + ":")
	if err != nil {
		t.Fatal(err)
	}
	transformed, err := parseTLSKey("NVMeTLSkey-1:01:" + psk256 + ":")
	if err != nil {
		t.Fatal(err)
	}
	a, keyA, errA := none.derive(tlsHost, tlsSub)
	b, keyB, errB := transformed.derive(tlsHost, tlsSub)
	if errA != nil || errB != nil || a == b || string(keyA) == string(keyB) || !strings.HasPrefix(a, "NVMe1R01 ") {
		t.Errorf("%q %x %v, %q %x %v", a, keyA, errA, b, keyB, errB)
	}
}

func TestParseTLSKeyRefuses(t *testing.T) {
	for name, s := range map[string]string{
		"empty":        "",
		"version 2":    "NVMeTLSkey-2:01:" + psk256 + ":",
		"no colon":     "NVMeTLSkey-1:01:" + psk256,
		"more":         "NVMeTLSkey-1:01:" + psk256 + ":x",
		"hash 3":       "NVMeTLSkey-1:03:" + psk256 + ":",
		"wrong length": "NVMeTLSkey-1:02:" + psk256 + ":",
		"wrong CRC":    "NVMeTLSkey-1:01:" + strings.Replace(psk256, "VR", "VS", 1) + ":",
		"no base64":    "NVMeTLSkey-1:01:" + strings.Replace(psk256, "VR", "V!", 1) + ":",
		"short":        "NVMeTLSkey-1:01:AAAA:",
	} {
		_, err := parseTLSKey(s)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if strings.Contains(err.Error(), "tnN9AQb2") {
			t.Errorf("%s: the error tells the key: %v", name, err)
		}
	}
}

// Label and context have their lengths before them.
func TestExpandLabelLayout(t *testing.T) {
	secret := make([]byte, 32)
	a, errA := expandLabel(tlsHashSHA256, secret, "nvme-tls-psk", "01 x")
	b, errB := expandLabel(tlsHashSHA256, secret, "nvme-tls-ps", "k01 x")
	if errA != nil || errB != nil || string(a) == string(b) {
		t.Errorf("label and context run into one another: %x, %x, %v, %v", a, b, errA, errB)
	}
	if _, err := expandLabel(tlsHashSHA256, secret, "x", strings.Repeat("y", 256)); err == nil {
		t.Error("a context of 256 bytes is accepted")
	}
}

func TestKeyringIn(t *testing.T) {
	const keys = `0a1b2c3d I--Q---     1 perm 3f010000     0     0 user      mine: 5
12345678 I------     2 perm 1f0b0000     0     0 keyring   .nvme: 1
22345678 I------     2 perm 1f0b0000     0     0 keyring   .nvme-other: empty
short
`
	if n, err := keyringIn(strings.NewReader(keys), ".nvme"); err != nil || n != 0x12345678 {
		t.Errorf("keyringIn = %x, %v", n, err)
	}
	if _, err := keyringIn(strings.NewReader(keys), "mine"); err == nil {
		t.Error("a key is taken for a keyring")
	}
}

func FuzzParseTLSKey(f *testing.F) {
	f.Add("NVMeTLSkey-1:01:" + psk256 + ":")
	f.Add("NVMeTLSkey-1:02:" + psk384 + ":")
	f.Add("NVMeTLSkey-1::::")
	f.Fuzz(func(t *testing.T, s string) {
		psk, err := parseTLSKey(s)
		if err == nil && len(psk.key) != 32 && len(psk.key) != 48 {
			t.Errorf("accepted a key of %d bytes", len(psk.key))
		}
	})
}
