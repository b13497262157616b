package kernel

import (
	"fmt"
	"strings"

	"github.com/stas-go/stas/pkg/tid"
	"golang.org/x/sys/unix"
)

// hostPairs knows which identities have been found free of conflict: the kernel takes host NQN
// and host ID as a 1:1 pair, as long as any controller uses either (since 6.5;
// drivers/nvme/host/fabrics.c, nvmf_host_add), and its refusal, EINVAL, does not say so. Only the one
// lane of connects touches it.
type hostPairs map[tid.Host]bool

// checkPair is an error where a controller that exists uses one half of the identity with
// another other half. What has been looked at once and used since cannot have such a conflict.
func (h *host) checkPair(w *wanted, known Options) error {
	pair := tid.Host{NQN: w.hostNQN(), ID: w.Host.ID}
	if h.pairs[pair] {
		return nil
	}
	if err := h.pairConflict(pair, known); err != nil {
		return err
	}
	if h.pairs == nil {
		h.pairs = hostPairs{}
	}
	if len(h.pairs) >= maxPairs {
		clear(h.pairs)
	}
	h.pairs[pair] = true
	return nil
}

// maxPairs bounds what is remembered; hosts have one identity, seldom a handful.
const maxPairs = 1024

func (h *host) pairConflict(pair tid.Host, known Options) error {
	names, err := h.sysfs.Names()
	if err != nil {
		return nil //nolint:nilerror // the kernel decides
	}
	for _, name := range names {
		dir, err := h.sysfs.openController(name)
		if err != nil {
			continue
		}
		nqn, id := attribute(dir, "hostnqn"), attribute(dir, "hostid")
		_ = unix.Close(dir)
		switch {
		case nqn == "" || id == "": // a PCIe controller, or one on its way out
		case nqn == pair.NQN && !strings.EqualFold(id, pair.ID):
			return fmt.Errorf("host NQN %s is in use with host ID %s by %s, and the kernel takes no other with it, such as %s", nqn, id, name, pair.ID)
		case nqn != pair.NQN && strings.EqualFold(id, pair.ID) && known.AtLeast(6, 5):
			return fmt.Errorf("host ID %s is in use with host NQN %s by %s, and the kernel takes no other with it, such as %s", id, nqn, name, pair.NQN)
		}
	}
	return nil
}
