package kernel

import (
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// rival gives a controller of the subsystem that w asks for which has lost its connection and is not given up yet, or
// "". A target that starts anew counts its controller IDs from the beginning, and until the kernel has given up the old
// controller it takes no second one of the same subsystem with the same ID; its refusal, EINVAL, does not say
// so (drivers/nvme/host/core.c, nvme_validate_cntlid). The next ID that the target gives out may be free.
func (h *host) rival(w *wanted) string {
	all, err := h.sysfs.Controllers()
	if err != nil {
		return ""
	}
	for i := range all {
		c := &all[i]
		same := c.NQN == w.TID.NQN || w.Kind == tid.Discovery && w.TID.NQN == nvme.DiscoveryNQN && c.KindKnown && c.Kind == tid.Discovery
		if same && !Live(c.State) {
			return c.Name
		}
	}
	return ""
}
