package netif

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inNamespace runs f on a thread with a network of its own, which goes with the thread.
func inNamespace(t *testing.T, f func() error) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	var skip, err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		if skip = unix.Unshare(unix.CLONE_NEWNET); skip == nil {
			err = f()
		}
	}()
	<-done
	if skip != nil {
		t.Skipf("no namespaces here: %v", skip)
	}
	if err != nil {
		t.Error(err)
	}
}

// change sends one rtnetlink request and reads its acknowledgement.
func change(kind, flags uint16, body []byte) error {
	fd, err := dial(0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, packet(kind, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags, 1, body), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return err
	}
	m, _, err := split(buf[:n])
	if err != nil {
		return err
	}
	return errorIn(m.body)
}

func makeLink(name, kind string, parent uint32, data []byte) error {
	info := attr(unix.IFLA_INFO_KIND, []byte(kind))
	if data != nil {
		info = append(info, attr(unix.IFLA_INFO_DATA, data)...)
	}
	attrs := join(attr(unix.IFLA_IFNAME, []byte(name+"\x00")), attr(unix.IFLA_LINKINFO, info))
	if parent != 0 {
		attrs = append(attrs, attr(unix.IFLA_LINK, u32(parent))...)
	}
	return change(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, link(0, 0, attrs))
}

func setUp(index int) error {
	b := link(uint32(index), unix.IFF_UP)
	copy(b[12:], u32(unix.IFF_UP)) // which flags are meant
	return change(unix.RTM_NEWLINK, 0, b)
}

func addAddress(index int, addr string, bits byte) error {
	a := netip.MustParseAddr(addr)
	family := byte(unix.AF_INET)
	if a.Is6() {
		family = unix.AF_INET6
	}
	return change(unix.RTM_NEWADDR, unix.NLM_F_CREATE, address(family, bits, 0, uint32(index), attr(unix.IFA_LOCAL, a.AsSlice()), attr(unix.IFA_ADDRESS, a.AsSlice())))
}

// makePair makes the interfaces v0 and its peer, up, with a link between them.
func makePair() (v0 Interface, err error) {
	if err := makeLink("v0", "veth", 0, nil); err != nil {
		return v0, fmt.Errorf("cannot make a pair of interfaces: %w", err)
	}
	table, err := Read()
	if err != nil {
		return v0, err
	}
	for _, l := range table.Interfaces() {
		if err := setUp(l.Index); err != nil {
			return v0, err
		}
	}
	v0, ok := table.ByName("v0")
	if !ok || v0.Kind != "veth" || v0.Up || len(v0.MAC) != 6 || v0.Parent == 0 {
		return v0, fmt.Errorf("v0 is %+v", v0)
	}
	return v0, nil
}

func TestReadHost(t *testing.T) {
	inNamespace(t, func() error {
		before, err := Read()
		if err != nil {
			return err
		}
		v0, err := makePair()
		if err != nil {
			return err
		}
		for addr, bits := range map[string]byte{"192.0.2.1": 24, "2001:db8::1": 64} {
			if err := addAddress(v0.Index, addr, bits); err != nil {
				return err
			}
		}
		after, err := Read()
		if err != nil {
			return err
		}
		for _, a := range []string{"192.0.2.1", "2001:db8::1"} {
			if got := after.InterfaceOf(netip.MustParseAddr(a)); got != "v0" {
				return fmt.Errorf("%s is on %q", a, got)
			}
		}
		if l, ok := after.ByMAC(v0.MAC, 0); !ok || l.Name != "v0" || !l.Up || !l.Lower {
			return fmt.Errorf("by hardware address: %+v", l)
		}
		if !after.Gained(before) || before.Gained(after) || after.Gained(after) {
			return fmt.Errorf("Gained does not tell the tables apart")
		}
		return nil
	})
}

func TestVLAN(t *testing.T) {
	var skip error
	inNamespace(t, func() error {
		v0, err := makePair()
		if err != nil {
			return err
		}
		if skip = makeLink("v0.42", "vlan", uint32(v0.Index), attr(unix.IFLA_VLAN_ID, []byte{42, 0})); skip != nil {
			return nil
		}
		table, err := Read()
		if err != nil {
			return err
		}
		if l, ok := table.ByMAC(v0.MAC, 42); !ok || l.Name != "v0.42" || l.Parent != v0.Index {
			return fmt.Errorf("VLAN 42 is %+v", l)
		}
		return nil
	})
	if skip != nil {
		t.Skipf("no VLAN interfaces here: %v", skip)
	}
}

func TestManyInterfaces(t *testing.T) {
	inNamespace(t, func() error {
		const count = 300
		for i := range count {
			if err := makeLink(fmt.Sprintf("b%d", i), "bridge", 0, nil); err != nil {
				return err
			}
		}
		table, err := Read()
		if err != nil {
			return err
		}
		for i, l := range table.Interfaces() {
			if err := addAddress(l.Index, fmt.Sprintf("10.1.%d.%d", i>>8, i&255), 32); err != nil {
				return err
			}
		}
		if table, err = Read(); err != nil {
			return err
		}
		if l, a := len(table.Interfaces()), len(table.Addresses()); l < count+1 || a < count+1 {
			return fmt.Errorf("%d interfaces and %d addresses", l, a)
		}
		return nil
	})
}

func TestWatchTellsOfAddresses(t *testing.T) {
	t.Parallel()
	inNamespace(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		changed, err := Watch(ctx)
		if err != nil {
			return err
		}
		v0, err := makePair()
		if err != nil {
			return err
		}
		// Duplicate detection takes its time, and its end is told. Where the machine stands still before the first look it is through by then.
		for n, tentative := 1, false; !tentative; n++ {
			addr, began := fmt.Sprintf("2001:db8::%d", n), time.Now()
			if err := addAddress(v0.Index, addr, 64); err != nil {
				return err
			}
			for {
				table, err := Read()
				if err != nil {
					return err
				}
				if table.Usable(netip.MustParseAddr(addr)) {
					break
				}
				tentative = true
				if _, ok := <-changed; !ok {
					return fmt.Errorf("the watch ended before the address was usable")
				}
			}
			if !tentative && time.Since(began) < 900*time.Millisecond { // it takes a second (RETRANS_TIMER, RFC 4861)
				return fmt.Errorf("the address was usable before duplicate detection was through")
			}
		}
		cancel()
		for range changed { // closed once the watch has ended
		}
		return nil
	})
}

func BenchmarkRead(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(); err != nil {
			b.Fatal(err)
		}
	}
}
