package fake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

// run performs f in a goroutine of its own and waits for it as long as ctx lasts.
// When the wait ended before, late is told of the result.
func run[T any](ctx context.Context, f func() (T, error), late func(T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	done, left := make(chan result), make(chan struct{})
	go func() {
		v, err := f()
		select {
		case done <- result{v, err}:
		case <-left:
			if late != nil {
				late(v, err)
			}
		}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		close(left)
		return none, context.Cause(ctx)
	}
}

// Connect is kernel.Worker.Connect.
func (h *Host) Connect(ctx context.Context, r kernel.ConnectRequest) (kernel.Connection, error) {
	return run(ctx, func() (kernel.Connection, error) { return h.connect(ctx, &r) },
		func(c kernel.Connection, err error) { h.late(kernel.Late{Connect: &r, Connection: c, Err: err}) })
}

func (h *Host) late(l kernel.Late) {
	select {
	case <-h.closed:
	default:
		if h.OnOrphan != nil {
			h.OnOrphan(l)
		}
	}
}

func (h *Host) connect(ctx context.Context, r *kernel.ConnectRequest) (kernel.Connection, error) {
	select {
	case h.lane <- struct{}{}:
	case <-r.Withdrawn:
		return kernel.Connection{}, kernel.ErrNotBegun
	case <-ctx.Done():
		return kernel.Connection{}, kernel.ErrNotBegun
	case <-h.closed:
		return kernel.Connection{}, kernel.ErrClosed
	}
	defer func() { <-h.lane }()
	if r.Queued != nil {
		r.Queued()
	}
	start := time.Now()
	c, errno, err := h.begin(r)
	if err == nil {
		b := h.behaviour(c.target)
		h.await(c.target, b.ConnectDelay, b.Hang)
		err = h.complete(c, errno, r)
	}
	if e := new(kernel.ConnectError); errors.As(err, &e) {
		e.Took = time.Since(start)
	}
	if err != nil {
		return kernel.Connection{}, err
	}
	return kernel.Connection{Instance: c.Instance, CntlID: c.CntlID, Took: time.Since(start)}, nil
}

// await is the time that a target takes.
func (h *Host) await(t *Target, d time.Duration, hang bool) {
	h.wait(d)
	if !hang {
		return
	}
	h.mu.Lock()
	unhang := t.unhang
	h.mu.Unlock()
	select {
	case <-unhang:
	case <-h.closed:
	}
}

func (h *Host) begin(r *kernel.ConnectRequest) (*controller, syscall.Errno, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fabricsGone {
		return nil, 0, fmt.Errorf("cannot connect %s: %w", r.TID, kernel.ErrNoFabrics)
	}
	h.stats.Connects++
	t := r.TID
	t.HostNQN = cmp.Or(t.HostNQN, r.Host.NQN)
	if t.HostNQN == "" || r.Host.ID == "" {
		return nil, 0, h.fails(t, syscall.EINVAL)
	}
	if _, is := h.connected[duplicate{t, r.Host.ID}]; is && r.Kind == tid.IO && r.Params.DuplicateConnect != tid.On {
		return nil, 0, h.fails(t, syscall.EALREADY)
	}
	target := h.targets[addressOf(t)]
	if target == nil {
		target = &Target{Behaviour: Behaviour{Errno: syscall.ECONNREFUSED}}
	}
	errno := target.Errno
	if len(target.Failures) > 0 {
		errno, target.Failures = target.Failures[0], target.Failures[1:]
	}
	return h.add(t, r.Host.ID, target), errno, nil
}

// behaviour is how t behaves now; a test may change it at any time.
func (h *Host) behaviour(t *Target) Behaviour {
	h.mu.Lock()
	defer h.mu.Unlock()
	return t.Behaviour
}

func (h *Host) fails(t tid.TID, errno syscall.Errno) *kernel.ConnectError {
	h.stats.ConnectsFailed++
	return &kernel.ConnectError{TID: t, Errno: errno, Class: kernel.ClassOf(errno)}
}

func (h *Host) complete(c *controller, errno syscall.Errno, r *kernel.ConnectRequest) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if errno != 0 {
		h.remove(c)
		return h.fails(r.TID, errno)
	}
	select {
	case <-h.closed:
		h.remove(c)
		return kernel.ErrClosed
	default:
	}
	h.live(c)
	if h.unwritable == nil {
		h.setOwner(c.Name, registry.OwnedBy(cmp.Or(r.Owner, registry.Stas)))
	}
	return nil
}

// Disconnect is kernel.Worker.Disconnect.
func (h *Host) Disconnect(ctx context.Context, r kernel.DisconnectRequest) error {
	_, err := run(ctx, func() (struct{}, error) { return struct{}{}, h.disconnect(&r) },
		func(_ struct{}, err error) { h.late(kernel.Late{Disconnect: &r, Err: err}) })
	return err
}

func (h *Host) disconnect(r *kernel.DisconnectRequest) error {
	c, err := h.mayDelete(r)
	if c == nil || err != nil {
		return err
	}
	h.wait(h.behaviour(c.target).DisconnectDelay)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.controllers[r.Name] == c {
		h.stats.Disconnects++
		h.remove(c)
		if h.owners[r.Name].owner.Is(registry.Stas) {
			delete(h.owners, r.Name)
		}
	}
	return nil
}

func (h *Host) mayDelete(r *kernel.DisconnectRequest) (*controller, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.controllers[r.Name]
	if c == nil {
		return nil, nil
	}
	cannot := func(why error) error { return fmt.Errorf("cannot disconnect %s: %w", r.Name, why) }
	expect := r.Expect
	if expect.Inode == 0 {
		expect.Inode = c.Inode
	}
	if expect != c.Identity() {
		return nil, cannot(kernel.ErrChanged)
	}
	owner := h.owner(r.Name)
	ours := owner.Is(registry.Stas) && !r.OnlyUnowned
	if !r.AnyOwner && !ours && (owner.Kind() != registry.KindNone || !r.AllowUnowned && !r.OnlyUnowned) {
		return nil, cannot(fmt.Errorf("%w: owner %s", kernel.ErrNotOurs, owner))
	}
	if !c.ready {
		return nil, cannot(kernel.ErrBusy)
	}
	if err := c.target.DisconnectError; err != nil {
		return nil, cannot(err)
	}
	c.State = kernel.StateDeleting
	return c, nil
}

// Kickstart is kernel.Worker.Kickstart. It only counts; see FCEvent.
func (h *Host) Kickstart(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Kickstarts++
	return nil
}

// Warm is kernel.Worker.Warm.
func (h *Host) Warm() {}

// Close is kernel.Worker.Close. It also ends everything that hangs or waits.
func (h *Host) Close() error {
	h.closeOnce.Do(func() { close(h.closed) })
	return nil
}
