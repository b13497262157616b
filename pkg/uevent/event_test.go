package uevent

import (
	"encoding/binary"
	"strings"
	"testing"
)

func kernelMessage(parts ...string) []byte { return []byte(strings.Join(parts, "\x00") + "\x00") }

// aen is a message as Linux 6.12 sends it for a changed discovery log page.
var aen = kernelMessage("change@/devices/virtual/nvme-fabrics/ctl/nvme3", "ACTION=change",
	"DEVPATH=/devices/virtual/nvme-fabrics/ctl/nvme3", "SUBSYSTEM=nvme", "NVME_TRTYPE=tcp", "NVME_TRADDR=192.0.2.1",
	"NVME_TRSVCID=8009", "NVME_HOST_TRADDR=none", "NVME_HOST_IFACE=none", "NVME_AEN=0x70f002", "MAJOR=241", "MINOR=3",
	"DEVNAME=nvme3", "SEQNUM=4711")

func udevMessage(vars []byte, change func(header []byte)) []byte {
	h := make([]byte, udevHeaderSize)
	copy(h, udevPrefix)
	binary.BigEndian.PutUint32(h[8:], udevMagic)
	binary.NativeEndian.PutUint32(h[12:], udevHeaderSize)
	binary.NativeEndian.PutUint32(h[16:], udevHeaderSize)
	binary.NativeEndian.PutUint32(h[20:], uint32(len(vars)))
	if change != nil {
		change(h)
	}
	return append(h, vars...)
}

func TestParseKernel(t *testing.T) {
	e, err := Parse(aen)
	if err != nil {
		t.Fatal(err)
	}
	if e.Action != "change" || e.DevPath != "/devices/virtual/nvme-fabrics/ctl/nvme3" || e.Subsystem != "nvme" || e.DevName != "nvme3" || e.Seqnum != 4711 {
		t.Errorf("Parse = %+v", e)
	}
	for key, want := range map[string]string{"NVME_AEN": "0x70f002", "NVME_TRTYPE": "tcp", "NVME_HOST_IFACE": "none", "NVME": "", "NVME_AEN=": "", "ABSENT": ""} {
		if got := e.Get(key); got != want {
			t.Errorf("Get(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestParseUdev(t *testing.T) {
	vars := kernelMessage("ACTION=add", "DEVPATH=/devices/x", "SUBSYSTEM=block", "DEVNAME=/dev/nvme0n1", "SEQNUM=9")
	e, err := Parse(udevMessage(vars, nil))
	if err != nil {
		t.Fatal(err)
	}
	if e.Action != "add" || e.DevName != "nvme0n1" || e.Seqnum != 9 {
		t.Errorf("Parse = %+v", e)
	}
}

func TestParseRefuses(t *testing.T) {
	vars := kernelMessage("ACTION=add", "DEVPATH=/devices/x")
	for name, msg := range map[string][]byte{
		"empty":            nil,
		"no NUL":           []byte("add@/devices/x"),
		"no at":            kernelMessage("hello", "ACTION=add", "DEVPATH=/x"),
		"no action":        kernelMessage("add@/x", "DEVPATH=/x"),
		"no device":        kernelMessage("add@/x", "ACTION=add"),
		"cut value":        []byte("add@/x\x00ACTION=add\x00DEVPATH=/x"),
		"udev cut header":  udevMessage(nil, nil)[:30],
		"udev magic":       udevMessage(vars, func(h []byte) { h[8] = 0 }),
		"udev offset":      udevMessage(vars, func(h []byte) { binary.NativeEndian.PutUint32(h[16:], 4) }),
		"udev length":      udevMessage(vars, func(h []byte) { binary.NativeEndian.PutUint32(h[20:], 1<<31) }),
		"udev both at max": udevMessage(vars, func(h []byte) { copy(h[16:24], "\xff\xff\xff\xff\xff\xff\xff\xff") }),
	} {
		if e, err := Parse(msg); err == nil {
			t.Errorf("%s: Parse = %+v, want an error", name, e)
		}
	}
}

func TestParseOneAllocation(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Parse(aen); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("Parse allocates %v times, want once", n)
	}
}

func TestConcerns(t *testing.T) {
	wanted := [][]byte{[]byte("\x00SUBSYSTEM=nvme\x00")}
	if !concerns(aen, wanted) || !concerns(aen, nil) {
		t.Error("an nvme event is not wanted")
	}
	if concerns([]byte(strings.ReplaceAll(string(aen), "SUBSYSTEM=nvme", "SUBSYSTEM=nvme-subsystem")), wanted) {
		t.Error("an event of nvme-subsystem is taken for one of nvme")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(aen)
	f.Add(udevMessage(kernelMessage("ACTION=add", "DEVPATH=/devices/x"), nil))
	f.Add(udevMessage(nil, func(h []byte) { copy(h[16:24], "\xff\xff\xff\xff\xff\xff\xff\xff") }))
	f.Add([]byte("@\x00=\x00==\x00"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		e, err := Parse(msg)
		if err != nil {
			return
		}
		if e.Action == "" || e.DevPath == "" {
			t.Fatalf("accepted without action or device: %+v", e)
		}
		if e.Get("ACTION") != e.Action && e.Action != "" && !strings.Contains(string(msg), "ACTION=\x00") {
			t.Fatalf("Get(ACTION) = %q, field %q", e.Get("ACTION"), e.Action)
		}
		if len(e.vars) > len(msg) {
			t.Fatalf("%d bytes kept of a message of %d", len(e.vars), len(msg))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(aen); err != nil {
			b.Fatal(err)
		}
	}
}
