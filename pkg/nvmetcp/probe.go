package nvmetcp

import (
	"context"
	"fmt"
)

// ProbeTarget is what [Probe] looks at.
type ProbeTarget struct {
	Endpoint
	// TCPOnly ends the probe after the TCP connect: for addresses that want TLS,
	// where a plain ICReq would only be an intrusion.
	TCPOnly bool
}

// Probe tells whether an NVMe/TCP controller answers at an address: a TCP connect
// that honours interface and source address, then ICReq and a valid ICResp, then
// the connection is closed. It ends with ctx at the latest, so give ctx a deadline.
//
// A nil error means that the kernel's connect will get past the point where an
// address that swallows everything holds it. Errors match [ErrRefused],
// [ErrUnreachable], [ErrTimeout], [ErrSilent], [ErrClosed], [ErrNotNVMe] or
// [ErrLocal]; a cancelled ctx gives its own error. Safe for any number of
// concurrent calls.
func Probe(ctx context.Context, t ProbeTarget) error {
	c, err := t.dial(ctx)
	if err != nil {
		return fmt.Errorf("cannot reach %s: %w", t.Addr, err)
	}
	defer c.Close()
	if t.TCPOnly {
		return nil
	}
	if _, err := initialize(ctx, c, false, false); err != nil {
		return fmt.Errorf("cannot reach %s: %w", t.Addr, err)
	}
	return nil
}
