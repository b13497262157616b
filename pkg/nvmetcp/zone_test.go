package nvmetcp

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestProbeThroughAnInterfaceMadeAnew: a VLAN that is made again has its old name and another index, and what is
// reached through it by a link-local address is reached at once.
func TestProbeThroughAnInterfaceMadeAnew(t *testing.T) {
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("interfaces need root and ip(8)")
	}
	ip := func(args string) {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			panic(fmt.Sprintf("ip %s: %v: %s", args, err, out))
		}
	}
	up := func(name string) {
		ip("link add " + name + " type veth peer name " + name + "-peer")
		ip("link set " + name + "-peer up")
		ip("link set " + name + " up")
		ip("addr add fe80::5/64 nodad dev " + name)
	}
	done := make(chan any)
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				done <- p
			}
		}()
		runtime.LockOSThread() // and never unlocked: the network goes with the thread
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			done <- nil
			return
		}
		ip("link set lo up")
		up("v0")
		l, err := net.Listen("tcp", "[::]:0")
		if err != nil {
			panic(err)
		}
		defer l.Close()
		addr := netip.AddrPortFrom(netip.MustParseAddr("fe80::5%v0"), l.Addr().(*net.TCPAddr).AddrPort().Port())
		for range 2 {
			for _, iface := range []string{"", "v0"} {
				if err := Probe(t.Context(), ProbeTarget{Endpoint: Endpoint{Addr: addr, HostIface: iface, HostTraddr: addr.Addr()}, TCPOnly: true}); err != nil {
					t.Errorf("through interface %q: %v", iface, err)
				}
			}
			ip("link del v0")
			up("v1")
			ip("link del v1")
			up("v0")
		}
	}()
	if p, more := <-done; p != nil {
		t.Fatal(p)
	} else if more {
		t.Skip("no namespaces here")
	}
}
