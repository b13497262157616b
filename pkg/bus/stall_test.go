package bus

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stas-go/stas/test/privatebus"
)

func TestServerOutlivesTheBus(t *testing.T) {
	b := privatebus.Start(t)
	b.Kill()
	f := &fakeDaemon{}
	s := NewFinderServer(options(b), f, f, f)
	start(t, s)
	<-s.Settled() // without a bus the daemon goes on
	if s.Connected() {
		t.Fatal("connected to a bus that is not there")
	}
	s.DCRemoved() // goes nowhere and blocks nobody
	for range 3 {
		b.Run()
		eventually(t, "back on the bus", s.Connected)
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		c, err := ConnectFinder(ctx, options(b))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Controllers(ctx, true); err != nil {
			t.Error(err)
		}
		c.Close()
		cancel()
		b.Kill()
		eventually(t, "off the bus", func() bool { return !s.Connected() })
	}
}

func TestStalledBusBlocksNobody(t *testing.T) {
	b := privatebus.Start(t)
	opts := options(b)
	opts.WriteTimeout = 300 * time.Millisecond
	f := &fakeDaemon{}
	s := startFinder(t, opts, f)
	b.Stop()
	defer b.Continue()
	began := time.Now()
	long := strings.Repeat("x", 1000)
	eventually(t, "the server gave the stalled bus up", func() bool {
		for i := range 1000 {
			s.PageChanged(long, uint64(i))
			s.PageChanged(long[:i], uint64(i))
		}
		return !s.Connected()
	})
	if took := time.Since(began); took > time.Minute {
		t.Errorf("that took %v", took)
	}
	b.Continue()
	eventually(t, "back on the bus", s.Connected)
}

func TestStopWhileTheBusStalls(t *testing.T) {
	b := privatebus.Start(t)
	opts := options(b)
	opts.WriteTimeout = time.Minute
	f := &fakeDaemon{}
	s := NewFinderServer(opts, f, f, f)
	stop := start(t, s)
	onBus(t, s.server)
	b.Stop()
	defer b.Continue()
	for i := range 20000 {
		s.PageChanged(strings.Repeat("x", i%500+500)+string(rune('a'+i%26)), uint64(i))
	}
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > opts.WriteTimeout/2 {
		t.Errorf("stopping took %v", took)
	}
}

func TestBusThatNeverAnswers(t *testing.T) {
	b := privatebus.Start(t)
	opts := options(b)
	opts.ConnectTimeout = 200 * time.Millisecond
	b.Stop()
	defer b.Continue()
	began := time.Now()
	_, err := ConnectFinder(t.Context(), opts)
	if err == nil || !strings.Contains(err.Error(), "does not answer") || time.Since(began) > 30*time.Second {
		t.Errorf("connecting: %v after %v", err, time.Since(began))
	}
}
