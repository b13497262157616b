package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stas-go/stas/pkg/journal"
)

// told is what an outdated has said, and to whom.
type told struct {
	*outdated
	mu      sync.Mutex
	devices []string
	status  string
	journal bytes.Buffer
}

// Write implements io.Writer for the journal.
func (s *told) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.Write(p)
}

// has sets which connections are outdated, as the event loop does.
func (s *told) has(devices ...string) {
	s.mu.Lock()
	s.devices = devices
	s.mu.Unlock()
	s.changed(len(devices))
	synctest.Wait()
}

// lines are those of the journal since the last call.
func (s *told) lines() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.journal.Reset()
	return s.journal.String()
}

func outdatedTest(t *testing.T, f func(t *testing.T, s *told)) {
	synctest.Test(t, func(t *testing.T) {
		s := &told{}
		d := &daemon{log: slog.New(journal.NewHandler(s, slog.LevelInfo, true))}
		d.status.tell = func(lines ...string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.status = strings.Join(lines, "|")
		}
		s.outdated = newOutdated(d, "stacctl")
		s.names = func(context.Context) ([]string, []string, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.devices, []string{"kato", "dhchap-secret"}, nil
		}
		d.status.put(statusFiles, "3 configured I/O controllers", "READY=1")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.run(ctx)
		f(t, s)
	})
}

func TestReloadSaysWhatNeedsAReconnect(t *testing.T) {
	const line = "<4>3 connections use other parameters (kato, dhchap-secret) than the configuration now says; " +
		"it takes effect at the next connect, or now with: stacctl reconnect nvme3 nvme4 nvme10\n"
	outdatedTest(t, func(t *testing.T, s *told) {
		s.say(t.Context())
		if got := s.lines(); got != "" {
			t.Errorf("with nothing outdated: %q", got)
		}
		s.has("nvme3", "nvme4", "nvme10") // what the loop tells while the reload is in progress
		s.say(t.Context())
		if got := s.lines(); got != line {
			t.Errorf("got  %q\nwant %q", got, line)
		}
		if want := "STATUS=3 configured I/O controllers; 3 connections wait for a reconnect to use changed parameters"; s.status != want {
			t.Errorf("status %q, want %q", s.status, want)
		}
		time.Sleep(time.Minute)
		s.has("nvme3")
		time.Sleep(time.Minute)
		if got := s.lines(); got != "" {
			t.Errorf("said again: %q", got)
		}
		s.say(t.Context()) // the next reload says it again
		if got := s.lines(); !strings.HasPrefix(got, "<4>1 connection uses other parameters") {
			t.Errorf("got %q", got)
		}
		s.has()
		if s.status != "STATUS=3 configured I/O controllers" {
			t.Errorf("status %q", s.status)
		}
	})
}

func TestWhatIsFoundLaterIsSaidOnce(t *testing.T) {
	outdatedTest(t, func(t *testing.T, s *told) {
		s.say(t.Context()) // the start
		var all []string
		for n := range 100 {
			all = append(all, fmt.Sprintf("nvme%d", n))
			s.has(all...)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		got := s.lines()
		if !strings.Contains(got, "100 connections use") || !strings.HasSuffix(got, "nvme14 nvme15 (and 84 more: stacctl status)\n") || strings.Count(got, "\n") != 1 {
			t.Errorf("got %q", got)
		}
	})
}
