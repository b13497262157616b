package nvmetcp

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// Whatever a controller answers to the host's reply: without its own key it proves nothing.
func FuzzAuthHost(f *testing.F) {
	f.Add(authFailure(authFailure1, 1, explainHash))
	success := authMessage(authCHAP, authSuccess1, 1, authHeader+32)
	success[6] = 32
	f.Add(success)
	proved := bytes.Clone(success)
	proved[8] = 1
	f.Add(proved)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, controller := pipeQueue(t)
		controller.Close()
		key := secret(t, nvme.HashSHA256, 'k')
		h := &Host{cfg: HostConfig{Key: key, ControllerKey: key, CommandTimeout: time.Second}}
		c := chap{hash: nvme.HashSHA256, tid: 1, hostNQN: testHost, subNQN: testSub}
		r := replyMessage{tid: 1, response: make([]byte, 32)}
		good := len(b) >= authHeader+32 && b[0] == authCHAP && b[1] == authSuccess1 && b[6] == 32 && le.Uint16(b[4:]) == 1
		if err := h.conclude(context.Background(), q, &c, &r, b); (err == nil) != good {
			t.Errorf("without a challenge: %v", err)
		}
		r.challenge, r.seq = bytes.Repeat([]byte{7}, 32), 1
		if err := h.conclude(context.Background(), q, &c, &r, b); err == nil {
			t.Error("a controller without key got in")
		}
	})
}
