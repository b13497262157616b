package fabric

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Controller is a fabrics controller as sysfs shows it. Attributes that the kernel does not give are empty.
type Controller struct {
	Name      string // nvme3
	Instance  int    // 3
	CntlID    string // changes with every new association that the target makes
	NQN       string
	Transport string
	Address   string // traddr=…,trsvcid=…,… as the kernel has it
	State     string // live, connecting, …
	Type      string // io, discovery, admin
	HostNQN   string
	HostID    string
	KATO      string // keep-alive timeout in seconds
}

// Discovery says whether this is a discovery controller.
func (c Controller) Discovery() bool {
	return c.Type == "discovery" || c.NQN == "nqn.2014-08.org.nvmexpress.discovery"
}

// Field is one field of the address, traddr for example; empty when it is not there.
func (c Controller) Field(name string) string {
	for f := range strings.SplitSeq(c.Address, ",") {
		if k, v, _ := strings.Cut(f, "="); k == name {
			return v
		}
	}
	return ""
}

// Device is the controller's character device.
func (c Controller) Device() string { return "/dev/" + c.Name }

// Owner is what the registry says, empty when it says nothing.
func (c Controller) Owner() string {
	b, _ := os.ReadFile("/run/nvme/registry/" + c.Name + "/owner")
	return strings.TrimRight(string(b), "\r\n")
}

// Controllers are all fabrics controllers, ordered by instance.
func Controllers(t testing.TB) []Controller {
	t.Helper()
	return controllers()
}

// controllers reads sysfs; a controller that vanishes meanwhile is left out.
func controllers() []Controller {
	paths, _ := filepath.Glob("/sys/class/nvme/nvme*")
	var all []Controller
	for _, p := range paths {
		attribute := func(name string) string {
			b, _ := os.ReadFile(filepath.Join(p, name))
			return strings.TrimSpace(string(b))
		}
		c := Controller{Name: filepath.Base(p), Transport: attribute("transport"), State: attribute("state")}
		if c.Transport == "" || c.Transport == "pcie" {
			continue
		}
		c.Instance, _ = strconv.Atoi(strings.TrimPrefix(c.Name, "nvme"))
		c.CntlID, c.NQN, c.Address = attribute("cntlid"), attribute("subsysnqn"), attribute("address")
		c.Type, c.HostNQN, c.HostID, c.KATO = attribute("cntrltype"), attribute("hostnqn"), attribute("hostid"), attribute("kato")
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Controller) int { return a.Instance - b.Instance })
	return all
}

func describe(all []Controller) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintf(&b, "%s cntlid=%s %s %s %s %q owner=%q\n", c.Name, c.CntlID, c.State, c.Transport, c.NQN, c.Address, c.Owner())
	}
	return b.String()
}

// Live are the controllers of subsystem nqn that are live.
func Live(t testing.TB, nqn string) []Controller {
	t.Helper()
	return slices.DeleteFunc(controllers(), func(c Controller) bool { return c.NQN != nqn || c.State != "live" })
}

// AwaitLive waits until each of the subsystems has a live controller.
func AwaitLive(t testing.TB, within time.Duration, nqns ...string) {
	t.Helper()
	var missing []string
	Eventually(t, within, func() error {
		live := make(map[string]bool)
		for _, c := range controllers() {
			if c.State == "live" {
				live[c.NQN] = true
			}
		}
		missing = missing[:0]
		for _, n := range nqns {
			if !live[n] {
				missing = append(missing, n)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%d of %d subsystems have no live controller, first %s", len(missing), len(nqns), missing[0])
		}
		return nil
	})
}

// AwaitGone waits until none of the subsystems has a controller.
func AwaitGone(t testing.TB, within time.Duration, nqns ...string) {
	t.Helper()
	Eventually(t, within, func() error {
		for _, c := range controllers() {
			if slices.Contains(nqns, c.NQN) {
				return fmt.Errorf("%s (%s, %s) is still there", c.Name, c.NQN, c.State)
			}
		}
		return nil
	})
}

// Unharmed fails the test when a controller of before is gone, is another one under the same name, or is not live.
func Unharmed(t testing.TB, before []Controller) {
	t.Helper()
	now := make(map[string]Controller)
	for _, c := range controllers() {
		now[c.Name] = c
	}
	for _, was := range before {
		is, there := now[was.Name]
		switch {
		case !there:
			t.Errorf("%s (%s) is gone", was.Name, was.NQN)
		case is.NQN != was.NQN || is.CntlID != was.CntlID:
			t.Errorf("%s was cntlid %s of %s, is cntlid %s of %s", was.Name, was.CntlID, was.NQN, is.CntlID, is.NQN)
		case is.State != "live":
			t.Errorf("%s (%s) is %s", is.Name, is.NQN, is.State)
		}
	}
}

// Connect connects by hand, as nvme-cli does: options for /dev/nvme-fabrics as the kernel names them. It returns the
// new controller's name and the error of the kernel, and blocks as long as the kernel does.
func Connect(options string) (string, error) {
	f, err := os.OpenFile("/dev/nvme-fabrics", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(options); err != nil {
		return "", err
	}
	b := make([]byte, 256)
	n, err := f.Read(b)
	if err != nil {
		return "", err
	}
	for field := range strings.SplitSeq(strings.TrimSpace(string(b[:n])), ",") {
		if k, v, _ := strings.Cut(field, "="); k == "instance" {
			return "nvme" + v, nil
		}
	}
	return "", fmt.Errorf("reply %q has no instance", b[:n])
}
