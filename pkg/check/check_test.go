package check

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tree makes files below a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	uuid  = "f8e78f19-a131-45ab-b1f6-3a4fc8e093ea"
	other = "11111111-2222-3333-4444-555555555555"
	nqn   = "nqn.2014-08.org.nvmexpress:uuid:" + uuid
)

// healthy is a host where everything is as it should be.
func healthy() map[string]string {
	return map[string]string{
		"etc/stas/stafd.conf":        "",
		"etc/stas/stacd.conf":        "",
		"etc/nvme/hostnqn":           nqn,
		"etc/nvme/hostid":            uuid,
		"dev/nvme-fabrics":           "instance=-1,cntlid=-1,transport=%s,traddr=%s,host_iface=%s,keep_alive_tmo=%d,hdr_digest,dhchap_secret=%s",
		"sys/module/nvme_tcp/x":      "",
		"run/dbus/system_bus_socket": "",
		"usr/share/dbus-1/system.d/org.nvmexpress.staf.conf": "",
		"etc/dbus-1/system.d/org.nvmexpress.stac.conf":       "",
		"run/avahi-daemon/socket":                            "",
		"proc/sys/net/ipv4/igmp_max_memberships":             "2\n",
		"proc/sys/kernel/osrelease":                          "6.12.0\n",
		"lib/modules/6.12.0/modules.builtin":                 "kernel/drivers/nvme/host/nvme-fc.ko\n",
	}
}

func filesBelow(root string) Files {
	return Files{Root: root, Staf: root + "/etc/stas/stafd.conf", Stac: root + "/etc/stas/stacd.conf", Sys: root + "/etc/stas/sys.conf",
		Fabrics: root + "/etc/nvme/nvme-stas.conf", NVMe: root + "/etc/nvme", Exclusions: root + "/etc/nvme/exclusions.conf", ExclusionDropIns: root + "/etc/nvme/exclusions.conf.d"}
}

func look(root string, interfaces ...net.Interface) []Finding {
	c, list := Configured(filesBelow(root))
	h := Host{Root: root, Interfaces: func() ([]net.Interface, error) { return interfaces, nil },
		HasIPv4: func(i net.Interface) bool { return !strings.HasPrefix(i.Name, "veth") },
		Now:     func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }}
	return Sorted(append(list, h.Look(c)...))
}

func TestHealthyHost(t *testing.T) {
	up := net.Interface{Flags: net.FlagUp | net.FlagMulticast}
	if got := look(tree(t, healthy()), up, up, net.Interface{Flags: net.FlagUp | net.FlagMulticast | net.FlagLoopback}, net.Interface{},
		net.Interface{Name: "veth0", Flags: up.Flags}, net.Interface{Name: "veth1", Flags: up.Flags}); got != nil {
		t.Errorf("findings on a healthy host: %+v", got)
	}
}

func TestFindings(t *testing.T) {
	const line = "[Controllers]\ncontroller=transport=%;traddr=192.0.2.1;nqn=nqn.2014-08.org.example:a"
	up := net.Interface{Flags: net.FlagUp | net.FlagMulticast}
	run := newRemedies(t)
	for id, c := range map[string]struct {
		put      map[string]string
		remove   []string
		where    string
		what     string
		remedy   string
		severity string
	}{
		"no-fabrics-device":   {remove: []string{"dev/nvme-fabrics"}, where: "/dev/nvme-fabrics", remedy: "modprobe nvme_fabrics", severity: Error},
		"no-transport-module": {put: map[string]string{"etc/stas/stacd.conf": strings.Replace(line, "%", "rdma", 1)}, where: "nvme_rdma", remedy: "modprobe nvme_rdma", severity: Error},
		"kernel-lacks-option": {put: map[string]string{"etc/stas/stacd.conf": strings.Replace(line, "%", "tcp", 1) + ";tos=3"}, where: "stacd.conf:2", what: "no option tos", remedy: "sed ", severity: Error},
		"no-system-bus":       {remove: []string{"run/dbus/system_bus_socket"}, remedy: "systemctl enable --now dbus.socket", severity: Error},
		"no-bus-policy":       {remove: []string{"etc/dbus-1/system.d/org.nvmexpress.stac.conf"}, where: "org.nvmexpress.stac", severity: Error},
		"no-avahi":            {remove: []string{"run/avahi-daemon/socket"}, remedy: "systemctl enable --now avahi-daemon", severity: Warning},
		"too-many-interfaces": {put: map[string]string{"proc/sys/net/ipv4/igmp_max_memberships": "1"}, what: "2 interfaces can receive announcements and the kernel lets Avahi listen on 1", remedy: "sysctl -w net.ipv4.igmp_max_memberships=4", severity: Warning},
		"firewall-mdns":       {put: map[string]string{"run/firewalld/x": "", "etc/firewalld/zones/public.xml": "<zone/>"}, remedy: "firewall-cmd", severity: Warning},
		"mixed-identity":      {put: map[string]string{"sys/class/nvme/nvme0/hostnqn": nqn, "sys/class/nvme/nvme0/hostid": other}, where: "nvme0", severity: Error},
		"stale-udev-rule":     {put: map[string]string{"run/udev/rules.d/70-nvmf-autoconnect.rules": ""}, remedy: "rm ", severity: Warning},
		"two-mdns-browsers":   {put: map[string]string{"etc/nvme/nvme-discoverd.conf": "[Global]\nzeroconf = true\n"}, severity: Warning},
		"no-identity":         {remove: []string{"etc/nvme/hostnqn"}, remedy: "stasadm --root ", severity: Error},
		"shared-host-id":      {put: map[string]string{"etc/stas/sys.conf": "[Host]\nnqn=nqn.2014-08.org.example:other\n"}, where: "sys.conf:2", remedy: "stasadm --root ", severity: Warning},
		"unknown-key":         {put: map[string]string{"etc/stas/stafd.conf": "[Global]\nfoo=1\n"}, where: "stafd.conf:2", what: "[Global] foo: unknown key", remedy: "sed ", severity: Error},
		"unusable-file":       {put: map[string]string{"etc/nvme/nvme-stas.conf": "junk\n"}, where: "nvme-stas.conf:1", remedy: "sed ", severity: Error},
		"exclusion-bad-entry": {put: map[string]string{"etc/nvme/exclusions.conf": "[exclusions]\nexclusion=x\n"}, where: "exclusions.conf:2", remedy: "sed ", severity: Error},
	} {
		t.Run(id, func(t *testing.T) {
			files := healthy()
			for name, text := range c.put {
				files[name] = text
			}
			for _, name := range c.remove {
				delete(files, name)
			}
			root := tree(t, files)
			list := look(root, up, up)
			i := slices.IndexFunc(list, func(f Finding) bool { return f.ID == id })
			if i < 0 {
				t.Fatalf("not found, but %+v", list)
			}
			f := list[i]
			if !strings.HasSuffix(f.Where, c.where) || !strings.Contains(f.What, c.what) || !strings.HasPrefix(f.Remedy, c.remedy) || f.Severity != c.severity {
				t.Errorf("%+v", f)
			}
			if len(list) != 1 && id != "unusable-file" {
				t.Errorf("and besides %+v", list)
			}
			run.gone(t, root, f, func() []Finding { return look(root, up, up) })
		})
	}
}

func TestBuiltInModuleIsThere(t *testing.T) {
	files := healthy()
	files["etc/stas/stacd.conf"] = "[Controllers]\ncontroller=transport=fc;traddr=nn-0x1:pn-0x2;nqn=nqn.2014-08.org.example:a"
	if got := look(tree(t, files)); got != nil {
		t.Errorf("%+v", got)
	}
}

func TestClock(t *testing.T) {
	h := Host{Now: func() time.Time { return time.Unix(0, 0) }}
	if got := h.clock(Configuration{}); len(got) != 1 || got[0].ID != "clock-not-set" {
		t.Errorf("%+v", got)
	}
}

// TestManualListsEveryID checks the identifiers in the source against stasadm(1).
func TestManualListsEveryID(t *testing.T) {
	page, err := os.ReadFile("../../man/stasadm.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range allIDs(t) {
		if !strings.Contains(string(page), "\n.It Cm "+id+"\n") {
			t.Errorf("stasadm(1) does not list %s", id)
		}
	}
}

// allIDs are the identifiers of findings, as the source has them.
func allIDs(t *testing.T) []string {
	t.Helper()
	var ids []string
	for file, pattern := range map[string]string{
		"../config/remedy.go": `ID = "([a-z-]+)"`, "host.go": `ID: "([a-z-]+)"`, "network.go": `ID: "([a-z-]+)"`, "finding.go": `ID: "(no-[a-z-]+)"`,
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			ids = append(ids, m[1])
		}
	}
	for _, kind := range exclusionKinds {
		ids = append(ids, "exclusion-"+kind)
	}
	if len(ids) < 35 {
		t.Errorf("only %d identifiers found in the source", len(ids))
	}
	return ids
}

// TestOddFilesHoldNobodyUp puts what is read without an end, and nothing comes, in the place of every file that is looked into.
func TestOddFilesHoldNobodyUp(t *testing.T) {
	files := healthy()
	files["etc/stas/stacd.conf"] = "[Controllers]\ncontroller=transport=fc;traddr=nn-0x1:pn-0x2;nqn=nqn.2014-08.org.example:a;tos=3"
	files["run/firewalld/x"] = ""
	for _, odd := range []string{
		"etc/stas/stafd.conf", "etc/stas/stafd.conf.d", "etc/stas/stafd.conf.d/a.conf", "etc/stas/sys.conf", "etc/nvme/hostnqn", "etc/nvme/hostkey",
		"etc/nvme/nvme-stas.conf", "etc/nvme/exclusions.conf", "etc/nvme/exclusions.conf.d", "etc/nvme/exclusions.conf.d/a.conf", "etc/nvme/nvme-discoverd.conf",
		"etc/firewalld/zones/a.xml", "lib/modules/6.12.0/modules.builtin", "proc/sys/net/ipv4/igmp_max_memberships", "dev/nvme-fabrics", "sys/class/nvme/nvme0/hostnqn",
	} {
		t.Run(odd, func(t *testing.T) {
			root := tree(t, files)
			path := filepath.Join(root, odd)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			_ = os.Remove(path)
			if err := syscall.Mkfifo(path, 0o644); err != nil {
				t.Fatal(err)
			}
			done := make(chan []Finding)
			go func() { done <- look(root) }()
			select {
			case list := <-done:
				named := slices.ContainsFunc(list, func(f Finding) bool { return strings.HasPrefix(f.Where, path) || strings.Contains(f.What, path) })
				if !named && (strings.HasPrefix(odd, "etc/stas/") || strings.HasPrefix(odd, "etc/nvme/") && !strings.Contains(odd, "discoverd")) {
					t.Errorf("no finding names it: %+v", list)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("it is waited for")
			}
		})
	}
}
