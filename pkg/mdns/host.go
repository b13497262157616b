package mdns

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// membershipsFile bounds the IPv4 multicast groups that one socket may join; Avahi joins its
// group once per interface on one socket (Linux, Documentation/networking/ip-sysctl.rst).
const membershipsFile = "/proc/sys/net/ipv4/igmp_max_memberships"

// hostWarnings tells what keeps Avahi on this host from hearing announcements.
func hostWarnings() []string {
	data, err := os.ReadFile(membershipsFile)
	if err != nil {
		return nil // a kernel without IPv4 multicast has no such limit
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return nil
	}
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	n := 0
	for _, i := range ifaces {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagLoopback == 0 {
			n++
		}
	}
	return membershipWarning(n, limit)
}

func membershipWarning(ifaces, limit int) []string {
	if ifaces <= limit {
		return nil
	}
	return []string{fmt.Sprintf("%d interfaces can do multicast but net.ipv4.igmp_max_memberships is %d: Avahi hears nothing on the others", ifaces, limit)}
}
