package tid

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
)

// TID is a Transport ID: where a controller is, from where it is reached and as
// which host. It is comparable and serves as map key; make one with [New], so
// that equal connections are spelled equally.
type TID struct {
	Transport  nvme.Transport
	Traddr     string // numeric for tcp and rdma, nn-0x…:pn-0x… for fc, often empty for loop
	Trsvcid    string // port for tcp and rdma, empty otherwise
	NQN        string // subsystem NQN; the well-known discovery NQN matches any discovery controller
	HostTraddr string
	HostIface  string // only tcp can be bound to an interface
	HostNQN    string
}

// Kind says what a Transport ID is expected to lead to. It decides default
// ports and what a live controller must be to count as the same connection.
type Kind uint8

// The kinds of controllers that stas connects.
const (
	IO Kind = iota
	Discovery
)

func (k Kind) String() string {
	if k == Discovery {
		return "discovery"
	}
	return "io"
}

// New normalises t and checks it: addresses get their canonical spelling, a
// missing port its default, the literals "none" and "(null)" count as absent,
// host-iface is dropped where the transport has none (it is refused by the
// kernel there), and FC addresses lose the comma form.
// Host names are refused: resolve first.
func New(kind Kind, t TID) (TID, error) {
	t.Transport = nvme.Transport(strings.ToLower(string(t.Transport)))
	if t.Transport == nvme.FC {
		t.Traddr, t.HostTraddr = withoutComma(t.Traddr), withoutComma(t.HostTraddr)
	}
	for _, f := range []*string{&t.Traddr, &t.Trsvcid, &t.NQN, &t.HostTraddr, &t.HostIface, &t.HostNQN} {
		*f = present(*f)
		if i := strings.IndexFunc(*f, unsafeInOption); i >= 0 {
			return TID{}, fmt.Errorf("%q holds a character that no connection option may hold", *f)
		}
	}
	var err error
	switch t.Transport {
	case nvme.TCP, nvme.RDMA:
		if t.Traddr, err = CanonicalIP(t.Traddr); err != nil {
			return TID{}, fmt.Errorf("traddr: %w", err)
		}
		if t.HostTraddr != "" {
			if t.HostTraddr, err = CanonicalIP(t.HostTraddr); err != nil {
				return TID{}, fmt.Errorf("host-traddr: %w", err)
			}
		}
		t.Trsvcid = cmp.Or(t.Trsvcid, t.Transport.DefaultPort(kind == Discovery))
		if t.Trsvcid, err = canonicalPort(t.Trsvcid); err != nil {
			return TID{}, err
		}
	case nvme.FC:
		if t.Traddr, err = canonicalFC(t.Traddr); err != nil {
			return TID{}, fmt.Errorf("traddr: %w", err)
		}
		if t.HostTraddr != "" {
			if t.HostTraddr, err = canonicalFC(t.HostTraddr); err != nil {
				return TID{}, fmt.Errorf("host-traddr: %w", err)
			}
		}
		t.Trsvcid = ""
	case nvme.Loop:
		t.Trsvcid, t.HostTraddr = "", ""
	case "":
		return TID{}, fmt.Errorf("transport is missing; allowed are tcp, rdma, fc, loop")
	default:
		return TID{}, fmt.Errorf("transport %q is unknown; allowed are tcp, rdma, fc, loop", t.Transport)
	}
	if t.Transport != nvme.TCP {
		t.HostIface = ""
	}
	if t.NQN == "" && kind == Discovery {
		t.NQN = nvme.DiscoveryNQN
	}
	if err := nvme.CheckName(t.NQN); err != nil {
		return TID{}, err
	}
	return t, nil
}

// present maps the spellings that the kernel and udev use for "no value" to "".
func present(s string) string {
	switch s = strings.TrimSpace(s); s {
	case "none", "(null)":
		return ""
	}
	return s
}

// unsafeInOption tells the characters that would end an option of
// /dev/nvme-fabrics, which has no quoting (drivers/nvme/host/fabrics.c, nvmf_parse_options).
func unsafeInOption(r rune) bool { return r <= ' ' || r == ',' || r >= 0x7f }

// canonicalPort checks a port and gives it without leading zeros: the kernel compares
// services as text when it looks for duplicates (drivers/nvme/host/fabrics.c, nvmf_ip_options_match).
func canonicalPort(s string) (string, error) {
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' || n > 65535 {
			n = 0
			break
		}
		n = n*10 + int(c-'0')
	}
	if n < 1 || n > 65535 {
		return "", fmt.Errorf("trsvcid %q is not a port; allowed are 1 to 65535", s)
	}
	return strconv.Itoa(n), nil
}

// String is the log form: (transport, traddr, trsvcid[, nqn][, host_iface][, host_traddr]).
func (t TID) String() string {
	parts := make([]string, 0, 6)
	for _, p := range []string{string(t.Transport), t.Traddr, t.Trsvcid, t.NQN, t.HostIface, t.HostTraddr} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

// Compare orders Transport IDs by their fields, for output that is stable.
func (t TID) Compare(u TID) int {
	return cmp.Or(
		cmp.Compare(t.Transport, u.Transport), cmp.Compare(t.Traddr, u.Traddr), cmp.Compare(t.Trsvcid, u.Trsvcid),
		cmp.Compare(t.NQN, u.NQN), cmp.Compare(t.HostTraddr, u.HostTraddr), cmp.Compare(t.HostIface, u.HostIface),
		cmp.Compare(t.HostNQN, u.HostNQN))
}
