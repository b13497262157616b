//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// reaction is the longest that a change of the fabric may take to show, with room for an emulated machine.
const reaction = 3 * time.Second

// TestChange adds and removes subsystems in the target: each change arrives, and concerns nothing else.
func TestChange(t *testing.T) {
	port, subs := connected(t, 4)
	unchanged := watchAll(t, subs[1:]...)

	t.Run("add", func(t *testing.T) {
		extra := fabric.NewSubsystem(t, prefix+"extra", fabric.Options{})
		events := fabric.Record(t)
		linked := time.Now()
		port.Link(t, extra)
		events.Await(t, reaction, 1, "change", "connected")
		t.Logf("live %v after it was added", time.Since(linked).Round(time.Millisecond))
		awaitOwned(t, reaction, append(subs, extra)...)
	})
	t.Run("remove", func(t *testing.T) {
		events := fabric.Record(t)
		unlinked := time.Now()
		port.Unlink(t, subs[0])
		events.Await(t, reaction, 1, "remove", "")
		t.Logf("gone %v after it was removed", time.Since(unlinked).Round(time.Millisecond))
		fabric.AwaitGone(t, reaction, subs[0].NQN)
	})
	t.Run("zoned out", func(t *testing.T) {
		// The target keeps such a connection, so it is the daemon that ends it.
		zoned := fabric.NewSubsystem(t, prefix+"zoned", fabric.Options{Hosts: []fabric.Host{{NQN: hostNQN(t)}}})
		port.Link(t, zoned)
		awaitOwned(t, reaction, zoned)
		events := fabric.Record(t)
		revoked := time.Now()
		zoned.Disallow(t, hostNQN(t))
		events.Await(t, reaction, 1, "remove", "")
		t.Logf("gone %v after the host was zoned out", time.Since(revoked).Round(time.Millisecond))
		fabric.AwaitGone(t, reaction, zoned.NQN)
		// Let in again it comes back.
		zoned.Allow(t, fabric.Host{NQN: hostNQN(t)})
		awaitOwned(t, reaction, zoned)
	})
	unchanged.proven(t)
}

// TestLastOne removes the only subsystem: an empty page that a running session announces counts at once.
func TestLastOne(t *testing.T) {
	port, subs := connected(t, 1)
	other := fabric.NewSubsystem(t, prefix+"other", fabric.Options{Hosts: []fabric.Host{{NQN: prefix + "other-host"}}})
	port.Link(t, other) // keeps the port listening
	port.Unlink(t, subs[0])
	fabric.AwaitGone(t, reaction, subs[0].NQN)
	port.Link(t, subs[0])
	awaitOwned(t, reaction, subs[0])
}
