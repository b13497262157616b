package fabricsim

import (
	"net/netip"
	"path/filepath"
	"testing"
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
