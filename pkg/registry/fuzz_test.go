package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Others write to the registry, too: whatever they leave there is somebody's name, nobody's, or
// unknown, and it is ours only where it says so.
func FuzzOwner(f *testing.F) {
	dir := Open(f.TempDir(), "/dev", "/sys")
	file := filepath.Join(dir.Root(), "nvme1", AttrOwner)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "\n", "stas\n", "stas", "stas\r\n\n", " stas\n", "stas\x00\n", "stas\nother\n", strings.Repeat("x", maxValue+1)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
		owner, text := dir.Owner("nvme1"), strings.TrimRight(string(content), "\r\n")
		want := OwnedBy(text)
		switch {
		case len(content) == 0:
			want = NoOwner()
		case len(content) > maxValue:
			if owner == NoOwner() || owner == OwnedBy(text) {
				t.Errorf("%d bytes are %v", len(content), owner)
			}
			return
		}
		if owner != want {
			t.Errorf("%q is %v, not %v", content, owner, want)
		}
		attrs, err := dir.Attrs("nvme1")
		if got, ok := attrs[AttrOwner]; err != nil || ok != (len(content) > 0) || got != text && ok {
			t.Errorf("%q is attribute %q, %t, %v", content, got, ok, err)
		}
		if _, err := dir.Attr("nvme2", AttrOwner); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

// Names of entries come from a directory that others write to, and from uevents.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"nvme0", "nvme", "nvme0n1", "../nvme0", "nvme0/..", "nvme\u0661", ""} {
		f.Add(s, "owner")
	}
	f.Add("nvme0", "../owner")
	dir := Open(f.TempDir(), "/dev", "/sys")
	f.Fuzz(func(t *testing.T, name, attr string) {
		if ValidName(name) && (strings.ContainsAny(name, "/.\x00") || !strings.HasPrefix(name, "nvme")) {
			t.Errorf("%q is taken for an entry", name)
		}
		if ValidAttr(attr) && strings.ContainsAny(attr, "/.\x00") {
			t.Errorf("%q is taken for an attribute", attr)
		}
		if _, err := dir.Attr(name, attr); err == nil {
			t.Errorf("%q of %q was read from an empty registry", attr, name)
		}
	})
}
