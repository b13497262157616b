package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stas-go/stas/pkg/kernel"
	"github.com/stas-go/stas/pkg/registry"
)

// What is taken over is shut; what another owns stays as it is.
func TestClaimShutsSecrets(t *testing.T) {
	root := t.TempDir()
	secret := func(name string) string { return filepath.Join(root, "sys/class/nvme", name, "dhchap_secret") }
	for _, name := range []string{"nvme1", "nvme2"} {
		if err := os.MkdirAll(filepath.Dir(secret(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(secret(name), []byte("DHHC-1:00:x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir := registry.Open(filepath.Join(root, "registry"), filepath.Join(root, "dev"), filepath.Join(root, "sys"))
	if _, err := dir.Create("nvme2", "discoverd", nil); err != nil {
		t.Fatal(err)
	}
	o := ownership{dir, kernel.Sysfs{Root: filepath.Join(root, "sys")}}
	_, _ = o.Claim("nvme1", registry.Stas)
	if _, err := o.Claim("nvme2", registry.Stas); err == nil {
		t.Error("claimed what another owns")
	}
	for name, want := range map[string]os.FileMode{"nvme1": 0o600, "nvme2": 0o644} {
		if info, err := os.Stat(secret(name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
