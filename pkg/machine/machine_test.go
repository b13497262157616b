package machine

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The expected values were computed with Python's uuid and hmac by the rules of nvme-stas 2.4.
func TestUUID(t *testing.T) {
	const (
		id   = "0123456789abcdef0123456789abcdef\n"
		uuid = "00112233-4455-6677-8899-aabbccddeeff"
	)
	for name, c := range map[string]struct {
		files  map[Source]string
		want   string
		source Source
	}{
		"machine ID":            {map[Source]string{MachineID: id, DMI: uuid}, "f2782346-4809-484a-9a8b-952a04b57ba4", MachineID},
		"DMI":                   {map[Source]string{DMI: uuid + "\n", DeviceTree: uuid}, "33221100-5544-7766-8899-aabbccddeeff", DMI},
		"device tree":           {map[Source]string{DeviceTree: uuid + "\x00"}, uuid, DeviceTree},
		"uninitialized":         {map[Source]string{MachineID: "uninitialized\n", DeviceTree: uuid}, uuid, DeviceTree},
		"zero and all ones":     {map[Source]string{MachineID: "00000000000000000000000000000000", DMI: "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", DeviceTree: uuid}, uuid, DeviceTree},
		"DMI with other things": {map[Source]string{DMI: "Not Settable", DeviceTree: uuid}, uuid, DeviceTree},
	} {
		root := t.TempDir()
		for path, text := range c.files {
			path := filepath.Join(root, string(path))
			if os.MkdirAll(filepath.Dir(path), 0o755) != nil || os.WriteFile(path, []byte(text), 0o600) != nil {
				t.Fatal("cannot write")
			}
		}
		for range 2 {
			got, source, err := UUID(root)
			if err != nil || got.String() != c.want || source != c.source {
				t.Errorf("%s: got %s from %s, %v; want %s", name, got, source, err, c.want)
			}
		}
	}
	a, source, err := UUID(t.TempDir())
	b, _, _ := UUID(t.TempDir())
	if err != nil || source != Random || a == b || a[6]>>4 != 4 || a[8]>>6 != 2 {
		t.Errorf("random: %s, %s, %s, %v", a, b, source, err)
	}
}

func TestOddFilesHoldNobodyUp(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, string(MachineID)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, source, err := UUID(root); err != nil || source != Random {
		t.Errorf("%s, %v", source, err)
	}
}
