package kernel

import "github.com/stas-go/stas/pkg/tid"

// Differing names, as configuration files do, the parameters of p that the connection visibly does not have.
// It is for connections that an earlier run or somebody else made: of what sysfs does not show nothing is known.
// The kernel rounds ctrl_loss_tmo up to whole reconnect delays (drivers/nvme/host/fabrics.c,
// nvmf_parse_options), and a controller may have granted fewer queues than were asked for, so only more of them are
// another value.
func (c *Controller) Differing(p *tid.Params) []string {
	var names []string
	if v, ok := p.KeepAliveTmo.Get(); ok && c.keepAlive(int(v)) != c.KATO {
		names = append(names, "kato")
	}
	queues := int32(0)
	asked, set := p.NrIOQueues.Get()
	for _, n := range []tid.Int{p.NrIOQueues, p.NrWriteQueues, p.NrPollQueues} {
		v, _ := n.Get()
		queues += v
	}
	if set && asked > 0 && c.QueueCount-1 > int(queues) {
		names = append(names, "nr-io-queues")
	}
	if v, ok := p.ReconnectDelay.Get(); ok && int(v) != c.ReconnectDelay {
		names = append(names, "reconnect-delay")
	}
	if v, ok := p.CtrlLossTmo.Get(); ok && !sameLoss(int(v), c.CtrlLossTmo, c.ReconnectDelay) {
		names = append(names, "ctrl-loss-tmo")
	}
	return names
}

// keepAlive is what a connection of this kind has where it was made with v: a discovery connection is never made without.
func (c *Controller) keepAlive(v int) int {
	if c.Kind == tid.Discovery && v <= 0 {
		return discoveryKATO
	}
	return v
}

func sameLoss(want, shown, delay int) bool {
	if want < 0 || shown < 0 || delay <= 0 {
		return (want < 0) == (shown < 0) && (want < 0 || want == shown)
	}
	return (want+delay-1)/delay*delay == shown
}
