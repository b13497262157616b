package kernel

import (
	"errors"
	"fmt"

	"github.com/stas-go/stas/pkg/registry"
	"golang.org/x/sys/unix"
)

// disconnect deletes a controller if it still is the one that was meant and may be touched.
// It runs in the worker process and sleeps as long as the kernel needs, up to a minute.
func (h *host) disconnect(r *DisconnectRequest) error {
	if err := checkName(r.Name); err != nil {
		return fmt.Errorf("cannot disconnect: %w", err)
	}
	if err := h.deleteController(r); err != nil && !errors.Is(err, ErrGone) {
		return fmt.Errorf("cannot disconnect %s: %w", r.Name, err)
	}
	return nil
}

// deleteController opens the attribute before it looks: names are given anew, but what is
// written to an open attribute reaches the controller that it was opened for, or fails.
func (h *host) deleteController(r *DisconnectRequest) error {
	dir, err := h.sysfs.openController(r.Name)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	fd, err := unix.Openat(dir, "delete_controller", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return goneOr(err)
	}
	d := descriptor(fd)
	defer func() { _ = d.Close() }()

	now := Controller{Name: r.Name}
	if _, err := now.read(dir, nil); err != nil {
		return goneOr(err)
	}
	if field := r.Expect.differs(now.Identity()); field != "" {
		return fmt.Errorf("%w: its %s is another", ErrChanged, field)
	}
	owner := h.registry.Owner(r.Name)
	if err := h.mayDelete(owner, r); err != nil {
		return err
	}
	seqnum, _ := h.registry.Attr(r.Name, registry.AttrSeqnum)
	if _, err := d.Write([]byte("1")); err != nil {
		if errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("%w: its first connect is not through", ErrBusy)
		}
		return goneOr(err)
	}
	// The write returned, so the controller is gone; but a foreign entry is not ours to
	// remove, and a new one under the same name has another stamp.
	if owner.Is(h.owner) {
		if _, err := h.registry.RemoveIfOurs(r.Name, h.owner, seqnum); err != nil {
			return fmt.Errorf("it is gone, but its registry entry is not: %w", err)
		}
	}
	return nil
}

func (h *host) mayDelete(owner registry.Owner, r *DisconnectRequest) error {
	switch {
	case r.AnyOwner, owner.Is(h.owner) && !r.OnlyUnowned:
		return nil
	case owner.Kind() == registry.KindNone && (r.AllowUnowned || r.OnlyUnowned):
		return nil
	}
	return fmt.Errorf("%w: owner %s", ErrNotOurs, owner)
}
