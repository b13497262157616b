package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/finder"
	"github.com/stas-go/stas/pkg/nbft"
	"github.com/stas-go/stas/pkg/netif"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// The interface that the firmware means may appear after the daemon has read its configuration, and go for a while.
func TestBootInterfaceAppearsLater(t *testing.T) {
	there, err := netif.Read()
	if err != nil {
		lacking(t, err)
	}
	var iface netif.Interface
	for _, l := range there.Interfaces() {
		if found, ok := there.ByMAC(l.MAC, 0); ok && len(l.MAC) == 6 && found.Index == l.Index {
			iface = l
		}
	}
	if iface.Name == "" {
		lacking(t, "no interface with a hardware address here")
	}
	d := new(daemon)
	d.boot.Store(&nbft.Boot{Discovery: []nbft.Connection{{TID: tid.TID{Transport: nvme.TCP, Traddr: "192.0.2.1", Trsvcid: "8009"}, MAC: iface.MAC.String()}}})
	d.network.Store(new(netif.Table))
	reports, last := 0, []finder.Candidate(nil)
	report := func(list []finder.Candidate, _ bool) { reports, last = reports+1, list }
	reported := func(want string) {
		t.Helper()
		if len(last) != 1 || last[0].TID.HostIface != want {
			t.Errorf("reported %+v, want one by interface %q", last, want)
		}
	}

	d.renewBoot(report)
	if reports != 0 {
		t.Error("a report before the configuration was read")
	}
	d.wantBoot(report, config.NBFTConnect)
	reported("")
	d.network.Store(there)
	d.renewBoot(report)
	reported(iface.Name)
	d.network.Store(new(netif.Table))
	d.renewBoot(report)
	reported(iface.Name)

	d.wantBoot(report, config.NBFTProtect)
	if len(last) != 0 {
		t.Errorf("reported %+v, want nothing", last)
	}
	n := reports
	d.renewBoot(report)
	if reports != n {
		t.Error("a report of what is not wanted")
	}
}

// A table that cannot be read for a moment is read when it can be. Until then nobody takes what is known for all that it says.
func TestBootTableIsUnreadableForAMoment(t *testing.T) {
	dir := t.TempDir()
	table := filepath.Join(dir, "NBFT")
	if err := os.Symlink("nowhere", table); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{log: slog.New(slog.DiscardHandler), again: make(chan struct{}, 1)}
		said := func(want bool) {
			t.Helper()
			d.wantBoot(func(_ []finder.Candidate, complete bool) {
				if complete != want {
					t.Errorf("complete: %v", complete)
				}
			}, config.NBFTConnect)
		}
		d.readBoot(dir)
		said(false)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go d.followBoot(dir)(ctx)
		time.Sleep(bootRetry + time.Second)
		said(false)
		if err := errors.Join(os.Remove(table), os.WriteFile(table, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * bootRetry)
		synctest.Wait()
		said(true)
		select {
		case <-d.again:
		default:
			t.Error("no reload")
		}
	})
}
