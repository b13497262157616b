package daemon

import (
	"context"
	"net"
	"os"
	"strconv"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/uevent"
)

// ueventBuffer holds the events of a burst of some ten thousand controllers.
const ueventBuffer = 16 << 20

// smallBuffer is a test hook: with this variable in the environment the buffer has that many bytes, so that a test can make it
// overflow. A host without tests has no use for it: events that are lost cost a look at every controller.
const smallBuffer = "STAS_TEST_UEVENT_BUFFER"

// openUevents subscribes to the kernel's own events: the ones that udev passes on may have been
// changed by rules, on purpose (69-stas.rules).
func (p program) openUevents() (*uevent.Monitor, error) {
	buffer := ueventBuffer
	if n, err := strconv.Atoi(os.Getenv(smallBuffer)); err == nil && n > 0 {
		buffer = n
	}
	o := uevent.Options{Group: uevent.Kernel, Buffer: buffer, Subsystems: kernel.Subsystems(), Paths: kernel.DevicePaths()}
	if !p.beginnings {
		o.Needless = kernel.NeedlessEvents()
	}
	return uevent.Open(o)
}

// watchExclusions has changed called whenever the host-wide exclusion list changes from what it is at the time of the call, which so
// has to come before anything is held against the list.
func (d *daemon) watchExclusions(ctx context.Context, changed func()) func(context.Context) {
	updates, err := d.hostWide.Watch(ctx, 0)
	if err != nil {
		d.log.Warn("cannot watch the host-wide exclusion list; it is still read before every attempt", "error", err)
	}
	return func(context.Context) {
		if err != nil {
			return
		}
		for range updates {
			for _, p := range d.hostWide.Problems() {
				d.log.Warn("host-wide exclusion list", "problem", p)
			}
			changed()
		}
	}
}

// resolve looks up the addresses of a host name.
func resolve(ctx context.Context, name string) ([]string, error) {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	addresses := make([]string, len(found))
	for i, a := range found {
		addresses[i] = a.Unmap().String()
	}
	return addresses, nil
}
