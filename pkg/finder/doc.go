// Package finder is stafd: it turns every source of discovery controllers into one
// desired set, keeps a session with each of them, and publishes their log pages.
//
//	configuration ─┐
//	mDNS          ─┤
//	NBFT          ─┼─▶ desired ─▶ DC ─▶ session: identify, register, read ─▶ page ─▶ D-Bus, state files
//	FC            ─┤                │                                          │
//	referrals     ─┘                └─▶ schedule (probe, connect, disconnect)   └─▶ referrals
//
// One goroutine, the loop, owns all state. Events only mark what is dirty; when a burst is over
// [Finder.settle] compares what should be with what is. Whatever may block runs in a goroutine that is bound to
// the daemon's context, and its result comes back as an event.
//
// Knowledge of a discovery controller ends only by an answer: a page stays in force until a newer complete
// one replaces it, the configuration stops naming its controller, or its retention ends.
package finder
