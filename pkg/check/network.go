package check

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
)

// multicast counts the interfaces on which Avahi joins the mDNS group, which it does where it finds an
// address: beyond the kernel's limit per socket (net.ipv4.igmp_max_memberships) it hears nothing on the rest.
func (h Host) multicast(c Configuration) []Finding {
	const knob = "/proc/sys/net/ipv4/igmp_max_memberships"
	limit, err := number(h.at(knob))
	if err != nil || !c.Staf.Zeroconf || h.Interfaces == nil {
		return nil
	}
	list, err := h.Interfaces()
	if err != nil {
		return nil
	}
	count := 0
	for _, i := range list {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagLoopback == 0 && h.HasIPv4(i) {
			count++
		}
	}
	if count <= limit {
		return nil
	}
	return []Finding{{ID: "too-many-interfaces", Severity: Warning, Where: knob,
		What:   fmt.Sprintf("%d interfaces can receive announcements and the kernel lets Avahi listen on %d", count, limit),
		Remedy: fmt.Sprintf("sysctl -w net.ipv4.igmp_max_memberships=%d && systemctl restart avahi-daemon", count*2)}}
}

func hasIPv4(i net.Interface) bool {
	addresses, _ := i.Addrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			return true
		}
	}
	return false
}

// firewall gives a hint where firewalld runs and no zone of the administrator's lets mDNS in.
// Other firewalls are not looked into.
func (h Host) firewall(c Configuration) []Finding {
	if !c.Staf.Zeroconf || !h.exists("/run/firewalld.pid") && !h.exists("/run/firewalld") {
		return nil
	}
	zones, _ := filepath.Glob(h.at("/etc/firewalld/zones/*.xml"))
	for _, zone := range zones {
		text, err := read(zone)
		if err == nil && bytes.Contains(text, []byte(`service name="mdns"`)) {
			return nil
		}
	}
	return []Finding{{ID: "firewall-mdns", Severity: Warning, Where: "firewalld",
		What:   "no zone that was changed on this host lets mDNS in; where the default zone does not either, no discovery controller is found by mDNS",
		Remedy: "firewall-cmd --permanent --add-service=mdns && firewall-cmd --reload"}}
}
