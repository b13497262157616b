package nvmetcp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"sync"
)

// DHGroup is a Diffie-Hellman group of DH-HMAC-CHAP (Base 8.3.4.5.2, "DH group identifiers").
type DHGroup uint8

// The groups: none, and those of RFC 7919.
const (
	DHNull    DHGroup = 0
	FFDHE2048 DHGroup = 1
	FFDHE3072 DHGroup = 2
	FFDHE4096 DHGroup = 3
	FFDHE6144 DHGroup = 4
	FFDHE8192 DHGroup = 5
)

// ffdhe tells the groups of RFC 7919: the length of their prime in bits and the
// number X of their definition (appendix A), p = 2^b - 2^(b-64) + ([2^(b-130) e] + X) 2^64 - 1.
var ffdhe = map[DHGroup]struct {
	bits uint
	x    int64
}{
	FFDHE2048: {2048, 560316},
	FFDHE3072: {3072, 2625351},
	FFDHE4096: {4096, 5736041},
	FFDHE6144: {6144, 15705020},
	FFDHE8192: {8192, 10965728},
}

func (g DHGroup) String() string {
	if g == DHNull {
		return "null"
	}
	return fmt.Sprintf("ffdhe%d", ffdhe[g].bits)
}

// ParseDHGroup reads "null" or a name such as "ffdhe2048".
func ParseDHGroup(s string) (DHGroup, error) {
	for g := DHNull; g <= FFDHE8192; g++ {
		if g.String() == s {
			return g, nil
		}
	}
	return 0, fmt.Errorf("%q is neither null nor a group from ffdhe2048 to ffdhe8192", s)
}

// euler is e times 2^8200, of which the primes of all groups take their leading bits.
var euler = sync.OnceValue(func() *big.Int {
	const guard = 64
	term := new(big.Int).Lsh(big.NewInt(1), 8200+guard)
	sum := new(big.Int).Set(term)
	for n := int64(1); term.Sign() > 0; n++ {
		term.Quo(term, big.NewInt(n))
		sum.Add(sum, term)
	}
	return sum.Rsh(sum, guard)
})

var primes sync.Map // DHGroup to *big.Int

// prime gives the modulus of a group other than DHNull; the generator is 2.
func (g DHGroup) prime() *big.Int {
	if p, ok := primes.Load(g); ok {
		return p.(*big.Int)
	}
	d := ffdhe[g]
	one := big.NewInt(1)
	p := new(big.Int).Lsh(one, d.bits)
	p.Sub(p, new(big.Int).Lsh(one, d.bits-64))
	mid := new(big.Int).Rsh(euler(), 8200-(d.bits-130))
	mid.Add(mid, big.NewInt(d.x))
	p.Add(p, mid.Lsh(mid, 64))
	p.Sub(p, one)
	primes.Store(g, p)
	return p
}

// size is the length of a public value in bytes.
func (g DHGroup) size() int { return int(ffdhe[g].bits / 8) }

// keyPair makes a secret exponent and its public value. 512 bits are twice what
// the strongest group needs (RFC 7919, section 5.2).
func (g DHGroup) keyPair() (secret *big.Int, public []byte) {
	b := make([]byte, 64)
	_, _ = rand.Read(b) // never fails
	b[0] |= 0x80
	secret = new(big.Int).SetBytes(b)
	return secret, g.power(big.NewInt(2), secret)
}

func (g DHGroup) power(base, exponent *big.Int) []byte {
	return new(big.Int).Exp(base, exponent, g.prime()).FillBytes(make([]byte, g.size()))
}

var errDHValue = errors.New("Diffie-Hellman value is out of range")

// shared gives the secret that both ends come to.
func (g DHGroup) shared(secret *big.Int, public []byte) ([]byte, error) {
	y := new(big.Int).SetBytes(public)
	p := g.prime()
	// 1 < y < p-1 (RFC 7919, section 5.1).
	if len(public) != g.size() || y.Cmp(big.NewInt(1)) <= 0 || y.Cmp(new(big.Int).Sub(p, big.NewInt(1))) >= 0 {
		return nil, errDHValue
	}
	return g.power(y, secret), nil
}
