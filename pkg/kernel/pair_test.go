package kernel

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/tid"
)

// A host identity that the kernel would refuse is refused before it is asked, with the names of what is in the way.
func TestConnectChecksIdentity(t *testing.T) {
	const otherNQN, otherID = "nqn.2024-01.test:other", "5a5a0000-0000-4000-8000-000000000000"
	for _, c := range []struct {
		name string
		live tid.Host // of nvme3
		want string   // part of the error, "" for none
	}{
		{"same pair", testHost, ""},
		{"same pair, other spelling", tid.Host{NQN: testHost.NQN, ID: strings.ToUpper(testHost.ID)}, ""},
		{"another pair", tid.Host{NQN: otherNQN, ID: otherID}, ""},
		{"no identity", tid.Host{}, ""},
		{"NQN with another ID", tid.Host{NQN: testHost.NQN, ID: otherID}, "host NQN " + testHost.NQN + " is in use with host ID " + otherID + " by nvme3"},
		{"ID with another NQN", tid.Host{NQN: otherNQN, ID: testHost.ID}, "host ID " + testHost.ID + " is in use with host NQN " + otherNQN + " by nvme3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.controller("nvme3", with(discoveryAttrs, "hostnqn", c.live.NQN+"\n", "hostid", c.live.ID+"\n"))
			b.controller("nvme4", with(discoveryAttrs, "hostnqn", testHost.NQN+"\n", "hostid", testHost.ID+"\n"))
			b.script("192.0.2.1", "ok 4 17")
			_, err := b.Connect(t.Context(), connectTo("192.0.2.1"))
			asked := slices.Contains(b.lines("writes"), "192.0.2.1")
			if c.want == "" {
				if err != nil || !asked {
					t.Fatalf("Connect = %v, kernel asked: %v", err, asked)
				}
				return
			}
			var e *ConnectError
			if !errors.As(err, &e) || e.Class != InvalidOption || !strings.Contains(e.Error(), c.want) || asked {
				t.Fatalf("Connect = %v, kernel asked: %v", err, asked)
			}
		})
	}
}

// A conflict that came later is named when the kernel has refused.
func TestConnectExplainsIdentity(t *testing.T) {
	b := newBench(t, nil)
	b.controller("nvme4", with(discoveryAttrs, "hostnqn", testHost.NQN+"\n", "hostid", testHost.ID+"\n"))
	b.script("192.0.2.1", "ok 4 17")
	if _, err := b.Connect(t.Context(), connectTo("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	b.controller("nvme5", with(discoveryAttrs, "hostnqn", "nqn.2024-01.test:other\n", "hostid", testHost.ID+"\n"))
	b.script("192.0.2.2", "errno 22")
	_, err := b.Connect(t.Context(), connectTo("192.0.2.2"))
	var e *ConnectError
	if !errors.As(err, &e) || e.Errno != 22 || !strings.Contains(e.Error(), "by nvme5") {
		t.Fatalf("Connect = %v", err)
	}
}
