package kernel

import (
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/uevent"
)

// Change says that something about one controller, or about the host, is to be looked at.
// Exactly one of Name, FC, FabricsDevice and ScanDone is set.
type Change struct {
	Name       string
	Controller *Controller // as it is now; nil: it is gone

	AEN        bool // its discovery log page may have changed
	Rediscover bool // a discovery controller was connected again; Connected follows
	Connected  bool // it was connected, for the first time or again
	Rescan     bool // found by looking at everything, not by an event of its own

	FC            *FCDiscovery // an FC port with a discovery role was found
	FabricsDevice bool         // /dev/nvme-fabrics has appeared
	ScanDone      bool         // everything that was there has been told since the start, or since events were lost
}

// FCDiscovery is what the FC transport tells of a remote discovery port, in the form
// that traddr and host_traddr take.
type FCDiscovery struct {
	Traddr     string
	HostTraddr string
}

// subsystems whose events matter: controllers, FC ports, /dev/nvme-fabrics (class misc).
var subsystems = []string{"nvme", "fc", "misc"}

// Subsystems are those that the uevent source of a [Watcher] must deliver.
func Subsystems() []string { return append([]string(nil), subsystems...) }

// DevicePaths are where these devices are below /sys: controllers over fabrics (drivers/nvme/host/fabrics.c,
// nvmf_device), the device that events of FC ports come from (drivers/nvme/host/fc.c, fc_udev_device), /dev/nvme-fabrics.
func DevicePaths() []string {
	return []string{"/devices/virtual/nvme-fabrics/", "/devices/virtual/fc/", "/devices/virtual/misc/nvme-fabrics"}
}

// NeedlessEvents are the beginnings of events that a [Watcher] has no use for: that a controller came into being says nothing of it yet, and
// kernels from 5.18 on tell when it is connected. Others have to be looked at from the beginning on.
func NeedlessEvents() []string { return needlessEvents(kernelRelease()) }

func needlessEvents(release string) []string {
	if o := (Options{Release: release}); !o.AtLeast(5, 18) {
		return nil
	}
	return []string{"add@/devices/virtual/nvme-fabrics/ctl/"}
}

// flags are what events about one controller add up to.
type flags uint8

const (
	flagAEN flags = 1 << iota
	flagRediscover
	flagConnected
	flagRescan
	flagRemoved // it went, though something of that name may be back
	flagUrgent  // it is in the queue of those with events of their own
)

// controllerEvent reads an event of subsystem nvme (drivers/nvme/host/core.c,
// nvme_class_uevent, nvme_aen_uevent, nvme_change_uevent). It says false for what is
// no fabrics controller.
func controllerEvent(e *uevent.Event) (name string, f flags, ok bool) {
	if _, isController := instanceOf(e.DevName); !isController || e.Get("NVME_TRTYPE") == string(nvme.PCIe) {
		return "", 0, false
	}
	if e.Action == "remove" {
		return e.DevName, flagRemoved, true
	}
	if value, has := e.Lookup("NVME_AEN"); has {
		if aen, err := nvme.ParseAsyncEvent(value); err == nil && aen.DiscoveryChange() {
			f |= flagAEN
		}
	}
	switch e.Get("NVME_EVENT") {
	case "connected":
		f |= flagConnected
	case "rediscover":
		f |= flagRediscover
	}
	return e.DevName, f, true
}

// fcEvent reads an event of class fc (drivers/nvme/host/fc.c, nvme_fc_signal_discovery_scan).
func fcEvent(e *uevent.Event) (FCDiscovery, bool) {
	d := FCDiscovery{e.Get("NVMEFC_TRADDR"), e.Get("NVMEFC_HOST_TRADDR")}
	return d, e.Get("FC_EVENT") == "nvmediscovery" && d.Traddr != "" && d.HostTraddr != ""
}

// fabricsEvent says whether an event means that /dev/nvme-fabrics came into being.
func fabricsEvent(e *uevent.Event) bool {
	return e.Subsystem == "misc" && e.DevName == "nvme-fabrics" && e.Action == "add"
}
