package nvmetcp

import (
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// Commands of an authentication that are delayed run beside those that come meanwhile,
// which ask whether the host has proved itself.
func TestDelayedAuthentication(t *testing.T) {
	g := &guarded{newDisk(1 << 20), AuthPolicy{Host: secret(t, nvme.HashSHA256, 'h')}}
	e := serve(t, &Target{Resolver: resolver{testSub: g}, Interceptor: intercept(func(s Step) Action {
		if s.Name == StepAuth {
			return Action{Delay: time.Millisecond}
		}
		return Action{}
	})})
	cfg := hostConfig(e, testSub)
	cfg.Key = g.policy.Host
	h := dial(t, cfg)
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 20 && err == nil; i++ {
			err = h.authenticate(t.Context(), h.admin)
		}
		done <- err
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
		if _, err := h.exec(t.Context(), h.admin, command(nvme.OpGetFeatures, 0, nvme.FeatureKeepAlive), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}
