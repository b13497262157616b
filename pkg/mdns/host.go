package mdns

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Files that tell about the host, below a root directory.
const (
	// membershipsFile bounds the IPv4 multicast groups that one socket may join; Avahi joins its
	// group once per interface on one socket (Linux, Documentation/networking/ip-sysctl.rst).
	membershipsFile = "proc/sys/net/ipv4/igmp_max_memberships"
	// discoverdSocket exists while nvme-discoverd, of the nvme-cli project, runs.
	discoverdSocket = "run/nvme/discoverd.socket"
)

// discoverdFiles are where nvme-discoverd has had its settings.
var discoverdFiles = []string{"etc/nvme/nvme-discoverd.conf", "etc/nvme/discoverd.conf"}

// hostWarnings tells what on this host keeps Avahi from hearing announcements, and who else acts on them.
func hostWarnings(root string) []string {
	var list []string
	if limit, err := readInt(filepath.Join(root, membershipsFile)); err == nil { // a kernel without IPv4 multicast has none
		list = append(list, membershipWarning(multicastInterfaces(), limit)...)
	}
	if file := rival(root); file != "" {
		list = append(list, fmt.Sprintf("nvme-discoverd browses by mDNS too (%s): one of stafd and nvme-discoverd should have zeroconf off", file))
	}
	return list
}

func readInt(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}

func multicastInterfaces() int {
	ifaces, err := net.Interfaces()
	if err != nil {
		return 0
	}
	n := 0
	for _, i := range ifaces {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagLoopback == 0 {
			n++
		}
	}
	return n
}

func membershipWarning(ifaces, limit int) []string {
	if ifaces <= limit {
		return nil
	}
	return []string{fmt.Sprintf("%d interfaces can do multicast but net.ipv4.igmp_max_memberships is %d: Avahi hears nothing on the others", ifaces, limit)}
}

// rival returns the file that has a running nvme-discoverd browse as well, if there is one.
func rival(root string) string {
	if _, err := os.Stat(filepath.Join(root, discoverdSocket)); err != nil {
		return ""
	}
	for _, name := range discoverdFiles {
		// What stands in the place of the file must not hold the browser up.
		f, err := os.OpenFile(filepath.Join(root, name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		info, err := f.Stat()
		on := err == nil && info.Mode().IsRegular() && zeroconf(f)
		f.Close()
		if on {
			return "/" + name
		}
	}
	return ""
}

// zeroconf reads "zeroconf" in section [Global] of an INI file; the last one counts.
func zeroconf(r io.Reader) bool {
	on, section := false, ""
	for s := bufio.NewScanner(io.LimitReader(r, 1<<20)); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if strings.HasPrefix(line, "[") {
			section = line
		}
		key, value, _ := strings.Cut(line, "=")
		if section == "[Global]" && strings.TrimSpace(key) == "zeroconf" {
			switch strings.ToLower(strings.TrimSpace(value)) {
			case "true", "yes", "on", "1", "enabled":
				on = true
			default:
				on = false
			}
		}
	}
	return on
}
