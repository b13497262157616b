package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// host is a registry in a tree of its own, with the parts of /dev and /sys it looks at.
type host struct {
	*Dir
	t    *testing.T
	base string
}

func newHost(t *testing.T) *host {
	t.Helper()
	return newHostIn(t, t.TempDir())
}

func newHostIn(t *testing.T, base string) *host {
	t.Helper()
	h := &host{t: t, base: base}
	h.Dir = Open(filepath.Join(base, "run/nvme/registry"), filepath.Join(base, "dev"), filepath.Join(base, "sys"))
	for _, dir := range []string{"dev", "sys/kernel", "sys/class/nvme"} {
		h.must(os.MkdirAll(filepath.Join(base, dir), 0o755))
	}
	h.seqnum("100")
	return h
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) seqnum(s string) {
	h.t.Helper()
	h.must(os.WriteFile(filepath.Join(h.base, "sys/kernel/uevent_seqnum"), []byte(s+"\n"), 0o644))
}

func (h *host) device(name string) {
	h.t.Helper()
	h.must(os.WriteFile(filepath.Join(h.base, "dev", name), nil, 0o644))
	h.must(os.MkdirAll(filepath.Join(h.base, "sys/class/nvme", name), 0o755))
}

// file puts raw bytes where an attribute is.
func (h *host) file(entry, attr, content string) {
	h.t.Helper()
	h.must(os.MkdirAll(filepath.Join(h.Root(), entry), 0o755))
	h.must(os.WriteFile(filepath.Join(h.Root(), entry, attr), []byte(content), 0o644))
}

func (h *host) content(entry, attr string) string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.Root(), entry, attr))
	h.must(err)
	return string(text)
}

// visible lists everything in the registry, hidden or not.
func (h *host) all() []string {
	h.t.Helper()
	var names []string
	files, err := os.ReadDir(h.Root())
	if !errors.Is(err, fs.ErrNotExist) {
		h.must(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

func (h *host) owner(entry string, want Owner) {
	h.t.Helper()
	if got := h.Owner(entry); got != want {
		h.t.Errorf("owner of %s is %v, want %v", entry, got, want)
	}
}

// TC-01
func TestCreateMakesAReadableEntry(t *testing.T) {
	h := newHost(t)
	old := syscall.Umask(0o077)
	seqnum, err := h.Create("nvme3", Stas, map[string]string{"stas-source": "stacd.conf:12"})
	syscall.Umask(old)
	h.must(err)
	if seqnum != "100" {
		t.Errorf("stamp is %q, want 100", seqnum)
	}
	for attr, want := range map[string]string{"owner": "stas\n", "seqnum": "100\n", "stas-source": "stacd.conf:12\n"} {
		if got := h.content("nvme3", attr); got != want {
			t.Errorf("%s holds %q, want %q", attr, got, want)
		}
		info, err := os.Stat(filepath.Join(h.Root(), "nvme3", attr))
		h.must(err)
		if info.Mode() != 0o644 {
			t.Errorf("%s has mode %v", attr, info.Mode())
		}
	}
	for _, dir := range []string{"..", ".", "nvme3"} {
		info, err := os.Stat(filepath.Join(h.Root(), dir))
		h.must(err)
		if info.Mode().Perm() != 0o755 {
			t.Errorf("directory %s has mode %v", dir, info.Mode())
		}
	}
	if diff := cmp.Diff([]string{"nvme3"}, h.all()); diff != "" {
		t.Errorf("something is left beside the entry: %s", diff)
	}
}

// TC-02
func TestCreateReplacesTheEntryOfAnEarlierController(t *testing.T) {
	for what, prepare := range map[string]func(h *host){
		"of another":      func(h *host) { h.file("nvme3", "owner", "discoverd\n"); h.file("nvme3", "note", "x\n") },
		"of ours":         func(h *host) { h.file("nvme3", "owner", "stas\n"); h.file("nvme3", "note", "x\n") },
		"empty directory": func(h *host) { h.must(os.MkdirAll(filepath.Join(h.Root(), "nvme3"), 0o700)) },
		"plain file": func(h *host) {
			h.must(os.MkdirAll(h.Root(), 0o755))
			h.must(os.WriteFile(filepath.Join(h.Root(), "nvme3"), nil, 0o644))
		},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHost(t)
			prepare(h)
			_, err := h.Create("nvme3", Stas, nil)
			h.must(err)
			attrs, err := h.Attrs("nvme3")
			h.must(err)
			if diff := cmp.Diff(map[string]string{"owner": "stas", "seqnum": "100"}, attrs); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"nvme3"}, h.all()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TC-04: the caller gets an error to warn with, and nothing else happens.
func TestCreateReportsWhatItCannotWrite(t *testing.T) {
	h := newHost(t)
	h.must(os.MkdirAll(filepath.Dir(h.Root()), 0o755))
	h.must(os.WriteFile(h.Root(), []byte("in the way"), 0o644))
	_, err := h.Create("nvme3", Stas, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot register nvme3") {
		t.Errorf("error is %v", err)
	}
}

// TC-05, TC-06, TC-07, TC-27
func TestOwnerKeepsTheFourAnswersApart(t *testing.T) {
	h := newHost(t)
	for content, want := range map[string]Owner{
		"stas":        OwnedBy(Stas),
		"stas\n":      OwnedBy(Stas),
		"stas\r\n":    OwnedBy(Stas),
		"stas \n":     OwnedBy("stas "),
		"Stas\n":      OwnedBy("Stas"),
		"nbft\n":      OwnedBy(NBFT),
		"":            NoOwner(),
		"\n":          OwnedBy(""),
		"a\nstas\n":   OwnedBy("a\nstas"),
		"discoverd\n": OwnedBy(Discoverd),
	} {
		h.file("nvme3", "owner", content)
		if got := h.Owner("nvme3"); got != want {
			t.Errorf("%q reads as %v, want %v", content, got, want)
		}
	}
	h.owner("nvme4", NoOwner())
	h.file("nvme5", "seqnum", "1\n")
	h.owner("nvme5", NoOwner())

	unreadable := map[string]func(path string) error{
		"directory":    func(path string) error { return os.MkdirAll(path, 0o755) },
		"symlink loop": func(path string) error { return os.Symlink("owner", path) },
		"fifo":         func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"huge":         func(path string) error { return os.WriteFile(path, make([]byte, maxValue+1), 0o644) },
	}
	for what, put := range unreadable {
		h := newHost(t)
		h.file("nvme6", "seqnum", "1\n")
		h.must(put(filepath.Join(h.Root(), "nvme6", "owner")))
		o := h.Owner("nvme6")
		if o.Kind() != KindUnknown || !o.Protected() || o.Err() == nil {
			t.Errorf("%s: owner is %v, want unknown with an error", what, o)
		}
		if _, err := h.Claim("nvme6", Stas); err == nil || errors.Is(err, ErrOwned) {
			t.Errorf("%s: claimed, error %v", what, err)
		}
	}
}

func TestOwnerValues(t *testing.T) {
	for _, c := range []struct {
		owner     Owner
		kind      Kind
		protected bool
		text      string
	}{
		{Owner{}, KindUnknown, true, "unknown (owner was not read)"},
		{UnknownOwner(errors.New("disk on fire")), KindUnknown, true, "unknown (disk on fire)"},
		{NoOwner(), KindNone, false, "none"},
		{OwnedBy(Stas), KindOurs, false, `"stas"`},
		{OwnedBy(""), KindOther, true, `""`},
		{OwnedBy(NBFT), KindOther, true, `"nbft"`},
	} {
		if c.owner.Kind() != c.kind || c.owner.Protected() != c.protected || c.owner.String() != c.text {
			t.Errorf("%v: kind %v, protected %v", c.owner, c.owner.Kind(), c.owner.Protected())
		}
		if known := c.kind != KindUnknown; known != (c.owner.Err() == nil) {
			t.Errorf("%v: error %v", c.owner, c.owner.Err())
		}
	}
	if NoOwner().Is("") || !OwnedBy("").Is("") || (Owner{}).Is("") || !OwnedBy(Stas).Is(Stas) {
		t.Error("Is mixes up an empty owner and no owner")
	}
}

// TC-08, TC-09
func TestListShowsLiveEntriesOnly(t *testing.T) {
	h := newHost(t)
	if list, err := h.List(); err != nil || list != nil {
		t.Errorf("without a registry: %v, %v", list, err)
	}
	for _, name := range []string{"nvme10", "nvme2", "nvme9", "nvme7n1", "nvme", "nvmeX", ".nvme4.tmp.abc", ".trash.x"} {
		h.file(name, "owner", "stas\n")
	}
	h.must(os.WriteFile(filepath.Join(h.Root(), "nvme8"), []byte("stas\n"), 0o644))
	h.must(os.MkdirAll(filepath.Join(h.Root(), "nvme1"), 0o755))
	for _, name := range []string{"nvme1", "nvme2", "nvme4", "nvme7n1", "nvme8", "nvme10"} {
		h.device(name)
	}
	got, err := h.List()
	h.must(err)
	want := []Entry{{"nvme1", NoOwner()}, {"nvme2", OwnedBy(Stas)}, {"nvme10", OwnedBy(Stas)}}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("entry %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// TC-09, the second half.
func TestCleanStaleRemovesOnlyOursWithoutDevice(t *testing.T) {
	h := newHost(t)
	for name, owner := range map[string]string{
		"nvme1": "stas\n", "nvme2": "stas\n", "nvme3": "discoverd\n", "nvme4": "", "nvme5": "\n", "nvme6": "stas\n", "nvme7": "stas \n",
	} {
		h.file(name, "owner", owner)
	}
	h.device("nvme1")
	// A controller that is being made or removed has no node, yet it exists.
	h.must(os.MkdirAll(filepath.Join(h.base, "sys/class/nvme/nvme6"), 0o755))

	for _, name := range []string{".trash.old", ".nvme4.tmp.old", ".trash.new", ".nvme4.tmp.new", ".other.tmp.old"} {
		h.file(name, "owner", "stas\n")
		if strings.HasSuffix(name, ".old") {
			long := time.Now().Add(-2 * leftoverAge)
			h.must(os.Chtimes(filepath.Join(h.Root(), name), long, long))
		}
	}
	removed, err := h.CleanStale(Stas)
	h.must(err)
	if diff := cmp.Diff([]string{"nvme2"}, removed); diff != "" {
		t.Error(diff)
	}
	want := []string{".nvme4.tmp.new", ".other.tmp.old", ".trash.new", "nvme1", "nvme3", "nvme4", "nvme5", "nvme6", "nvme7"}
	if diff := cmp.Diff(want, h.all()); diff != "" {
		t.Error(diff)
	}
}

// TC-10
func TestAttrsPassesOverTemporaryFiles(t *testing.T) {
	h := newHost(t)
	h.file("nvme3", "owner", "stas\n")
	h.file("nvme3", "owner.tmp.AAAAAA", "x\n")
	h.file("nvme3", ".hidden", "x\n")
	h.file("nvme3", "zero", "")
	h.file("nvme3", "note", "one two \n")
	got, err := h.Attrs("nvme3")
	h.must(err)
	if diff := cmp.Diff(map[string]string{"owner": "stas", "note": "one two "}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := h.Attrs("nvme4"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent entry: %v", err)
	}
}

// TC-11
func TestCreateWithoutASeqnum(t *testing.T) {
	for _, content := range []string{"", "none", "-1"} {
		h := newHost(t)
		h.seqnum(content)
		if content == "" {
			h.must(os.Remove(filepath.Join(h.base, "sys/kernel/uevent_seqnum")))
		}
		seqnum, err := h.Create("nvme3", Stas, nil)
		h.must(err)
		attrs, err := h.Attrs("nvme3")
		h.must(err)
		if diff := cmp.Diff(map[string]string{"owner": "stas"}, attrs); diff != "" || seqnum != "" {
			t.Errorf("stamp %q, %s", seqnum, diff)
		}
		// An owner alone proves nothing.
		if removed, err := h.RemoveIfOurs("nvme3", Stas, seqnum); removed || err != nil {
			t.Errorf("removed %v, %v", removed, err)
		}
		h.owner("nvme3", OwnedBy(Stas))
	}
}

// TC-12
func TestBadNamesTouchNothing(t *testing.T) {
	h := newHost(t)
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	for _, name := range []string{"", "nvme", "nvme3n1", "nvme3/..", "../x", "nvme-1", "nvme3 ", "Nvme3", ".", "nvme٣", "nvme3\n"} {
		_, err := h.Create(name, Stas, nil)
		check("Create "+name, err)
		_, err = h.Claim(name, Stas)
		check("Claim "+name, err)
		_, _, err = h.Reassert(name, Stas)
		check("Reassert "+name, err)
		_, err = h.Attr(name, "note")
		check("Attr "+name, err)
		_, err = h.Attrs(name)
		check("Attrs "+name, err)
		check("Owner "+name, h.Owner(name).Err())
		check("Set "+name, h.Set(name, "note", "x"))
		check("Delete "+name, h.Delete(name, "note"))
		check("Remove "+name, h.Remove(name))
		_, err = h.RemoveIfOurs(name, Stas, "1")
		check("RemoveIfOurs "+name, err)
	}
	for _, attr := range []string{"", "a.b", "../x", "a/b", ".a", "ä", "owner", "seqnum"} {
		_, err := h.Create("nvme3", Stas, map[string]string{attr: "x"})
		check("Create with "+attr, err)
		check("Set "+attr, h.Set("nvme3", attr, "x"))
		check("Delete "+attr, h.Delete("nvme3", attr))
	}
	for _, value := range []string{"a\nb", "a\r", "a\x00", strings.Repeat("x", maxValue)} {
		_, err := h.Create("nvme3", Stas, map[string]string{"note": value})
		check("Create", err)
		_, err = h.Create("nvme3", "x"+value, nil)
		check("Create", err)
		check("Set", h.Set("nvme3", "note", value))
	}
	_, err := h.Create("nvme3", "", nil)
	check("Create without owner", err)
	if _, err := os.Lstat(h.Root()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the registry was made: %v", err)
	}
}

func TestSetAndDelete(t *testing.T) {
	h := newHost(t)
	if err := h.Set("nvme3", "stas-note", "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("set on an absent entry: %v", err)
	}
	h.must(h.Delete("nvme3", "stas-note"))
	_, err := h.Create("nvme3", Stas, nil)
	h.must(err)
	for _, value := range []string{"one", "two", ""} {
		h.must(h.Set("nvme3", "stas-note", value))
		if got, err := h.Attr("nvme3", "stas-note"); err != nil || got != value {
			t.Errorf("read %q, %v", got, err)
		}
	}
	h.must(h.Delete("nvme3", "stas-note"))
	h.must(h.Delete("nvme3", "stas-note"))
	files, err := os.ReadDir(filepath.Join(h.Root(), "nvme3"))
	h.must(err)
	if len(files) != 2 {
		t.Errorf("left in the entry: %v", files)
	}
}
