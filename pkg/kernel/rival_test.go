package kernel

import (
	"errors"
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// A target that has moved or started anew may give out a controller ID that a dead connection still holds. The
// kernel says EINVAL, as for an option that it does not know, and the next attempt may well succeed.
func TestRefusedForADeadController(t *testing.T) {
	const subsystem = "nqn.2024-01.test:dc"
	for _, c := range []struct {
		name       string
		nqn, state string
		kind       tid.Kind
		want       Class
	}{
		{"dead one of the same NQN", subsystem, "connecting", tid.Discovery, Rejected},
		{"dead one, asked for by the well-known NQN", nvme.DiscoveryNQN, "connecting", tid.Discovery, Rejected},
		{"live one", subsystem, "live", tid.Discovery, InvalidOption},
		{"dead one of another NQN", "nqn.2024-01.test:other", "connecting", tid.Discovery, InvalidOption},
		{"I/O controller of the same NQN", subsystem, "connecting", tid.IO, Rejected},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.controller("nvme3", with(discoveryAttrs, "state", c.state+"\n", "hostnqn", testHost.NQN+"\n", "hostid", testHost.ID+"\n"))
			b.script("192.0.2.1", "errno 22")
			r := connectTo("192.0.2.1")
			r.TID.NQN, r.Kind = c.nqn, c.kind
			_, err := b.Connect(t.Context(), r)
			var e *ConnectError
			if !errors.As(err, &e) || e.Class != c.want || e.Errno != 22 || (c.want == Rejected) != strings.Contains(e.Error(), "nvme3") {
				t.Errorf("Connect = %v (%v), want class %v", err, e.Class, c.want)
			}
		})
	}
}
