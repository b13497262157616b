package fabric

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BlackHoles are n addresses that swallow every packet: a connect to one ends with the sender's own timeout only.
// They lie behind an interface of their own, with neighbours that do not exist but are known.
func BlackHoles(t testing.TB, n int) []string {
	t.Helper()
	if n < 1 || n > 250 {
		t.Fatalf("cannot make %d black holes, 1 to 250", n)
	}
	const link = "stas-hole"
	Run(t, "ip", "link", "add", link, "type", "dummy")
	Run(t, "ip", "addr", "add", "198.18.0.254/24", "dev", link)
	Run(t, "ip", "link", "set", link, "up")
	var all []string
	for i := range n {
		address := fmt.Sprintf("198.18.0.%d", i+1)
		Run(t, "ip", "neigh", "replace", address, "lladdr", fmt.Sprintf("02:00:00:00:01:%02x", i+1), "dev", link, "nud", "permanent")
		all = append(all, address)
	}
	return all
}

// Dummy makes an interface (stas-d0 or stas-d1) with an address such as 198.19.0.1/24, up.
func Dummy(t testing.TB, link, address string) {
	t.Helper()
	Run(t, "ip", "link", "add", link, "type", "dummy")
	Run(t, "ip", "addr", "add", address, "dev", link, "nodad")
	Run(t, "ip", "link", "set", link, "up")
}

// RDMA makes a port of transport rdma on a software device (rdma_rxe) over a veth pair.
func RDMA(t testing.TB, service string) *Port {
	t.Helper()
	modprobe(t, "rdma_rxe", "nvme-rdma", "nvmet-rdma", "rdma_ucm")
	Run(t, "ip", "link", "add", "stas-v0", "type", "veth", "peer", "name", "stas-v1")
	Run(t, "ip", "link", "set", "stas-v0", "up")
	Run(t, "ip", "link", "set", "stas-v1", "up")
	Run(t, "ip", "addr", "add", "198.19.1.1/24", "dev", "stas-v0")
	Run(t, "rdma", "link", "add", "stas-rxe0", "type", "rxe", "netdev", "stas-v0")
	return NewPort(t, PortOptions{Transport: "rdma", Address: "198.19.1.1", Service: service})
}

// Names of the two ends of the Fibre Channel link.
const (
	fcHost   = "wwnn=0x20001100ab000001,wwpn=0x20001100ab000002"
	fcTarget = "wwnn=0x20001100aa000001,wwpn=0x20001100aa000002"
	fcloop   = "/sys/class/fcloop/ctl"
	// FCHostAddress and FCAddress are the two ends as host_traddr and traddr.
	FCHostAddress = "nn-0x20001100ab000001:pn-0x20001100ab000002"
	FCAddress     = "nn-0x20001100aa000001:pn-0x20001100aa000002"
)

// FC makes a port of transport fc on a simulated link (nvme-fcloop). The host sees it when FCLink is called.
func FC(t testing.TB) *Port {
	t.Helper()
	modprobe(t, "nvme-fc", "nvmet-fc", "nvme-fcloop")
	write(t, fcloop+"/add_local_port", fcHost)
	write(t, fcloop+"/add_target_port", fcTarget)
	return NewPort(t, PortOptions{Transport: "fc", Family: "fc", Address: FCAddress, Service: "none"})
}

// FCLink plugs the host in: it sees a port that is target and discovery service. The kernel says so in a uevent at once.
func FCLink(t testing.TB) {
	t.Helper()
	write(t, fcloop+"/add_remote_port", fcTarget+",lpwwnn=0x20001100ab000001,lpwwpn=0x20001100ab000002,roles=0x60")
}

// FCUnlink pulls the cable.
func FCUnlink(t testing.TB) {
	t.Helper()
	write(t, fcloop+"/del_remote_port", fcTarget)
}

// removeFC takes the simulated link apart, as far as it is there.
func removeFC() error {
	if _, err := os.Stat(fcloop); err != nil {
		return nil
	}
	_ = put(filepath.Join(fcloop, "del_remote_port"), fcTarget)
	_ = put(filepath.Join(fcloop, "del_target_port"), fcTarget)
	_ = put(filepath.Join(fcloop, "del_local_port"), fcHost)
	return nil
}
