package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
	"github.com/stas-go/stas/pkg/veto"
	"golang.org/x/sys/unix"
)

// host is where a worker does its work. Tests put other devices into it.
type host struct {
	sysfs    Sysfs
	registry *registry.Dir
	owner    string
	runDir   string
	release  string
	pageSize int
	pairs    hostPairs

	openFabrics    func() (fabricsDevice, error)
	openController func(name string) (controllerDevice, error)
	findKeys       func(*wanted) (tlsKeys, error)
	excluded       func(tid.TID, tid.Host) bool
}

func newHost(g greeting) *host {
	dev, fabrics := cmp.Or(g.Dev, "/dev"), cmp.Or(g.Fabrics, "/dev/nvme-fabrics")
	excluded := func(tid.TID, tid.Host) bool { return false }
	if g.ExclusionFile != "" && g.ExclusionDropIn != "" {
		excluded = veto.NewHostWide(g.ExclusionFile, g.ExclusionDropIn).Excluded
	}
	return &host{
		excluded: excluded,
		sysfs:    Sysfs{g.Sys}, registry: registry.Open(g.Registry, g.Dev, g.Sys), owner: g.Owner,
		runDir: g.RunDir, release: kernelRelease(), pageSize: os.Getpagesize(),
		openFabrics: func() (fabricsDevice, error) {
			d, err := openDescriptor(fabrics, unix.O_RDWR)
			if err != nil {
				return nil, err
			}
			return d, nil
		},
		openController: func(name string) (controllerDevice, error) { return openController(dev + "/" + name) },
		findKeys:       findKeys,
	}
}

// kickstart makes the kernel send the discovery events of all FC ports again
// (drivers/nvme/host/fc.c, nvme_fc_nvme_discovery_store).
func (h *host) kickstart() error {
	d, err := openDescriptor(h.sysfs.root()+"/class/fc/fc_udev_device/nvme_discovery", unix.O_WRONLY)
	if err == nil {
		_, err = d.Write([]byte("add"))
		_ = d.Close()
	}
	if err != nil {
		if errors.Is(goneOr(err), ErrGone) {
			err = ErrNoFC
		}
		return fmt.Errorf("cannot ask for FC discovery events: %w", err)
	}
	return nil
}
