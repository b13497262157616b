package tid

import (
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/nvme"
)

// Addresses come from log pages, announcements, D-Bus and configuration files. Whatever they
// are, what New lets through can stand in an option string, and is spelled in one way only.
func FuzzNew(f *testing.F) {
	f.Add("tcp", "192.0.2.1", "4420", "", "", nvme.DiscoveryNQN)
	f.Add("tcp", "::ffff:192.0.2.1%x", "08009", "fe80::1%eth0", "eth0", "nqn.2024-01.org.example:a")
	f.Add("tcp", "FE80:0::01%25", "none", "(null)", "lo", "")
	f.Add("fc", "nn-0xA,pn-0x1", "none", "nn-0x1:pn-0x2", "", "nqn.2024-01.org.example:a")
	f.Add("loop", "", "", "", "", "n,")
	f.Fuzz(func(t *testing.T, transport, traddr, trsvcid, hostTraddr, hostIface, nqn string) {
		in := TID{Transport: nvme.Transport(transport), Traddr: traddr, Trsvcid: trsvcid, HostTraddr: hostTraddr, HostIface: hostIface, NQN: nqn}
		for _, kind := range []Kind{IO, Discovery} {
			id, err := New(kind, in)
			if err != nil {
				continue
			}
			for _, s := range []string{id.Traddr, id.Trsvcid, id.HostTraddr, id.HostIface, id.NQN} {
				if strings.ContainsFunc(s, unsafeInOption) {
					t.Errorf("%+v holds %q", id, s)
				}
			}
			again, err := New(kind, id)
			if err != nil || again != id {
				t.Errorf("%+v becomes %+v, %v", id, again, err)
			}
			if (id.Transport == nvme.TCP || id.Transport == nvme.RDMA) && !SameIP(id.Traddr, strings.TrimSpace(traddr)) {
				t.Errorf("%q became %q", traddr, id.Traddr)
			}
			if a, b := Where(in.Transport, id.Traddr), Where(id.Transport, id.Traddr); in.Transport == id.Transport && a != b {
				t.Errorf("%q is looked for at %q and %q", id.Traddr, a, b)
			}
			id.ScopedLike(in)
		}
	})
}
