// Package connector is stacd: it makes, keeps and removes the I/O connections that the log
// pages of stafd and its own configuration call for.
//
//	stafd ─▶ pages ─┐
//	                ├─▶ wanted IOCs ─┬─ no connection ─▶ schedule: probe, connect
//	stacd.conf ─────┘                └─ connected ─────▶ ours: claim and keep
//	kernel ─────────▶ connections ─── wanted by nobody ─▶ stray: may it be removed? ─▶ schedule: disconnect
//
// One goroutine, the loop, owns all state. Events mark what is dirty; [Connector.settle] compares what should
// be with what is, for that alone, so that a change costs as much as it changes.
//
// A connection is removed only when it is registered as ours, no other protection covers it, and a complete
// page of a controller that listed it no longer does (or, where it is not known who listed it, all
// controllers have answered). No answer is never an answer.
package connector
