package check

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stas-go/stas/pkg/exclusion"
)

// standIns act on the tree below $ROOT as the commands of a host act on the host.
var standIns = map[string]string{
	"modprobe": `if [ "$1" = nvme_fabrics ]; then mkdir -p $ROOT/dev; echo transport=%s >$ROOT/dev/nvme-fabrics; else mkdir -p $ROOT/sys/module/$1; fi`,
	"systemctl": `case "$*" in
		"enable --now dbus.socket") mkdir -p $ROOT/run/dbus; : >$ROOT/run/dbus/system_bus_socket;;
		"enable --now avahi-daemon") mkdir -p $ROOT/run/avahi-daemon; : >$ROOT/run/avahi-daemon/socket;;
		"restart avahi-daemon") ;;
		*) exit 1;; esac`,
	"sysctl":       `[ "$1" = -w ] && echo "${2#*=}" >$ROOT/proc/sys/$(echo "${2%=*}" | tr . /)`,
	"firewall-cmd": `case "$*" in "--permanent --add-service=mdns") echo '<service name="mdns"/>' >>$ROOT/etc/firewalld/zones/public.xml;; --reload) ;; *) exit 1;; esac`,
	"udevadm":      `[ "$*" = "control --reload" ]`,
}

// remedies runs what findings say is to be run.
type remedies struct {
	path string
	seen map[string]bool // IDs whose remedy was run
}

func newRemedies(t *testing.T) remedies {
	t.Helper()
	dir := t.TempDir()
	for name, script := range standIns {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-o", dir, "../../cmd/stasadm").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return remedies{dir + ":" + os.Getenv("PATH"), map[string]bool{}}
}

func (r remedies) run(t *testing.T, root, command string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = append(os.Environ(), "PATH="+r.path, "ROOT="+root)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// withoutRemedy are findings that no command can end without deciding something for the administrator.
var withoutRemedy = []string{"no-bus-policy", "mixed-identity"}

// otherwiseRun are those that TestFindings has, and what needs hundreds of other findings first.
var otherwiseRun = append([]string{"no-fabrics-device", "no-transport-module", "kernel-lacks-option", "no-system-bus", "no-avahi", "too-many-interfaces",
	"firewall-mdns", "stale-udev-rule", "two-mdns-browsers", "clock-not-set", "unlisted", "no-identity", "shared-host-id"}, withoutRemedy...)

// gone runs the remedy of f, and others as long as that is what it takes, and checks that f is there no more.
func (r remedies) gone(t *testing.T, root string, f Finding, again func() []Finding) {
	t.Helper()
	if f.Remedy == "" {
		if !slices.Contains(withoutRemedy, f.ID) {
			t.Errorf("%s has no remedy: %+v", f.ID, f)
		}
		return
	}
	r.run(t, root, f.Remedy)
	r.seen[f.ID] = true
	for _, left := range again() {
		if left.ID == f.ID && left.Where == f.Where && left.What == f.What {
			t.Errorf("after %s there is still %+v", f.Remedy, left)
		}
	}
}

// secret is one that is valid.
const secret = "DHHC-1:00:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:"

// TestRemediesOfFiles has all files broken in many ways at once, in one tree. Running the remedy of the first finding until there is
// none must come to an end, with every good line still there.
func TestRemediesOfFiles(t *testing.T) {
	r := newRemedies(t)
	files := healthy()
	const good = "controller=transport=tcp;traddr=192.0.2.77;nqn=nqn.2014-08.org.example:good"
	files["etc/stas/stafd.conf"] = "tron=true\nkato=3\n[Global\nkato=5s\nkato=7\n=x\n[[Controllers]]\n" + good + "\ncontroller=transport=tcp;traddr=[::1]\nexclude=traddr=a.example.com\n" +
		"[]\na=b\nc\n[Nonsense] # x\ny=z\n[Service Discovery] x\nzeroconf=on\n\x00\n# caf\xe9\n" + strings.Repeat("x", 70000) + "\n"
	delete(files, "etc/stas/stacd.conf")
	const line = "controller=transport=tcp;traddr=192.0.2.77;nqn=nqn.2014-08.org.example:good"
	files["etc/stas/stacd.conf.d/05.conf"] = "[Controllers] x\n" + line + ";kato=5;kato=6\n  " + line + ";host-iface=a;foo=bar\n  trsvcid=3\ncontroller=\ncontroler=a\n" +
		"exclude=host-iface=eth9 # no\nblacklist=host-iface=eth8\n[Global]\nudev-rule=enabled\nsticky-connections=disabled\nkato=5\nkato=6\n" +
		"[I/O controller connection management]\nconnect-attempts-on-ncc=1\n"
	files["etc/stas/stacd.conf.d/10.conf"] = "[Controllers]\n" + good + "\n[Global]\ntls=maybe\ntls-key=hunter2\nkeyring=a,b\n[I/O controller connection management]\ndisconnect-trtypes=tcp+ib\n"
	files["etc/stas/sys.conf"] = "[Host]\nnqn=file://etc/nvme/hostnqn\nid=file:///etc/nvme/hostid\nkey=hunter2\nctrl-key=hunter2\nsymname=\u00fc\n[host]\nx=y\n"
	files["etc/nvme/nvme-stas.conf"] = "x = y\n[Host]\nhostnqn=" + nqn + "\nhostid=" + uuid + "\n[Host]\nhostnqn=x\n[Subsystem]\nqueue-size=5s\ncontroller=transport=tcp;traddr=192.0.2.9\n" +
		"; no comment\n[Subsystem] # note\nnqn=nqn.2014-08.org.example:good\ncontroller=transport=tcp;traddr=192.0.2.78\n[]\nz = 1\n[Discovery Controller\ncontroller=transport=tcp;traddr=192.0.2.79\n" +
		"persistent=maybe\ncontroller=transport=tcp\n[Subsystem]\nnqn=nqn.2014-08.org.example:s\ntls-key=hunter2\ncontroller=transport=tcp;traddr=192.0.2.80\n"
	files["etc/nvme/nvme-stas.conf.d/10.conf"] = "[Host]\nhostsymname=x\n"
	files["etc/nvme/nvme-stas.conf.d/20.conf"] = "[Host]\nhostnqn=nqn.2014-08.org.example:persona\n[Subsystem]\nnqn=nqn.2014-08.org.example:p\nkxchap-secret=" + secret + "\ncontroller=transport=tcp;traddr=192.0.2.81\n"
	files["etc/nvme/exclusions.conf"] = "exclusion=x\n[exclusions\nexclusion=y\n[exclusions]\nexclusion=traddr=\nexclusion=nqn=x # y\nfoo=bar\nexclusion=transport=tcp;traddr=192.0.2.200\n"
	files["dev/nvme-fabrics"] += ",tls,keyring=%s,tls_key=%s"
	files["etc/nvme/nvme-stas.conf"] += "[I/O Controller Defaults]\n[I/O Controller Defaults]\n"
	files["etc/nvme/hostnqn"], files["etc/nvme/hostid"] = "nqn.2014-08.org.example:this", "garbage"
	root := tree(t, files)
	if err := os.Chmod(root+"/etc/nvme/nvme-stas.conf.d/20.conf", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(root+"/etc/nvme/exclusions.conf.d/a.conf", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(root+"/etc/nvme/hostkey", 0o755); err != nil {
		t.Fatal(err)
	}
	steps := 0
	for {
		list := look(root)
		if len(list) == 0 {
			break
		}
		if steps++; steps > 100 {
			t.Fatalf("it does not end: %+v", list)
		}
		for _, f := range list {
			if strings.Contains(f.What+f.Remedy, "hunter2") {
				t.Fatalf("a secret: %+v", f)
			}
		}
		if f := list[0]; f.Remedy == "" {
			// A secret that cannot be used wants another one, which no command knows.
			sys := root + "/etc/stas/sys.conf"
			text, err := os.ReadFile(sys)
			if err != nil || f.ID != "bad-identity" || !strings.Contains(string(text), "key=hunter2") {
				t.Fatalf("no remedy: %+v", f)
			}
			if err := os.WriteFile(sys, []byte(strings.ReplaceAll(string(text), "key=hunter2", "key="+secret)), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		r.gone(t, root, list[0], func() []Finding { return look(root) })
		if t.Failed() {
			return
		}
	}
	t.Logf("%d remedies", steps)
	for _, id := range allIDs(t) {
		if !r.seen[id] && !slices.Contains(otherwiseRun, id) {
			t.Errorf("the remedy of %s was never run", id)
		}
	}
	for file, want := range map[string][]string{
		"etc/stas/stafd.conf": {good}, "etc/stas/stacd.conf.d/10.conf": {good, "tls=true"},
		"etc/nvme/nvme-stas.conf":           {"controller=transport=tcp;traddr=192.0.2.78", "controller=transport=tcp;traddr=192.0.2.79", "hostnqn=" + nqn},
		"etc/nvme/nvme-stas.conf.d/20.conf": {"controller=transport=tcp;traddr=192.0.2.81", "hostid = "},
		"etc/nvme/exclusions.conf":          {"exclusion=transport=tcp;traddr=192.0.2.200"},
	} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, w := range want {
			if !strings.Contains("\n"+string(text), "\n"+w) {
				t.Errorf("%s has lost %q:\n%s", file, w, text)
			}
		}
	}
	c, _ := Configured(filesBelow(root))
	if len(c.Staf.Controllers) != 2 || len(c.Stac.Controllers) != 4 || c.Identity.Host.NQN == "" {
		t.Errorf("left are %d and %d controllers, identity %+v", len(c.Staf.Controllers), len(c.Stac.Controllers), c.Identity)
	}
}

// TestRemediesWithoutADirectory: nothing of stas need be there yet.
func TestRemediesWithoutADirectory(t *testing.T) {
	r := newRemedies(t)
	files := healthy()
	delete(files, "etc/stas/stafd.conf")
	delete(files, "etc/stas/stacd.conf")
	root := tree(t, files)
	for _, f := range look(root) {
		r.gone(t, root, f, func() []Finding { return look(root) })
	}
	if list := look(root); len(list) > 0 {
		t.Errorf("left are %+v", list)
	}
}

// TestRemediesOfExclusions: no command brings an entry into force that is not, nor the other way round.
func TestRemediesOfExclusions(t *testing.T) {
	r := newRemedies(t)
	const list = "[exclusions]\nexclusion = nqn=a\n[disabled]\nexclusion = nqn=b\n\n[exclusions]\nexclusion = nqn=c\n[broken\nexclusion = nqn=d\nfoo=bar\n"
	files := healthy()
	files["etc/nvme/exclusions.conf"] = list
	root := tree(t, files)
	for range 10 {
		found := look(root)
		if len(found) == 0 {
			return
		}
		r.run(t, root, found[0].Remedy)
		now, _ := exclusion.Load(root+"/etc/nvme/exclusions.conf", "")
		var entries []string
		for _, e := range now.Entries() {
			entries = append(entries, e.String())
		}
		if got := strings.Join(entries, " "); got != "nqn=a nqn=c" {
			t.Fatalf("after %s there are in force: %s", found[0].Remedy, got)
		}
	}
	t.Errorf("it does not end: %+v", look(root))
}

// TestFilesOfRootStay: what counts for the daemons is not taken away because this process cannot read it, or not all of it.
func TestFilesOfRootStay(t *testing.T) {
	files := healthy()
	files["etc/nvme/exclusions.conf"] = "[exclusions]\nexclusion = nqn=a\n" + strings.Repeat("#\n", 1<<19)
	root := tree(t, files)
	if got := look(root); len(got) != 1 || got[0].ID != "exclusion-unreadable" || got[0].Remedy != "" {
		t.Errorf("a long list: %+v", got)
	}
	if err := os.WriteFile(root+"/etc/nvme/hostkey", []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can become another")
	}
	// The directories are for all, as those of a host are.
	if err := errors.Join(os.Chmod(filepath.Dir(root), 0o755), os.Chmod(root, 0o755)); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // and never go back: the thread ends with the test
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	list := look(root)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	n := 0
	for _, f := range list {
		if strings.Contains(f.What, "permission denied") {
			n++
			if f.Remedy != "sudo stasadm check" && f.Remedy != "" {
				t.Errorf("a file of root's: %+v", f)
			}
		}
	}
	if n < 2 {
		t.Errorf("files of root's are no problem: %+v", list)
	}
}
