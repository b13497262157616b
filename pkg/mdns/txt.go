package mdns

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
)

// maxTXT is the most that a TXT record can carry in one multicast DNS packet (RFC 6762, section 17).
const maxTXT = 9000

// parseTXT splits the strings of a TXT record, in the order of the wire, by the rules of
// RFC 6763, section 6.4: keys are printable ASCII and compare without case, the first of
// equal keys counts, a value is everything behind the first '=', a string without '='
// is a key without value (here: the empty one), a string without key is ignored.
// Keys come back in lower case.
func parseTXT(entries [][]byte) (map[string]string, error) {
	size := 0
	for _, e := range entries {
		size += len(e) + 1
	}
	if size > maxTXT {
		return nil, fmt.Errorf("TXT record of %d bytes is longer than %d", size, maxTXT)
	}
	pairs := make(map[string]string, min(len(entries), 16))
	for _, e := range entries {
		k, value, _ := bytes.Cut(e, []byte{'='})
		key, ok := txtKey(k)
		if !ok {
			continue
		}
		if _, dup := pairs[key]; !dup {
			pairs[key] = string(value)
		}
	}
	return pairs, nil
}

func txtKey(k []byte) (string, bool) {
	for _, c := range k {
		if c < 0x20 || c > 0x7e {
			return "", false
		}
	}
	return strings.ToLower(string(k)), len(k) > 0
}

// record is what the TXT record of a discovery controller says.
type record struct {
	transport nvme.Transport
	nqn       string
}

// parseRecord reads "p" (required: tcp, or roce, iwarp and rdma, which all are RDMA to Linux)
// and "nqn" (absent or empty: the well-known NQN); entries are in the order of the wire.
func parseRecord(entries [][]byte) (record, error) {
	pairs, err := parseTXT(entries)
	if err != nil {
		return record{}, err
	}
	r := record{nqn: nvme.DiscoveryNQN}
	p, ok := pairs["p"]
	if !ok {
		return record{}, fmt.Errorf("TXT record has no key \"p\"")
	}
	switch strings.ToLower(p) {
	case "tcp":
		r.transport = nvme.TCP
	case "rdma", "roce", "iwarp":
		r.transport = nvme.RDMA
	default:
		return record{}, fmt.Errorf("TXT record has p=%.32q, known are tcp, roce, iwarp and rdma", p)
	}
	if nqn := pairs["nqn"]; nqn != "" {
		if err := nvme.CheckNQN(nqn); err != nil {
			return record{}, fmt.Errorf("TXT record has no usable nqn: %w", err)
		}
		r.nqn = nqn
	}
	return r, nil
}
