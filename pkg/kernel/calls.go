package kernel

import (
	"context"
	"errors"
	"fmt"
)

// Connect makes a connection and registers it. A failed one gives a [*ConnectError], or
// [ErrNoFabrics], [ErrBusy]. Where ctx ends first, the kernel may still make the
// connection; OnOrphan tells how it went.
func (w *Worker) Connect(ctx context.Context, r ConnectRequest) (Connection, error) {
	select {
	case <-r.Withdrawn:
		return Connection{}, wrap(ErrNotBegun, "connect "+r.TID.String())
	default:
	}
	spelled := newWanted(r)
	got, err := w.call(ctx, &call{request: &request{Op: opConnect, Connect: &spelled}, connect: &r, withdrawn: r.Withdrawn, queued: r.Queued}, nil)
	if err != nil {
		return Connection{}, wrap(err, "connect "+r.TID.String())
	}
	if got.Connection == nil {
		return Connection{}, fmt.Errorf("cannot connect %s: the kernel worker gave no connection", r.TID)
	}
	return *got.Connection, nil
}

// Disconnect ends a connection, if it is the one that was meant and may be ended:
// [ErrChanged] and [ErrNotOurs] otherwise. That it is gone already is success.
func (w *Worker) Disconnect(ctx context.Context, r DisconnectRequest) error {
	_, err := w.call(ctx, &call{request: &request{Op: opDisconnect, Disconnect: &r}}, nil)
	return wrap(err, "disconnect "+r.Name)
}

// Options tells what the kernel's option parser knows. It may have to wait for somebody's
// connect. The error is [ErrNoFabrics] where the device does not exist.
func (w *Worker) Options(ctx context.Context) (Options, error) {
	got, err := w.call(ctx, &call{request: &request{Op: opOptions}}, nil)
	if err != nil {
		return Options{}, wrap(err, "read the kernel's connect options")
	}
	if got.Options == nil {
		return Options{}, fmt.Errorf("cannot read the kernel's connect options: the kernel worker gave none")
	}
	return *got.Options, nil
}

// Kickstart makes the kernel send the FC discovery events of all known ports again. The
// error is [ErrNoFC] on a host without FC.
func (w *Worker) Kickstart(ctx context.Context) error {
	_, err := w.call(ctx, &call{request: &request{Op: opKickstart}}, nil)
	return wrap(err, "ask for FC discovery events")
}

// wrap says what could not be done, where the error does not say so itself.
func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	if errors.As(err, new(*ConnectError)) || errors.As(err, new(*workerError)) {
		return err
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}
