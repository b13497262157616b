package daemon

import (
	"context"
	"net/netip"
	"os"
	"strconv"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
	"github.com/stas-go/stas/pkg/tid"
)

// prober tries addresses in user space before the kernel is asked. Only TCP can be
// tried so; for the other transports the kernel is the first to know.
type prober struct{}

// noProbe is a test hook: with this variable in the environment no address is probed, so that a test can bring one into the kernel
// that no probe would let through. A host without tests has no use for it: one dead address then delays all others.
const noProbe = "STAS_TEST_NO_PROBE"

// Probe implements [schedule.Prober].
func (prober) Probe(ctx context.Context, t tid.TID, tls bool) error {
	if t.Transport != nvme.TCP || os.Getenv(noProbe) == "1" {
		return nil
	}
	addr, err := tid.ParseIP(t.Traddr)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(t.Trsvcid, 10, 16)
	if err != nil {
		return err
	}
	e := nvmetcp.Endpoint{Addr: netip.AddrPortFrom(addr, uint16(port)), HostIface: t.HostIface}
	if t.HostTraddr != "" {
		if e.HostTraddr, err = tid.ParseIP(t.HostTraddr); err != nil {
			return err
		}
	}
	return nvmetcp.Probe(ctx, nvmetcp.ProbeTarget{Endpoint: e, TCPOnly: tls})
}
