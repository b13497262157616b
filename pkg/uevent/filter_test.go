package uevent

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// what the filter makes of messages, as the kernel runs it: on a socket that anybody may send to.
func TestFilter(t *testing.T) {
	paths := []string{"/devices/virtual/nvme-fabrics/", "/devices/virtual/fc/", "/devices/virtual/misc/nvme-fabrics"}
	program, err := filter(paths, []string{"add@/devices/virtual/nvme-fabrics/ctl/", "bind@/devices/virtual/fc/"})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := attach(pair[1], program); err != nil {
		t.Fatal(err)
	}
	rest := "\x00ACTION=x\x00DEVPATH=/x\x00SUBSYSTEM=nvme\x00SEQNUM=1\x00" + strings.Repeat("K=v\x00", 40)
	cases := map[string]bool{
		string(aen): true, string(udevMessage([]byte(rest), nil)): true,
		"": true, "@": true, "add@": true, "add@/devices": true, strings.Repeat("x", 300): true, strings.Repeat("x", 300) + "@/devices/virtual/net/lo": true,
		"a@/devices/virtual/net/lo" + rest: true, "hibernate@/devices/virtual/net/lo" + rest: true,
	}
	for _, action := range []string{"add", "remove", "change", "move", "online", "offline", "bind", "unbind"} {
		for path, passes := range map[string]bool{
			"/devices/virtual/nvme-fabrics/ctl/nvme3": true, "/devices/virtual/nvme-fabrics/ctl": true, "/devices/virtual/fc/fc_udev_device": true,
			"/devices/virtual/misc/nvme-fabrics": true,
			"/devices/virtual/misc/nvme-fabric":  false, "/devices/virtual/misc/fuse": false, "/devices/virtual/nvme-fabrics": false,
			"/devices/virtual/nvme-subsystem/nvme-subsys0": false, "/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1": false,
			"/devices/virtual/net/lo": false, "/devices/pci0000:00/0000:00:04.0/nvme/nvme0": false, "/devices/virtual/fc_host/host3": false, "/": false,
			"/x/devices/virtual/fc/": false,
		} {
			needless := action == "add" && strings.HasSuffix(path, "ctl/nvme3") || action == "bind" && strings.HasPrefix(path, "/devices/virtual/fc/")
			cases[action+"@"+path+rest] = passes && !needless
		}
	}
	for message, passes := range cases {
		if err := unix.Send(pair[0], []byte(message), 0); err != nil && message != "" {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		n, err := unix.Read(pair[1], buf)
		if (err == nil) != passes || passes && string(buf[:n]) != message {
			t.Errorf("%.60q: %d bytes, %v; should pass: %v", message, n, err, passes)
		}
	}
	for _, p := range []string{"", strings.Repeat("/", maxPrefix+1)} {
		if _, err := filter([]string{p}, nil); err == nil {
			t.Errorf("a path of %d bytes is taken", len(p))
		}
		if _, err := filter([]string{"/a"}, []string{p}); err == nil {
			t.Errorf("%d bytes are taken for needless", len(p))
		}
	}
	if _, err := filter([]string{strings.Repeat("/abc", maxPrefix/4), "/a"}, []string{strings.Repeat("add@", maxPrefix/4)}); err != nil {
		t.Error(err)
	}
}

// What does not concern the reader takes no room in its buffer: no overflow, and nothing between what does.
func TestFilteredEventsTakeNoRoom(t *testing.T) {
	inNamespace(t, func(t *testing.T, sys string) {
		deaf := open(t, Options{Buffer: 4096, Paths: []string{"/devices/virtual/nvme-fabrics/"}})
		hears := open(t, Options{Paths: []string{"/devices/virtual/nvme-fabrics/", "/devices/virtual/net/lo"}})
		for range 200 {
			trigger(t, sys)
		}
		for n := range 200 {
			if e, err := hears.Receive(); err != nil || e.DevPath != "/devices/virtual/net/lo" {
				t.Errorf("event %d: %+v, %v", n, e, err)
				return
			}
		}
		if err := deaf.conn.Control(func(fd uintptr) {
			if n, _, err := unix.Recvfrom(int(fd), deaf.buf, unix.MSG_DONTWAIT); err != unix.EAGAIN {
				t.Errorf("%d bytes, %v; want nothing", n, err)
			}
		}); err != nil {
			t.Error(err)
		}
	})
}
