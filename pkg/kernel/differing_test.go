package kernel

import (
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/tid"
)

// What an earlier run has connected shows only some of its parameters.
func TestDifferingOfAnAdoptedConnection(t *testing.T) {
	d := &Controller{KATO: 5, QueueCount: 5, ReconnectDelay: 10, CtrlLossTmo: 600}
	for want, p := range map[string]tid.Params{
		"":     {KeepAliveTmo: tid.SetInt(5), NrIOQueues: tid.SetInt(8), ReconnectDelay: tid.SetInt(10), CtrlLossTmo: tid.SetInt(595), HdrDigest: tid.On},
		"kato": {KeepAliveTmo: tid.SetInt(6)},
		"nr-io-queues,reconnect-delay,ctrl-loss-tmo": {NrIOQueues: tid.SetInt(2), ReconnectDelay: tid.SetInt(2), CtrlLossTmo: tid.SetInt(-1)},
	} {
		if got := strings.Join(d.Differing(&p), ","); got != want {
			t.Errorf("%+v differs in %q, want %q", p, got, want)
		}
	}
}

// A discovery controller is never connected without keep-alives: what is asked for then is what it has.
func TestNoKeepAliveOfADiscoveryController(t *testing.T) {
	d := &Controller{KATO: 30, QueueCount: 1, ReconnectDelay: 10, CtrlLossTmo: 600}
	d.Kind, d.KindKnown = tid.Discovery, true
	p := tid.Params{KeepAliveTmo: tid.SetInt(0)}
	if got := d.Differing(&p); len(got) != 0 {
		t.Errorf("differs in %q", got)
	}
	d.KATO = 0 // somebody else made it
	if got := strings.Join(d.Differing(&p), ","); got != "kato" {
		t.Errorf("differs in %q, want kato", got)
	}
}
