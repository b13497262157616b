//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stas-go/stas/test/fabric"
)

// guarded makes a subsystem that lets this host in with a secret only, behind the discovery controller of the tests. Nothing is
// started; the daemons find the subsystem by discovery.
func guarded(t *testing.T, host fabric.Host) *fabric.Subsystem {
	t.Helper()
	fabric.Clean(t)
	kernelLog(t)
	sub := fabric.NewSubsystem(t, prefix+"guarded", fabric.Options{Hosts: []fabric.Host{host}})
	fabric.TCP(t, address, service).Link(t, sub)
	fabric.Configure(t, "stafd.conf", noMDNS+controllers(dc))
	fabric.Configure(t, "stacd.conf", "")
	return sub
}

// rejected waits until stacd has told that sub cannot be connected, and why, and fails the test if it is connected.
func rejected(t *testing.T, since time.Time, sub *fabric.Subsystem, why ...string) {
	t.Helper()
	// The kernel's own patience with a target that does not end a failed authentication is a minute.
	said(t, since, 80*time.Second, "stacd", append([]string{sub.NQN}, why...)...)
	if len(fabric.Live(t, sub.NQN)) != 0 {
		t.Errorf("%s is connected", sub.NQN)
	}
}

// TestAuthentication has the kernel's target demand DH-HMAC-CHAP. The secrets are in different places; discovered controllers get
// those of the host.
func TestAuthentication(t *testing.T) {
	wide(t)
	right, ctrl, wrong := newSecret(), newSecret(), newSecret()
	line := fmt.Sprintf("transport=tcp;traddr=%s;trsvcid=%d;nqn=%sguarded", address, service, prefix)
	oneWay := fabric.Host{NQN: hostNQN(t), Key: right}
	twoWay := fabric.Host{NQN: hostNQN(t), Key: right, CtrlKey: ctrl}
	for _, c := range []struct {
		name       string
		host       fabric.Host
		sys, stacd string
		hostkey    string
		live       bool
	}{
		{name: "one-way, sys.conf, discovered", host: oneWay, sys: "[Host]\nkey=" + right + "\n", live: true},
		{name: "one-way, hostkey file, discovered", host: oneWay, hostkey: right + "\n", live: true},
		{name: "one-way, own line", host: oneWay, stacd: controllers(line + ";dhchap-secret=" + right), live: true},
		{name: "own line before sys.conf", host: oneWay, sys: "[Host]\nkey=" + wrong + "\n", stacd: controllers(line + ";dhchap-secret=" + right), live: true},
		{name: "two-way, own line", host: twoWay, stacd: controllers(line + ";dhchap-secret=" + right + ";dhchap-ctrl-secret=" + ctrl), live: true},
		{name: "two-way, new names", host: twoWay, stacd: controllers(line + ";kxchap-secret=" + right + ";kxchap-ctrl-secret=" + ctrl), live: true},
		{name: "two-way, sys.conf, discovered", host: twoWay, sys: "[Host]\nkey=" + right + "\nctrl-key=" + ctrl + "\n", live: true},
		{name: "no secret", host: oneWay},
		{name: "wrong secret", host: oneWay, sys: "[Host]\nkey=" + wrong + "\n"},
		{name: "wrong secret of the controller", host: twoWay, stacd: controllers(line + ";dhchap-secret=" + right + ";dhchap-ctrl-secret=" + wrong)},
	} {
		t.Run(c.name, func(t *testing.T) {
			sub := guarded(t, c.host)
			confidential(t, "sys.conf", c.sys)
			confidential(t, "stacd.conf", c.stacd)
			if c.hostkey != "" {
				confidential(t, "/etc/nvme/hostkey", c.hostkey)
			}
			began := time.Now()
			fabric.Start(t, "stafd", "stacd")
			if c.live {
				awaitOwned(t, 30*time.Second, sub)
				fabric.BlockDevice(t, 10*time.Second, sub.NQN, 1)
				closed(t)
			} else {
				rejected(t, began, sub, "cannot connect")
			}
			unsaid(t, began, right, ctrl, wrong)
		})
	}
}

// TestAuthenticationRotated changes the secret of host and target. The connection stays, and the next one is made with the new one.
func TestAuthenticationRotated(t *testing.T) {
	wide(t)
	first, second := newSecret(), newSecret()
	sub := guarded(t, fabric.Host{NQN: hostNQN(t), Key: first})
	confidential(t, "sys.conf", "[Host]\nkey="+first+"\n")
	began := time.Now()
	fabric.Start(t, "stafd", "stacd")
	awaitOwned(t, 30*time.Second, sub)
	before := fabric.Live(t, sub.NQN)
	u := watchAll(t, sub)

	setKey(t, second)
	confidential(t, "sys.conf", "[Host]\nkey="+second+"\n")
	fabric.Reload(t, "stafd", "stacd")
	pending := func(want ...string) {
		t.Helper()
		fabric.Eventually(t, 5*time.Second, func() error {
			if got := objects(t, "stacctl")[sub.NQN].PendingChanges; !slices.Equal(got, want) {
				return fmt.Errorf("pending changes %q, not %q", got, want)
			}
			return nil
		})
	}
	pending("dhchap-secret")
	fabric.Never(t, 2*time.Second, u.gone)
	u.proven(t)
	closed(t)

	events := fabric.Record(t)
	fabric.Run(t, "nvme", "disconnect", "-d", before[0].Name)
	events.Await(t, 60*time.Second, 1, "remove", "")
	events.Await(t, 60*time.Second, 1, "change", "connected")
	awaitOwned(t, 5*time.Second, sub)
	closed(t)
	pending()
	if got := content(t, filepath.Join("/sys/class/nvme", fabric.Live(t, sub.NQN)[0].Name, "dhchap_secret")); got != second {
		t.Error("connected with another secret than the new one")
	}
	unsaid(t, began, first, second)
}

// setKey changes the secret that the target wants from this host.
func setKey(t *testing.T, key string) {
	t.Helper()
	if err := os.WriteFile("/sys/kernel/config/nvmet/hosts/"+hostNQN(t)+"/dhchap_key", []byte(key), 0); err != nil {
		t.Fatal(err)
	}
}

// TestAuthenticationHealed gives the right secret by reload after a wrong one was refused: that is tried at once.
func TestAuthenticationHealed(t *testing.T) {
	wide(t)
	right, wrong := newSecret(), newSecret()
	sub := guarded(t, fabric.Host{NQN: hostNQN(t), Key: right})
	confidential(t, "sys.conf", "[Host]\nkey="+wrong+"\n")
	began := time.Now()
	fabric.Start(t, "stafd", "stacd")
	rejected(t, began, sub, "cannot connect")
	confidential(t, "sys.conf", "[Host]\nkey="+right+"\n")
	fabric.Reload(t, "stacd")
	took := awaitOwned(t, 8*time.Second, sub)
	t.Logf("live %v after the reload", took.Round(time.Millisecond))
	unsaid(t, began, right, wrong)
}

// TestTwoIdentities connects one target as two hosts.
func TestTwoIdentities(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	const id = "4a2c8e10-6d3b-4f5a-9e71-b0c2d4e6f802"
	other := "nqn.2014-08.org.nvmexpress:uuid:" + id
	key := newSecret()
	sub := fabric.NewSubsystem(t, prefix+"shared", fabric.Options{Hosts: []fabric.Host{{NQN: hostNQN(t)}, {NQN: other, Key: key}}})
	fabric.TCP(t, address, service).Link(t, sub)
	line := fmt.Sprintf("transport=tcp;traddr=%s;trsvcid=%d;nqn=%s", address, service, sub.NQN)
	confidential(t, "stacd.conf", controllers(line, line+";host-nqn="+other+";dhchap-secret="+key))
	fabric.Start(t, "stacd")
	both := func() error {
		ids := map[string]string{}
		for _, c := range fabric.Live(t, sub.NQN) {
			if c.Owner() != "stas" {
				return fmt.Errorf("owner of %s is %q", c.Name, c.Owner())
			}
			ids[c.HostNQN] = c.HostID
		}
		if len(ids) != 2 || ids[hostNQN(t)] != hostID(t) || ids[other] != id {
			return fmt.Errorf("identities: %v", ids)
		}
		return nil
	}
	fabric.Eventually(t, 30*time.Second, both)
	closed(t)
	before := fabric.Controllers(t)

	// Found again as what they are.
	fabric.Restart(t, "stacd")
	fabric.Never(t, 3*time.Second, func() error {
		if n := len(fabric.Controllers(t)); n != 2 {
			return fmt.Errorf("%d controllers", n)
		}
		return nil
	})
	fabric.Unharmed(t, before)
	if err := both(); err != nil {
		t.Error(err)
	}
}

// TestIdentityConflict has another tool use this host's ID with another NQN: the kernel would say EINVAL, the daemon says which
// connection is in the way, and goes on when it is gone.
func TestIdentityConflict(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	if _, err := os.Stat("/sys/module/nvme_keyring"); errors.Is(err, os.ErrNotExist) {
		t.Skip("this kernel is older than 6.5")
	}
	subs := fabric.NewSubsystems(t, prefix+"c", 2, fabric.Options{})
	fabric.TCP(t, address, service).Link(t, subs...)
	const other = "nqn.2014-08.org.nvmexpress:test:another-host"
	name, err := fabric.Connect(fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=%s,hostnqn=%s,hostid=%s", address, service, subs[0].NQN, other, hostID(t)))
	if err != nil {
		t.Fatal(err)
	}
	fabric.Configure(t, "stacd.conf", controllers(fmt.Sprintf("transport=tcp;traddr=%s;trsvcid=%d;nqn=%s", address, service, subs[1].NQN)))
	began := time.Now()
	fabric.Start(t, "stacd")
	rejected(t, began, subs[1], "host ID "+hostID(t)+" is in use with host NQN "+other+" by "+name)
	fabric.Run(t, "nvme", "disconnect", "-d", name)
	fabric.AwaitLive(t, 40*time.Second, subs[1].NQN)
}
