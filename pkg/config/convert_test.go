package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stas-go/stas/pkg/tid"
)

const convertStafd = `[Global]
kato=45
hdr-digest=true
[Controllers]
controller=transport=tcp;traddr=192.0.2.1
controller=transport=tcp;traddr=cdc.example.com;host-iface=eth1;kato=7;persistent=auto
controller=transport=fc;traddr=nn-0x1:pn-0x2;nqn=nqn.2014-08.org.example:dc
exclude=transport=tcp;traddr=192.0.2.66
`

const convertStacd = `[Global]
nr-io-queues=4
[Controllers]
controller=transport=tcp;traddr=192.0.2.2;nqn=nqn.2014-08.org.example:a;dhchap-secret=` + secretA + `;ctrl-loss-tmo=-1
controller=transport=rdma;traddr=192.0.2.3;nqn=nqn.2014-08.org.example:b;host-nqn=` + nqnA + `
exclude=host-iface=eth9
exclude=traddr=name.example.com;transport=tcp
`

// connections spells everything that counts, in a stable order.
func connections(list []Controller) []string {
	var s []string
	for _, c := range list {
		s = append(s, fmt.Sprintf("%s %s %s %s %v", c.Kind, c.address(), spelled(c.Params), c.Persistent, c.Params.DHCHAPSecret.Reveal()))
	}
	slices.Sort(s)
	return s
}

func install(t *testing.T, dir string, files []Text) {
	t.Helper()
	for _, f := range files {
		write(t, dir, f.Name, string(f.Bytes()))
	}
}

func TestConvertThereAndBack(t *testing.T) {
	dir := t.TempDir()
	load := func(dir string) (*Staf, *Stac) {
		t.Helper()
		fabrics := filepath.Join(dir, "nvme-stas.conf")
		staf, p1, err1 := LoadStaf(Files{Own: filepath.Join(dir, "stafd.conf"), Fabrics: fabrics})
		stac, p2, err2 := LoadStac(Files{Own: filepath.Join(dir, "stacd.conf"), Fabrics: fabrics})
		for _, p := range append(p1, p2...) {
			if p.ID != MissingFile && p.ID != BadExclude { // a host name
				t.Error(p)
			}
		}
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		return staf, stac
	}
	write(t, dir, "stafd.conf", convertStafd)
	write(t, dir, "stacd.conf", convertStacd)
	staf, stac := load(dir)
	files, notes := ToFabrics(staf, stac)
	if len(files) != 3 || !slices.ContainsFunc(notes, func(s string) bool {
		return strings.Contains(s, "stacd.conf:7: cannot be written as a host-wide exclusion")
	}) {
		t.Errorf("%v, %v", files, notes)
	}
	if got := string(files[2].Bytes()); got != "[exclusions]\nexclusion = transport=tcp;traddr=192.0.2.66\nexclusion = host-iface=eth9\n" {
		t.Errorf("exclusions %q", got)
	}
	there := t.TempDir()
	install(t, there, files)
	staf3, stac3 := load(there)
	for _, c := range []struct{ before, after []Controller }{{staf.Controllers, staf3.Controllers}, {stac.Controllers, stac3.Controllers}} {
		if b, a := connections(c.before), connections(c.after); !slices.Equal(b, a) {
			t.Errorf("2.x to 3.x:\n%s\nbecame\n%s", strings.Join(b, "\n"), strings.Join(a, "\n"))
		}
	}
	if staf3.Defaults != staf.Defaults || stac3.Defaults != stac.Defaults {
		t.Errorf("defaults: %v, %v", spelled(staf3.Defaults), spelled(stac3.Defaults))
	}
	back := t.TempDir()
	files, notes = ToOwn(staf3, stac3)
	if len(notes) > 0 {
		t.Error(notes)
	}
	install(t, back, files)
	staf2, stac2 := load(back)
	for _, c := range []struct{ before, after []Controller }{{staf.Controllers, staf2.Controllers}, {stac.Controllers, stac2.Controllers}} {
		if b, a := connections(c.before), connections(c.after); !slices.Equal(b, a) {
			t.Errorf("3.x to 2.x:\n%s\nbecame\n%s", strings.Join(b, "\n"), strings.Join(a, "\n"))
		}
	}
}

func TestWhatOwnFilesCannotSay(t *testing.T) {
	f := set(t, "[I/O Controller Defaults]\nqueue-size=64\nhdr-digest=on\n[Host]\nhostnqn="+nqnB+"\nhostid="+uuidB+"\n[Subsystem]\nnqn=nqn.2014-08.org.a\nqueue-size=\nhdr-digest=\ncontroller=transport=tcp;traddr=192.0.2.1\n")
	stac, _, err := LoadStac(f)
	if err != nil {
		t.Fatal(err)
	}
	files, notes := ToOwn(DefaultStaf(), stac)
	all := strings.Join(notes, "\n")
	if !strings.Contains(all, "host ID "+uuidB+" cannot be said in stacd.conf") || !strings.Contains(all, "the kernel's default for queue-size cannot") {
		t.Error(all)
	}
	if !strings.Contains(string(files[1].Bytes()), ";host-nqn="+nqnB+";hdr-digest=false\n") {
		t.Errorf("%s", files[1].Bytes())
	}
	if s := fmt.Sprintf("%v %+v %#v %s", files, files, files, files[1]); strings.Contains(s, "hdr-digest") {
		t.Errorf("a made file shows itself: %s", s)
	}
}

// TestSemicolonInAnNQN: as part of a controller= line the rest of such an NQN would be an option of that line.
func TestSemicolonInAnNQN(t *testing.T) {
	f := set(t, "[Subsystem]\nnqn=nqn.2014-08.org.a;host-iface=eth9\ncontroller=transport=tcp;traddr=192.0.2.1\n"+
		"[Subsystem]\nnqn=nqn.2014-08.org.b\ncontroller=transport=tcp;traddr=192.0.2.1\n")
	stac, _, err := LoadStac(f)
	if err != nil || len(stac.Controllers) != 2 {
		t.Fatal(stac, err)
	}
	files, notes := ToOwn(DefaultStaf(), stac)
	if len(notes) != 1 || !strings.Contains(notes[0], "semicolon") {
		t.Errorf("%q", notes)
	}
	if text := string(files[1].Bytes()); strings.Contains(text, "eth9") || strings.Count(text, "controller=") != 1 {
		t.Error(text)
	}
}

// TestConvertWhatHasNoPlace: what [Global] of the 2.x files has no key for is said on each line, and told as far as it counts
// for what is discovered.
func TestConvertWhatHasNoPlace(t *testing.T) {
	f := set(t, "[I/O Controller Defaults]\nkxchap-secret="+secretA+"\nduplicate-connect=1\n[Discovery Controller Defaults]\nnr-io-queues=2\nkeep-alive-tmo=\n"+
		"[Discovery Controller]\ncontroller=transport=tcp;traddr=192.0.2.9\n"+
		"[Subsystem]\nnqn=nqn.2014-08.org.a\nqueue-size=8\ncontroller=transport=tcp;traddr=192.0.2.1\n")
	staf, _, err := LoadStaf(Files{Own: write(t, t.TempDir(), "stafd.conf", ""), Fabrics: f.Fabrics})
	if err != nil {
		t.Fatal(err)
	}
	stac, _, err := LoadStac(f)
	if err != nil {
		t.Fatal(err)
	}
	files, notes := ToOwn(staf, stac)
	dir := t.TempDir()
	install(t, dir, files)
	staf2, p1, err1 := LoadStaf(Files{Own: filepath.Join(dir, "stafd.conf")})
	stac2, p2, err2 := LoadStac(Files{Own: filepath.Join(dir, "stacd.conf")})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for _, p := range append(p1, p2...) {
		if p.Severity == Error {
			t.Error(p)
		}
	}
	if c := stac2.Controllers[0].Params; c.DHCHAPSecret.Reveal() != secretA || c.DuplicateConnect != tid.On {
		t.Errorf("stacd.conf:\n%s", files[1].Bytes())
	}
	if v, ok := staf2.Controllers[0].Params.NrIOQueues.Get(); !ok || v != 2 {
		t.Errorf("stafd.conf:\n%s", files[0].Bytes())
	}
	all := strings.Join(notes, "\n")
	for _, note := range []string{
		"dhchap-secret for all cannot be said in stacd.conf", "duplicate-connect for all cannot be said in stacd.conf",
		"nr-io-queues for all cannot be said in stafd.conf", "the kernel's default for kato cannot be said in stafd.conf",
		"queue-size 8 cannot be said in stacd.conf",
	} {
		if !strings.Contains(all, note) {
			t.Errorf("%q is missing in\n%s", note, all)
		}
	}
	if strings.Contains(all, "DHHC") {
		t.Errorf("a secret is told: %s", all)
	}
}

// TestConvertWithinTheNewFormat: what stands above the sections of controllers counts for them still.
func TestConvertWithinTheNewFormat(t *testing.T) {
	f := set(t, "[I/O Controller Defaults]\nqueue-size=64\nhdr-digest=on\n[Subsystem]\nnqn=nqn.2014-08.org.a\nqueue-size=\nhdr-digest=\ncontroller=transport=tcp;traddr=192.0.2.1\n",
		"[I/O Controller Defaults]\nqueue-size=99\n[Host]\nhostnqn="+nqnB+"\nhostid="+uuidB+"\nctrl-loss-tmo=5\nkxchap-secret="+secretA+"\n[Subsystem]\nnqn=nqn.2014-08.org.b\ncontroller=transport=tcp;traddr=192.0.2.2\n",
		"[I/O Controller Defaults]\nqueue-size=98\n[Subsystem]\nnqn=nqn.2014-08.org.b\ncontroller=transport=tcp;traddr=192.0.2.3\n")
	stac, _, err := LoadStac(f)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := ToFabrics(DefaultStaf(), stac)
	dir := t.TempDir()
	install(t, dir, files)
	after, _, err := LoadStac(Files{Own: write(t, dir, "stacd.conf", ""), Fabrics: filepath.Join(dir, "nvme-stas.conf")})
	if err != nil {
		t.Fatal(err)
	}
	if b, a := everything(stac.Controllers), everything(after.Controllers); !slices.Equal(b, a) {
		t.Errorf("\n%s\nbecame\n%s", strings.Join(b, "\n"), strings.Join(a, "\n"))
	}
}

// TestConvertWhatIsInherited: what a file says for all that is found through its discovery controllers stays with them.
func TestConvertWhatIsInherited(t *testing.T) {
	f := set(t, "[Discovery Controller Defaults]\npersistent=auto\n[I/O Controller Defaults]\nqueue-size=64\nhdr-digest=on\n",
		"[I/O Controller Defaults]\nqueue-size=\nhdr-digest=off\n[Host]\nhostnqn="+nqnB+"\nhostid="+uuidB+"\nhostsymname=second\nctrl-loss-tmo=5\nkxchap-secret="+secretA+
			"\n[Discovery Controller]\ncontroller=transport=tcp;traddr=192.0.2.2;ctrl-loss-tmo=\n[Subsystem]\nnqn=nqn.2014-08.org.b\nqueue-size=64\ncontroller=transport=tcp;traddr=192.0.2.3\n",
		"[I/O Controller Defaults]\nqueue-size=98\n[Discovery Controller]\ncontroller=transport=tcp;traddr=192.0.2.4\n")
	load := func(fabrics string) (*Staf, *Stac) {
		t.Helper()
		own := write(t, t.TempDir(), "own.conf", "")
		staf, _, err1 := LoadStaf(Files{Own: own, Fabrics: fabrics})
		stac, _, err2 := LoadStac(Files{Own: own, Fabrics: fabrics})
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		return staf, stac
	}
	staf, stac := load(f.Fabrics)
	files, notes := ToFabrics(staf, stac)
	if len(notes) != 1 || !strings.Contains(notes[0], "what is discovered through it gets the defaults of all") {
		t.Errorf("notes %q", notes)
	}
	dir := t.TempDir()
	install(t, dir, files)
	staf2, stac2 := load(filepath.Join(dir, "nvme-stas.conf"))
	for _, c := range []struct{ before, after []Controller }{{staf.Controllers, staf2.Controllers}, {stac.Controllers, stac2.Controllers}} {
		if b, a := everything(c.before), everything(c.after); !slices.Equal(b, a) {
			t.Errorf("\n%s\nbecame\n%s", strings.Join(b, "\n"), strings.Join(a, "\n"))
		}
	}
	if staf2.Persistent != PersistAuto {
		t.Errorf("persistent became %q", staf2.Persistent)
	}
	scope := func(s *Staf) *Scope {
		i := slices.IndexFunc(s.Controllers, func(c Controller) bool { return c.Traddr == "192.0.2.2" })
		return s.Controllers[i].Scope
	}
	before, after := scope(staf), scope(staf2)
	if after.Host != before.Host || after.SymName != "second" || len(Differing(before.IO, after.IO)) > 0 || len(Differing(before.Discovery, after.Discovery)) > 0 {
		t.Errorf("%s\n%s\nbecame %v %q\n%s\nin\n%s", spelled(before.Discovery), spelled(before.IO), after.Host, after.SymName, spelled(after.IO), files[1].Bytes())
	}
}

// What counts for discovery controllers that are found, and the name with which the host registers, is kept or told.
func TestToOwnTellsOfTheRest(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "nvme-stas.conf", "[Discovery Controller Defaults]\npersistent = no\n[Host]\nhostnqn="+nqnA+
		"\nhostsymname = rack 4\n[Discovery Controller]\ncontroller = transport=tcp;traddr=192.0.2.1\n")
	staf, _, err := LoadStaf(Files{Own: filepath.Join(dir, "stafd.conf"), Fabrics: filepath.Join(dir, "nvme-stas.conf")})
	if err != nil || staf.Persistent != PersistNo {
		t.Fatal(staf.Persistent, err)
	}
	files, notes := ToOwn(staf, DefaultStac())
	if len(notes) != 1 || !strings.HasSuffix(notes[0], "nvme-stas.conf:7: symbolic name rack 4 cannot be said in stafd.conf") {
		t.Errorf("%q", notes)
	}
	other := t.TempDir()
	install(t, other, files)
	staf, problems, err := LoadStaf(Files{Own: filepath.Join(other, "stafd.conf")})
	if err != nil || problems != nil || staf.Persistent != PersistNo {
		t.Error(staf.Persistent, problems, err)
	}
}
