package uevent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inNamespace runs f on a thread that has network and mounts of its own, and a
// /sys of that network. The thread ends with f.
func inNamespace(t *testing.T, f func(t *testing.T, sys string)) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	sys := t.TempDir()
	var skip error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread goes with its namespaces
		skip = unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS)
		if skip == nil {
			skip = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if skip == nil {
			skip = unix.Mount("sysfs", sys, "sysfs", 0, "")
		}
		if skip == nil {
			f(t, sys)
		}
	}()
	<-done
	if skip != nil {
		t.Skipf("no namespaces here: %v", skip)
	}
}

func open(t *testing.T, opt Options) *Monitor {
	t.Helper()
	m, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// trigger makes the kernel send an event for the loopback interface of the namespace.
func trigger(t *testing.T, sys string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(sys, "class/net/lo/uevent"), []byte("change"), 0); err != nil {
		t.Errorf("no event can be made: %v", err)
		runtime.Goexit()
	}
}

func TestReceiveFromKernel(t *testing.T) {
	inNamespace(t, func(t *testing.T, sys string) {
		m := open(t, Options{Subsystems: []string{"nvme", "net"}})
		trigger(t, sys)
		e, err := m.Receive()
		if err != nil || e.Action != "change" || e.Subsystem != "net" || e.Get("INTERFACE") != "lo" || e.Seqnum == 0 {
			t.Errorf("Receive = %+v, %v", e, err)
		}
	})
}

func TestOverflowIsTold(t *testing.T) {
	inNamespace(t, func(t *testing.T, sys string) {
		m := open(t, Options{Subsystems: []string{"net"}, Buffer: 4096})
		for range 200 {
			trigger(t, sys)
		}
		events := 0
		for {
			_, err := m.Receive()
			if errors.Is(err, ErrOverflow) {
				break
			}
			if err != nil {
				t.Error(err)
				return
			}
			if events++; events > 200 {
				t.Error("the overflow was not told")
				return
			}
		}
		// The socket works on: what comes after the overflow arrives. First the queue is emptied.
		if err := m.conn.Control(func(fd uintptr) {
			for n := 1; n > 0; {
				n, _, _ = unix.Recvfrom(int(fd), m.buf, unix.MSG_DONTWAIT)
			}
		}); err != nil {
			t.Error(err)
		}
		trigger(t, sys)
		if e, err := m.Receive(); err != nil || e.Subsystem != "net" {
			t.Errorf("after an overflow: Receive = %+v, %v", e, err)
		}
	})
}

// send sends msg to a group as root, which in the kernel's group must not be believed.
func send(t *testing.T, group Group, msg []byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: uint32(group)}); err != nil {
		t.Error(err)
		runtime.Goexit()
	}
}

func TestForgedEventIsPassedOver(t *testing.T) {
	inNamespace(t, func(t *testing.T, sys string) {
		m := open(t, Options{})
		send(t, Kernel, aen)
		trigger(t, sys)
		for {
			e, err := m.Receive()
			if err != nil || e.Subsystem == "nvme" {
				t.Errorf("Receive = %+v, %v; want the kernel's event", e, err)
			}
			if err != nil || e.Subsystem == "net" { // others of the host, such as of a module, come to every network
				break
			}
		}
	})
}

func TestReceiveFromUdev(t *testing.T) {
	inNamespace(t, func(t *testing.T, _ string) {
		m := open(t, Options{Group: Udev})
		send(t, Udev, []byte("garbage"))
		send(t, Udev, make([]byte, 100))
		send(t, Udev, udevMessage(kernelMessage("ACTION=add", "DEVPATH=/devices/x", "DEVNAME=/dev/nvme1"), nil))
		if e, err := m.Receive(); err != nil || e.DevName != "nvme1" {
			t.Errorf("Receive = %+v, %v", e, err)
		}
	})
}

func TestTooLongMessageIsALostOne(t *testing.T) {
	inNamespace(t, func(t *testing.T, _ string) {
		m := open(t, Options{Group: Udev})
		send(t, Udev, udevMessage(make([]byte, messageSize), nil))
		if _, err := m.Receive(); !errors.Is(err, ErrOverflow) {
			t.Errorf("Receive = %v, want ErrOverflow", err)
		}
	})
}

func TestCloseEndsReceive(t *testing.T) {
	m := open(t, Options{Subsystems: []string{"no such subsystem"}})
	result := make(chan error)
	go func() {
		_, err := m.Receive()
		result <- err
	}()
	time.Sleep(time.Millisecond) // most runs then close under a waiting Receive; the result is the same
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; !errors.Is(err, ErrClosed) || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Receive = %v, want ErrClosed", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := m.Receive(); !errors.Is(err, ErrClosed) {
		t.Errorf("Receive after Close = %v, want ErrClosed", err)
	}
}

func TestCloseFreesDescriptors(t *testing.T) {
	before := descriptors(t)
	for range 50 {
		m := open(t, Options{})
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := descriptors(t); after > before+5 {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}
