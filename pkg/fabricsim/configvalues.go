package fabricsim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
)

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "yes", "true", "on", "1":
		return true, nil
	case "no", "false", "off", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither yes nor no", s)
}

func parseInt(s string, least, most int) (int, error) {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil || n < int64(least) || n > int64(most) {
		return 0, fmt.Errorf("%q is no number from %d to %d", s, least, most)
	}
	return int(n), nil
}

// maxSize is the largest size that can be given: sparse disks may be far larger
// than memory, but not so large that their number of blocks overflows.
const maxSize = 1 << 60

// parseSize reads a number of bytes with an optional K, M, G or T (powers of 1024).
func parseSize(s string) (uint64, error) {
	text := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s), "B"), "I")
	shift := 0
	if i := strings.IndexByte("KMGT", lastByte(text)); i >= 0 {
		shift = 10 * (i + 1)
		text = text[:len(text)-1]
	}
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil || n > maxSize>>shift {
		return 0, fmt.Errorf("%q is no size such as 512K, 64M or 2G", s)
	}
	return n << shift, nil
}

func lastByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}

func parseDCType(s string) (nvme.DCType, error) {
	for _, t := range []nvme.DCType{nvme.DCTypeNone, nvme.DCTypeDDC, nvme.DCTypeCDC} {
		if s == t.String() {
			return t, nil
		}
	}
	return 0, fmt.Errorf("%q is neither cdc, ddc nor none", s)
}

func setEFlag(flags *nvme.EFlags, bit nvme.EFlags, value string) error {
	on, err := parseBool(value)
	if err != nil {
		return err
	}
	*flags &^= bit
	if on {
		*flags |= bit
	}
	return nil
}

func parseTReq(s string) (t nvme.TReq, err error) {
	for _, word := range parseList(s) {
		switch word {
		case "not-specified":
		case "required":
			t |= nvme.TReqRequired
		case "not-required":
			t |= nvme.TReqNotRequired
		case "disable-sqflow":
			t |= nvme.TReqDisableSQFlow
		default:
			n, err := strconv.ParseUint(word, 0, 8)
			if err != nil {
				return 0, fmt.Errorf("%q is no transport requirement", word)
			}
			t |= nvme.TReq(n)
		}
	}
	return t, nil
}

func parseSecType(s string) (nvme.SecType, error) {
	switch s {
	case "none":
		return nvme.SecNone, nil
	case "tls1.2":
		return nvme.SecTLS12, nil
	case "tls1.3":
		return nvme.SecTLS13, nil
	}
	return 0, fmt.Errorf("%q is neither none, tls1.2 nor tls1.3", s)
}

// parseANA reads a list of PORT=STATE.
func parseANA(s string) (map[string]nvme.ANAState, error) {
	states := make(map[string]nvme.ANAState)
	for _, word := range parseList(s) {
		port, name, ok := strings.Cut(word, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not of the form PORT=STATE", word)
		}
		state, err := nvme.ParseANAState(name)
		if err != nil {
			return nil, err
		}
		states[port] = state
	}
	return states, nil
}

func parseHash(s string) (nvme.KeyHash, error) {
	switch s {
	case "sha256":
		return nvme.HashSHA256, nil
	case "sha384":
		return nvme.HashSHA384, nil
	case "sha512":
		return nvme.HashSHA512, nil
	}
	return 0, fmt.Errorf("%q is neither sha256, sha384 nor sha512", s)
}

func parseEntry(c *Config, name string) (setter, finisher) {
	e := EntryConfig{Name: name, Entry: nvme.DiscoveryEntry{Transport: nvme.TransportTypeTCP,
		AddrFamily: nvme.AddrFamilyIPv4, Subtype: nvme.SubtypeNVMe, CntlID: nvme.CntlIDDynamic, ASQSize: 32}}
	return e.set, func() error {
		if len(e.DCs) == 0 {
			return errors.New("dc is missing")
		}
		c.Entries = append(c.Entries, e)
		return nil
	}
}

func (e *EntryConfig) set(key, value string) error {
	p := &e.Entry
	number := func(bits int, set func(uint64)) error {
		n, err := strconv.ParseUint(value, 0, bits)
		if err != nil {
			return fmt.Errorf("%q is no number of %d bits", value, bits)
		}
		set(n)
		return nil
	}
	switch key {
	case "dc":
		e.DCs = append(e.DCs, parseList(value)...)
	case "trtype":
		if t := nvme.Transport(value).Type(); t != 0 {
			p.Transport = t
			return nil
		}
		return number(8, func(n uint64) { p.Transport = nvme.TransportType(n) })
	case "adrfam":
		if value == "ipv4" || value == "ipv6" {
			p.AddrFamily = map[string]nvme.AddrFamily{"ipv4": nvme.AddrFamilyIPv4, "ipv6": nvme.AddrFamilyIPv6}[value]
			return nil
		}
		return number(8, func(n uint64) { p.AddrFamily = nvme.AddrFamily(n) })
	case "subtype":
		return number(8, func(n uint64) { p.Subtype = nvme.Subtype(n) })
	case "treq":
		t, err := parseTReq(value)
		p.TReq = t
		return err
	case "sectype":
		t, err := parseSecType(value)
		p.TSAS.SecType = t
		return err
	case "port-id":
		return number(16, func(n uint64) { p.PortID = uint16(n) })
	case "cntlid":
		return number(16, func(n uint64) { p.CntlID = uint16(n) })
	case "eflags":
		return number(16, func(n uint64) { p.EFlags = nvme.EFlags(n) })
	case "traddr":
		p.Traddr = value
	case "trsvcid":
		p.Trsvcid = value
	case "nqn":
		p.SubNQN = value
	default:
		return errUnknownKey
	}
	return nil
}
