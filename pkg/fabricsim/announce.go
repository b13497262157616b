package fabricsim

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/stas-go/stas/pkg/mdns"
	"github.com/stas-go/stas/pkg/nvme"
)

// announceAll announces the discovery controllers that want it, by Avahi, until the
// fabric is closed.
func (f *Fabric) announceAll() {
	f.portMu.Lock()
	defer f.portMu.Unlock()
	for _, p := range f.ports {
		f.announcePort(p)
	}
}

// announcePort announces the discovery controllers at a port anew. f.portMu is held.
func (f *Fabric) announcePort(p *port) {
	for name, stop := range p.announced {
		stop()
		delete(p.announced, name)
	}
	f.mu.RLock() // settings may change meanwhile
	var list []DCConfig
	for _, d := range f.dcs {
		if d.announced && d.on(p.Name) {
			list = append(list, d.DCConfig)
		}
	}
	f.mu.RUnlock()
	for _, d := range list {
		f.announce(d, p)
	}
}

// announceAgain announces one discovery controller anew, where it is announced.
func (f *Fabric) announceAgain(name string) {
	f.portMu.Lock()
	defer f.portMu.Unlock()
	f.mu.RLock()
	c := f.dc(name).DCConfig
	f.mu.RUnlock()
	for _, p := range f.ports {
		if stop := p.announced[name]; stop != nil {
			stop()
			delete(p.announced, name)
			f.announce(c, p)
		}
	}
}

// announcement is what the network is told of a discovery controller at a port.
func (d *DCConfig) announcement(p *port) mdns.Announcement {
	a := mdns.Announcement{
		Name:     "fabricsim " + d.Name + " " + p.Name,
		Port:     p.addr.Port(),
		Protocol: string(nvme.TCP),
		NQN:      d.nqn(),
		CDC:      d.Type == nvme.DCTypeCDC,
	}
	// Every address of this machine would be announced otherwise, also those at which
	// the port does not listen. Loopback addresses mean nothing to others.
	if addr, err := netip.ParseAddr(p.traddr); err == nil && !addr.IsLoopback() && !addr.IsUnspecified() {
		a.Host = hostLabel(d.Name+"-"+p.Name) + ".local"
		a.Addrs = []netip.Addr{addr}
	}
	return a
}

func (f *Fabric) announce(d DCConfig, p *port) {
	log := f.log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	pub, err := f.publish(mdns.Options{Logger: log}, d.announcement(p))
	if err != nil {
		f.record("error", err.Error())
		return
	}
	ctx, cancel := context.WithCancel(f.ctx)
	gone := make(chan struct{})
	started := f.spawn(func() {
		defer close(gone)
		defer cancel()
		defer pub.Close() // says goodbye
		select {
		case <-pub.Ready():
			f.events.add(Event{Kind: "announce", Port: p.Name, Detail: d.Name})
			<-ctx.Done()
		case <-ctx.Done():
		}
	})
	if !started {
		cancel()
		pub.Close()
		return
	}
	p.announced[d.Name] = func() { cancel(); <-gone }
}

// hostLabel makes a label of a host name out of any text.
func hostLabel(s string) string {
	label := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, s)
	return strings.Trim(label[:min(len(label), 63)], "-")
}
