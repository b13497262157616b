package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAttached(t *testing.T) {
	root := t.TempDir()
	make := func(path, content string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	make("class/nvme/nvme3/state", "connecting\n")
	for _, ns := range []string{"nvme1c3n10", "nvme1c3n2", "power", "hwmon0", "nvme3"} {
		make("class/nvme/nvme3/"+ns+"/size", "8\n")
	}
	make("class/nvme-subsystem/nvme-subsys1/nvme3/state", "connecting\n")
	make("class/nvme/nvme4/state", "live\n")
	make("class/nvme-subsystem/nvme-subsys4/nvme4/state", "live\n")
	make("class/nvme/nvme5/state", "live\n")
	for name, want := range map[string]Attached{
		"nvme3": {"connecting", "nvme-subsys1", []string{"nvme1n2", "nvme1n10"}},
		"nvme4": {"live", "nvme-subsys4", nil},
		"nvme5": {"live", "", nil},
	} {
		got, err := Sysfs{root}.Attached(name)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v, %s", name, err, d)
		}
	}
	if _, err := (Sysfs{root}).Attached("nvme6"); !errors.Is(err, ErrGone) {
		t.Errorf("a controller that is not there: %v", err)
	}
}
