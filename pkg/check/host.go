package check

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/machine"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// Host is the system that is looked at.
type Host struct {
	Root       string // "/" for this one
	Interfaces func() ([]net.Interface, error)
	HasIPv4    func(net.Interface) bool // whether the interface has an address of that family
	Now        func() time.Time
}

// This is the host that the process runs on.
func This() Host { return Host{Root: "/", Interfaces: net.Interfaces, HasIPv4: hasIPv4, Now: time.Now} }

func (h Host) at(path string) string { return filepath.Join(h.Root, path) }

func (h Host) exists(path string) bool {
	_, err := os.Stat(h.at(path))
	return err == nil
}

// Look checks the host for what c needs of it.
func (h Host) Look(c Configuration) []Finding {
	var list []Finding
	for _, look := range []func(Configuration) []Finding{
		h.modules, h.options, h.bus, h.avahi, h.multicast, h.firewall, h.clock, h.hostIDs, h.leftovers, h.discoverd,
	} {
		list = append(list, look(c)...)
	}
	return Sorted(list)
}

// modules checks for the kernel's side of each transport that is wanted.
func (h Host) modules(c Configuration) []Finding {
	var list []Finding
	if !h.exists("/dev/nvme-fabrics") {
		list = append(list, Finding{ID: "no-fabrics-device", Severity: Error, Where: "/dev/nvme-fabrics",
			What: "the device does not exist; without it nothing can be connected", Remedy: "modprobe nvme_fabrics"})
	}
	for _, t := range transports(c) {
		module := "nvme_" + string(t)
		if !h.exists("/sys/module/"+module) && !h.builtIn(module) {
			list = append(list, Finding{ID: "no-transport-module", Severity: Error, Where: module,
				What: fmt.Sprintf("the kernel module for transport %s is not loaded", t), Remedy: "modprobe " + module})
		}
	}
	return list
}

// builtIn says whether the kernel has the module without having to load it.
func (h Host) builtIn(module string) bool {
	release := line(h.at("/proc/sys/kernel/osrelease"))
	list, err := read(h.at(filepath.Join("/lib/modules", release, "modules.builtin")))
	return err == nil && bytes.Contains(list, []byte("/"+strings.ReplaceAll(module, "_", "-")+".ko"))
}

// transports are those that the configuration names, and tcp where controllers are discovered.
func transports(c Configuration) []nvme.Transport {
	var list []nvme.Transport
	add := func(t nvme.Transport) {
		if !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	if c.Staf.Zeroconf {
		add(nvme.TCP)
	}
	for _, ctrl := range slices.Concat(c.Staf.Controllers, c.Stac.Controllers) {
		add(ctrl.Transport)
	}
	return list
}

// options checks that this kernel knows the options that the configuration makes use of. Kernels from
// 5.17 list them; earlier ones are not asked.
func (h Host) options(c Configuration) []Finding {
	text, err := read(h.at("/dev/nvme-fabrics"))
	if err != nil || !bytes.Contains(text, []byte("transport")) {
		return nil
	}
	known := make(map[string]bool)
	for word := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		name, _, _ := strings.Cut(word, "=")
		known[strings.TrimSpace(name)] = true
	}
	var list []Finding
	told := make(map[string]bool)
	lacks := func(option, where, remedy string) {
		told[option] = true
		list = append(list, Finding{ID: "kernel-lacks-option", Severity: Error, Where: where, Remedy: remedy,
			What: fmt.Sprintf("this kernel has no option %s, which is configured here; it takes a newer kernel, or one that is built with it", option)})
	}
	want := func(option, where string) {
		if known[option] || told[option] {
			return
		}
		place, remedy := c.Files.mentions(option)
		lacks(option, cmp.Or(place, where), remedy)
	}
	for _, ctrl := range slices.Concat(c.Staf.Controllers, c.Stac.Controllers) {
		for _, option := range used(ctrl.Params, ctrl.HostIface) {
			want(option, ctrl.Where)
		}
	}
	for _, d := range []struct {
		file string
		p    tid.Params
	}{{c.Files.Staf, c.Staf.Defaults}, {c.Files.Stac, c.Stac.Defaults}} {
		for _, option := range used(d.p, "") {
			want(option, d.file)
		}
	}
	if !c.Identity.HostKey.IsZero() && !known["dhchap_secret"] {
		lacks("dhchap_secret", cmp.Or(c.Files.Sys, c.Files.NVMe), "")
	}
	return list
}

func used(p tid.Params, iface string) []string {
	var list []string
	for option := range p.Options() {
		list = append(list, option)
	}
	for option, set := range map[string]bool{
		"host_iface": iface != "", "dhchap_secret": !p.DHCHAPSecret.IsZero(), "dhchap_ctrl_secret": !p.DHCHAPCtrl.IsZero(),
		"tls_key": !p.TLSKey.IsZero(), "keyring": p.Keyring != "",
	} {
		if set {
			list = append(list, option)
		}
	}
	slices.Sort(list)
	return list
}

// bus checks for D-Bus and the policies without which the daemons get no name on it.
func (h Host) bus(Configuration) []Finding {
	if !h.exists("/run/dbus/system_bus_socket") {
		return []Finding{{ID: "no-system-bus", Severity: Error, Where: "/run/dbus/system_bus_socket",
			What: "the system bus does not run; stafd and stacd cannot talk to each other", Remedy: "systemctl enable --now dbus.socket"}}
	}
	var list []Finding
	for _, name := range []string{"org.nvmexpress.staf", "org.nvmexpress.stac"} {
		if !h.exists("/usr/share/dbus-1/system.d/"+name+".conf") && !h.exists("/etc/dbus-1/system.d/"+name+".conf") {
			list = append(list, Finding{ID: "no-bus-policy", Severity: Error, Where: name,
				What: "there is no D-Bus policy for this name, so its daemon cannot take it; install stas again"})
		}
	}
	return list
}

func (h Host) avahi(c Configuration) []Finding {
	if !c.Staf.Zeroconf || h.exists("/run/avahi-daemon/socket") {
		return nil
	}
	return []Finding{{ID: "no-avahi", Severity: Warning, Where: "avahi-daemon",
		What:   "zeroconf is enabled and the Avahi daemon does not run; no discovery controller is found by mDNS",
		Remedy: "systemctl enable --now avahi-daemon"}}
}

// clock finds a clock that was never set: certificates, tickets and logs make no sense with it.
func (h Host) clock(Configuration) []Finding {
	if now := h.Now(); now.Year() < 2024 {
		return []Finding{{ID: "clock-not-set", Severity: Warning, Where: now.Format(time.RFC3339),
			What: "the clock of this host is not set", Remedy: "timedatectl set-ntp true"}}
	}
	return nil
}

// hostIDs finds live connections that the kernel could not keep apart from ours: it takes
// one host ID for one host NQN only (since 6.5).
func (h Host) hostIDs(c Configuration) []Finding {
	var list []Finding
	devices, _ := filepath.Glob(h.at("/sys/class/nvme/nvme*"))
	hosts := []tid.Host{c.Identity.Host}
	for _, ctrl := range slices.Concat(c.Staf.Controllers, c.Stac.Controllers) {
		if !slices.Contains(hosts, ctrl.Scope.Host) {
			hosts = append(hosts, ctrl.Scope.Host)
		}
	}
	for _, dev := range devices {
		nqn, id := line(filepath.Join(dev, "hostnqn")), line(filepath.Join(dev, "hostid"))
		for _, own := range hosts {
			if own.NQN == "" || nqn == "" || id == "" || (nqn == own.NQN) == strings.EqualFold(id, own.ID) {
				continue
			}
			list = append(list, Finding{ID: "mixed-identity", Severity: Error, Where: filepath.Base(dev),
				What: fmt.Sprintf("this connection has host NQN %s and host ID %s, and the configuration pairs %s with %s; kernels from 6.5 refuse such connections beside each other: configure the pair of this connection, or end it once nothing uses it",
					nqn, id, own.NQN, own.ID)})
		}
	}
	return list
}

// leftovers finds what earlier versions left behind.
func (h Host) leftovers(Configuration) []Finding {
	const rule = "/run/udev/rules.d/70-nvmf-autoconnect.rules"
	if !h.exists(rule) {
		return nil
	}
	return []Finding{{ID: "stale-udev-rule", Severity: Warning, Where: rule,
		What:   "a leftover of nvme-stas 2.x switches off nvme-cli's rule for the whole host",
		Remedy: "rm " + quote(h.at(rule)) + " && udevadm control --reload"}}
}

// discoverd finds a second browser for the same announcements.
func (h Host) discoverd(c Configuration) []Finding {
	if !c.Staf.Zeroconf {
		return nil
	}
	for _, path := range []string{"/etc/nvme/nvme-discoverd.conf", "/etc/nvme/discoverd.conf"} {
		value, err := config.KeyOf(h.at(path), "Global", "zeroconf")
		if err == nil && slices.Contains([]string{"true", "yes", "on", "1", "enabled"}, strings.ToLower(value)) {
			return []Finding{{ID: "two-mdns-browsers", Severity: Warning, Where: path,
				What:   "nvme-discoverd and stafd are both set to find discovery controllers by mDNS; one of them is enough, and stafd also registers and keeps up with changes",
				Remedy: fmt.Sprintf(`sed -i 's/^\([ \t]*zeroconf[ \t]*=\).*/\1 false/I' %s`, quote(h.at(path)))}}
		}
	}
	return nil
}

func read(path string) ([]byte, error) { return machine.Read(path, maxFile) }

// maxFile bounds what is read of one file: configuration files are not longer.
const maxFile = 16 << 20

func line(path string) string {
	text, err := read(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func number(path string) (int, error) {
	v, err := strconv.Atoi(line(path))
	if err != nil {
		return 0, fs.ErrNotExist
	}
	return v, nil
}

// quote makes s one word for a shell.
func quote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
