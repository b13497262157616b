package nvmetcp

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/nvme"
)

// secret makes a key in text form out of one byte and parses it.
func secret(t *testing.T, hash nvme.KeyHash, fill byte) nvme.DHCHAPSecret {
	t.Helper()
	size := map[nvme.KeyHash]int{nvme.HashNone: 32, nvme.HashSHA256: 32, nvme.HashSHA384: 48, nvme.HashSHA512: 64}[hash]
	b := []byte(strings.Repeat(string(rune(fill)), size))
	text := base64.StdEncoding.EncodeToString(le.AppendUint32(b, crc32.ChecksumIEEE(b)))
	s, err := nvme.ParseDHCHAPSecret(fmt.Sprintf("DHHC-1:%02d:%s:", hash, text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The primes are those of RFC 7919: their first and last digits as printed there, and
// both p and (p-1)/2 prime, which a wrong constant would not be.
func TestGroups(t *testing.T) {
	for g, tail := range map[DHGroup]string{FFDHE2048: "886b423861285c97", FFDHE3072: "25e41d2b66c62e37", FFDHE4096: "c68a007e5e655f6a"} {
		text := hex.EncodeToString(g.prime().Bytes())
		if !strings.HasPrefix(text, "ffffffffffffffffadf85458a2bb4a9a") || !strings.HasSuffix(text, tail+"ffffffffffffffff") {
			t.Errorf("%s is %s…%s", g, text[:32], text[len(text)-32:])
		}
	}
	for g := FFDHE2048; g <= FFDHE8192; g++ {
		if n := g.prime().BitLen(); n != int(ffdhe[g].bits) {
			t.Errorf("%s has %d bits", g, n)
		}
		if g <= FFDHE4096 && !g.prime().ProbablyPrime(0) {
			t.Errorf("%s is not prime", g)
		}
		if parsed, err := ParseDHGroup(g.String()); err != nil || parsed != g {
			t.Errorf("%s parses as %s, %v", g, parsed, err)
		}
	}
	for _, bad := range [][]byte{nil, make([]byte, 256), {1}, append(make([]byte, 255), 1), FFDHE2048.prime().Bytes()} {
		x, _ := FFDHE2048.keyPair()
		if _, err := FFDHE2048.shared(x, bad); err == nil {
			t.Errorf("public value %x… is taken", bad[:min(4, len(bad))])
		}
	}
}

// guarded is a subsystem whose hosts have to authenticate.
type guarded struct {
	*disk
	policy AuthPolicy
}

func (g *guarded) AuthPolicy(string) AuthPolicy { return g.policy }

func TestAuthentication(t *testing.T) {
	g := &guarded{disk: newDisk(1 << 20)}
	e := serve(t, &Target{Resolver: resolver{testSub: g}, IOQueues: 2})
	for _, hash := range []nvme.KeyHash{nvme.HashNone, nvme.HashSHA256, nvme.HashSHA384, nvme.HashSHA512} {
		for _, group := range []DHGroup{DHNull, FFDHE2048} {
			for _, both := range []bool{false, true} {
				t.Run(fmt.Sprint(hash, " ", group, " ", both), func(t *testing.T) {
					g.policy = AuthPolicy{Host: secret(t, nvme.HashSHA512, 'h'), Controller: secret(t, nvme.HashNone, 'c'), Hash: hash, Group: group}
					cfg := hostConfig(e, testSub)
					cfg.Key = g.policy.Host
					if both {
						cfg.ControllerKey = g.policy.Controller
					}
					h := dial(t, cfg)
					if n, err := h.OpenQueues(t.Context(), 2); n != 2 || err != nil {
						t.Fatal(n, err)
					}
					if err := h.Write(t.Context(), 1, 0, 512, make([]byte, 4096)); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func TestAuthenticationFails(t *testing.T) {
	good, other := secret(t, nvme.HashSHA256, 'h'), secret(t, nvme.HashSHA256, 'x')
	g := &guarded{newDisk(1 << 20), AuthPolicy{Host: good, Controller: good, Group: FFDHE2048}}
	e := serve(t, &Target{Resolver: resolver{testSub: g}})
	for name, tt := range map[string]struct {
		key, controller nvme.DHCHAPSecret
		want            error
	}{
		"no key":                {want: nvme.StatusAuthRequired},
		"wrong key":             {key: other, want: ErrAuthentication},
		"wrong controller key":  {key: good, controller: other, want: ErrAuthentication},
		"key of another hash":   {key: secret(t, nvme.HashSHA384, 'h'), want: ErrAuthentication},
		"both wrong":            {key: other, controller: other, want: ErrAuthentication},
		"right, to show it can": {key: good, controller: good},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := hostConfig(e, testSub)
			cfg.Key, cfg.ControllerKey = tt.key, tt.controller
			h, err := Dial(t.Context(), cfg)
			if err == nil {
				h.Close()
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("Dial gave %v, want %v", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hhhh") {
				t.Errorf("error shows the key: %v", err)
			}
		})
	}
}

// Whatever a host sends in place of an exchange, it is not let in.
func FuzzAuthTarget(f *testing.F) {
	f.Add(negotiateMessage(1), (&replyMessage{tid: 1, response: make([]byte, 32), challenge: make([]byte, 32)}).encode())
	f.Add(authMessage(authCHAP, authSuccess2, 1, 16), authFailure(authFailure2, 1, 1))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		if len(first) < 8 || len(second) < 8 {
			return
		}
		a := &authState{policy: AuthPolicy{Hash: nvme.HashSHA256}, chap: chap{hash: nvme.HashSHA256}}
		for _, b := range [][]byte{first, second} {
			if a.take(b) != 0 {
				return
			}
			if a.step == owesChallenge {
				a.challengeHost()
			}
		}
		if a.step == owesSuccess || !a.pending() {
			t.Fatal("a host without key got in")
		}
	})
}

func FuzzDecodeChallenge(f *testing.F) {
	f.Add((&challengeMessage{tid: 1, hash: nvme.HashSHA256, challenge: make([]byte, 32)}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeChallenge(b)
		if err == nil && (len(m.challenge) != chapHash(m.hash)().Size() || len(m.public) != m.group.size()) {
			t.Fatalf("%+v", m)
		}
	})
}
