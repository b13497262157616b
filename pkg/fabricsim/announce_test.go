package fabricsim

import (
	"net/netip"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stas-go/stas/pkg/mdns"
)

// A discovery controller is announced anew with its port while its settings change.
func TestAnnounceWhileSettingsChange(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "none")) // no Avahi
	f := start(t, "[fabricsim]\nannounce = yes\n"+sample)
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		for range 5 {
			if err := f.MovePort("p1", netip.MustParseAddrPort("127.0.0.1:0")); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := 0; ; i++ {
		select {
		case <-moved:
			return
		default:
		}
		if err := f.SetDC("cdc", "type", []string{"ddc", "cdc"}[i%2]); err != nil {
			t.Error(err)
		}
	}
}

// What the announcement tells of a discovery controller is told at once when it changes, and others stay announced meanwhile.
func TestAnnounceAnotherType(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "none")) // no Avahi
	f := start(t, "[fabricsim]\nannounce = yes\n"+sample+"\n[dc other]\nnqn = nqn.2024-01.org.example:other\nports = p1 p2\n")
	var told []mdns.Announcement
	f.publish = func(o mdns.Options, a mdns.Announcement) (*mdns.Publisher, error) {
		told = append(told, a)
		return mdns.Publish(o, a)
	}
	set := func(key, value string) {
		t.Helper()
		if err := f.SetDC("other", key, value); err != nil {
			t.Fatal(err)
		}
	}
	set("type", "cdc")
	set("type", "cdc")
	set("ncc", "yes")
	set("type", "ddc")
	var got []string
	for _, a := range told {
		got = append(got, a.Name+map[bool]string{true: " cdc"}[a.CDC])
	}
	if want := []string{"fabricsim other p1 cdc", "fabricsim other p2 cdc", "fabricsim other p1", "fabricsim other p2"}; !slices.Equal(got, want) {
		t.Errorf("announced were %q, want %q", got, want)
	}
	quiet := start(t, sample)
	quiet.publish = func(mdns.Options, mdns.Announcement) (*mdns.Publisher, error) {
		t.Error("what was not announced is")
		return nil, nil
	}
	if err := quiet.SetDC("cdc", "type", "ddc"); err != nil {
		t.Error(err)
	}
}
