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
