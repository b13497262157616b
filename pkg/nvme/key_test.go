package nvme

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
	"testing"
)

// keyText builds the text form by hand.
func keyText(prefix string, key []byte) string {
	b := binary.LittleEndian.AppendUint32(bytes.Clone(key), crc32.ChecksumIEEE(key))
	return prefix + base64.StdEncoding.EncodeToString(b) + ":"
}

func seqKey(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + 1)
	}
	return b
}

func TestCheckDHCHAPSecret(t *testing.T) {
	good := keyText("DHHC-1:00:", seqKey(32))
	for _, s := range []string{good, keyText("DHHC-1:01:", seqKey(32)), keyText("DHHC-1:02:", seqKey(48)), keyText("DHHC-1:03:", seqKey(64))} {
		if err := CheckDHCHAPSecret(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, tt := range []struct{ name, secret, fail string }{
		{"empty", "", "prefix"},
		{"prefix", "DHHC-2" + good[6:], "prefix"},
		{"lower case", strings.ToLower(good), "prefix"},
		{"space in front", " " + good, "prefix"},
		{"nothing behind the prefix", "DHHC-1:", "unknown hash"},
		{"hash 04", "DHHC-1:04" + good[9:], "unknown hash"},
		{"hash 10", "DHHC-1:10" + good[9:], "unknown hash"},
		{"no colon behind the hash", "DHHC-1:00" + good[10:], "unknown hash"},
		{"no colon at the end", good[:len(good)-1], "end in a colon"},
		{"nothing", "DHHC-1:00::", "wrong length"},
		{"31 bytes", keyText("DHHC-1:00:", seqKey(31)), "wrong length"},
		{"65 bytes", keyText("DHHC-1:00:", seqKey(65)), "wrong length"},
		{"1 MiB", keyText("DHHC-1:00:", make([]byte, 1<<20)), "wrong length"},
		{"not base64", good[:20] + "*" + good[21:], "not base64"},
		{"line end", good[:20] + "\n" + good[20:], "not base64"},
		{"one digit changed", good[:20] + "z" + good[21:], "checksum"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckDHCHAPSecret(tt.secret)
			if err == nil || !strings.Contains(err.Error(), tt.fail) {
				t.Fatalf("error is %v, want one with %q", err, tt.fail)
			}
			if len(tt.secret) > 30 && strings.Contains(err.Error(), tt.secret[12:18]) {
				t.Errorf("error shows the secret: %v", err)
			}
		})
	}
}

func TestDHCHAPTransformed(t *testing.T) {
	// Computed apart from this package, by: openssl dgst -sha256 -mac HMAC -macopt hexkey:0102...
	for hash, want := range map[string]string{
		"00": "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
		"01": "7ecfb4e82da22321ede14c228345fdec9679c659bab548c07f39a1ae19cdcd4b",
		"02": "2c05cb0a2e694c7a29d6300213336cc8204b3d49b4a37331" +
			"36a286683c7a7f88c7e7b51b461aa831b89d146a24235443",
	} {
		s, err := ParseDHCHAPSecret(keyText("DHHC-1:"+hash+":", seqKey(32)))
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(s.Transformed("nqn.2026-01.test:host").Bytes()); got != want {
			t.Errorf("hash %s: %s, want %s", hash, got, want)
		}
	}
}

func TestCheckTLSKey(t *testing.T) {
	for _, s := range []string{
		// Published with libnvme's tests.
		"NVMeTLSkey-1:00:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:",
		"NVMeTLSkey-1:02:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwP/w0S89ELi3W2LxIcLXVsDn8kXZQ==:",
	} {
		if err := CheckTLSKey(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for name, s := range map[string]string{
		"sha512": keyText("NVMeTLSkey-1:03:", seqKey(64)), "64 bytes": keyText("NVMeTLSkey-1:00:", seqKey(64)),
		"sha256 of 48": keyText("NVMeTLSkey-1:01:", seqKey(48)), "sha384 of 32": keyText("NVMeTLSkey-1:02:", seqKey(32)),
		"other format": keyText("DHHC-1:00:", seqKey(32)),
	} {
		if err := CheckTLSKey(s); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestTLSKeyDerive(t *testing.T) {
	const host, sub = "nqn.psk-test-host", "nqn.psk-test-subsys"
	for _, tt := range []struct {
		key, digest string
		how         TLSDerivation
	}{
		// Keys, NQNs and digests as published with libnvme's tests.
		{"01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ", "R01 iSbjiStwJ/1TrTvDlt2fjFmzvsytOJelidNnA+X5lEU=", TLSStandard},
		{"02:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwP/w0S89ELi3W2LxIcLXVsDn8kXZQ==",
			"R02 QhW2+Rp6RzHlNtCslyRxMnwJ11tKKhz8JCAQpQ+XUD8f9td1VeH5h53yz2wKJG1a", TLSStandard},
		{"01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ", "R01 66GuqV08TsAGII39teWUfwQwizjv06Jy8jOcX3NAAzM=", TLSCompat},
		{"02:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwP/w0S89ELi3W2LxIcLXVsDn8kXZQ==",
			"R02 RsKmYJ3nAn1ApjjMloJFbAkLPivONDAX/xW327YBUsn2eGShXSjCZvBaOxscLqmz", TLSCompat},
	} {
		k, err := ParseTLSKey("NVMeTLSkey-1:" + tt.key + ":")
		if err != nil {
			t.Fatal(err)
		}
		id, psk, err := k.Derive(1, host, sub, tt.how)
		if err != nil {
			t.Fatal(err)
		}
		r, digest, _ := strings.Cut(tt.digest, " ")
		if want := "NVMe1" + r + " " + host + " " + sub + " " + digest; id != want {
			t.Errorf("identity %q\nwant     %q", id, want)
		}
		if psk.Len() != k.Key.Len() || bytes.Equal(psk.Bytes(), k.Key.Bytes()) {
			t.Errorf("PSK of %d bytes", psk.Len())
		}
		if id, _, err := k.Derive(0, host, sub, tt.how); err != nil || id != "NVMe0"+r+" "+host+" "+sub {
			t.Errorf("version 0: %q, %v", id, err)
		}
	}
}

func TestTLSKeyDerivePSK(t *testing.T) {
	// Computed apart from this package, from the text of RFC 5869 and RFC 8446.
	for _, tt := range []struct {
		key     string
		version TLSIdentityVersion
		want    string
	}{
		{"NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:", 1, "8fc3c0badfd4c0c66fa3ca33aadd0314f85536cc9bc47338b60f3e6e563786ca"},
		{"NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:", 0, "05c6503551ad136e6ee32e6eeb3f6d500b69701d84ec71e328f65c7f51566f68"},
		{"NVMeTLSkey-1:00:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:", 0, "ec85300ba827726bd3bc4fc07f3a34aec5fe7c8ccac05fefc2f021c74e0df9ef"},
	} {
		k, err := ParseTLSKey(tt.key)
		if err != nil {
			t.Fatal(err)
		}
		id, psk, err := k.Derive(tt.version, "nqn.psk-test-host", "nqn.psk-test-subsys", TLSStandard)
		if err != nil || hex.EncodeToString(psk.Bytes()) != tt.want {
			t.Errorf("%s: %x, %v; want %s", id, psk.Bytes(), err, tt.want)
		}
	}
	k, _ := ParseTLSKey("NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:")
	long := "nqn.2026-01.test:" + strings.Repeat("x", 200)
	if _, _, err := k.Derive(0, long, long, TLSStandard); err == nil || !strings.Contains(err.Error(), "longer than 255") {
		t.Errorf("an identity that does not fit the label: %v", err)
	}
	if _, _, err := k.Derive(1, long, long, TLSStandard); err != nil {
		t.Error(err)
	}
	if _, _, err := k.Derive(2, "h", "s", TLSStandard); err == nil {
		t.Error("identity version 2 is known")
	}
}

func TestKeyNeverShows(t *testing.T) {
	s, err := ParseDHCHAPSecret(keyText("DHHC-1:00:", []byte("0123456789abcdefghijklmnopqrstuv")))
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		for _, v := range []any{s.Key, &s.Key, s, &s, []Key{s.Key}, map[string]Key{"k": s.Key}} {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
	}
	slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "key", s.Key, "secret", s)
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", "key", s.Key, "secret", s)
	if err := json.NewEncoder(&shown).Encode(s); err != nil {
		t.Fatal(err)
	}
	shown.WriteString(s.Key.String())
	for _, part := range []string{"456789", "ghijkl", "34353637", "52, 53", "52 53", "0x34"} {
		if strings.Contains(shown.String(), part) {
			t.Errorf("shows %q:\n%s", part, shown.String())
		}
	}
	if !strings.Contains(shown.String(), "[redacted]") {
		t.Error("nothing is marked as redacted")
	}
	s.Key.Bytes()[0] = 'X'
	if s.Key.Bytes()[0] != '0' {
		t.Error("Bytes gives the key itself, not a copy")
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add(keyText("DHHC-1:01:", seqKey(32)))
	f.Add(keyText("DHHC-1:03:", seqKey(64)))
	f.Add(keyText("NVMeTLSkey-1:02:", seqKey(48)))
	f.Add("DHHC-1:00:AAAA\n====:")
	f.Add("NVMeTLSkey-1:")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDHCHAPSecret(s); err == nil {
			if again := keyText(fmt.Sprintf("DHHC-1:%02d:", d.Hash), d.Key.Bytes()); again != s {
				t.Errorf("%q is also %q", s, again)
			}
		} else if len(s) > 40 && strings.Contains(err.Error(), s[12:]) {
			t.Errorf("error shows the secret: %v", err)
		}
		if k, err := ParseTLSKey(s); err == nil {
			if again := keyText(fmt.Sprintf("NVMeTLSkey-1:%02d:", k.Hash), k.Key.Bytes()); again != s {
				t.Errorf("%q is also %q", s, again)
			}
			if _, psk, err := k.Derive(1, "h", "s", TLSStandard); err != nil || psk.Len() != k.Key.Len() {
				t.Errorf("PSK of %d bytes, %v", psk.Len(), err)
			}
		}
	})
}
