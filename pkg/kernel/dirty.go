package kernel

import (
	"sync"

	"github.com/stas-go/stas/pkg/uevent"
)

// maxFCPending bounds the FC ports that wait to be told. More are told by a kickstart.
const maxFCPending = 4096

// dirty collects what has to be looked at until the consumer takes it: one entry per
// controller however many events there were, in the order in which they became dirty.
// Those with events of their own go before those that are only part of a rescan.
type dirty struct {
	mu      sync.Mutex
	pending map[string]flags
	urgent  []string
	later   []string
	fc      []FCDiscovery
	fcSeen  map[FCDiscovery]bool
	fabrics bool
	scan    scan // look at everything, for this reason
	done    bool // tell that a scan is through
	wake    chan struct{}
}

// scan is a reason to look at everything; the greater one wins.
type scan uint8

const (
	noScan    scan = iota
	quietScan      // as a net under lost changes; nobody waits for its end
	firstScan      // ScanDone is told after it
	lostScan       // events were lost, among them perhaps that of a log page
)

func newDirty() *dirty {
	return &dirty{pending: map[string]flags{}, fcSeen: map[FCDiscovery]bool{}, wake: make(chan struct{}, 1)}
}

func (d *dirty) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// event adds what an event tells.
func (d *dirty) event(e *uevent.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e.Subsystem {
	case "nvme":
		name, f, ok := controllerEvent(e)
		if !ok {
			return
		}
		d.mark(name, f)
	case "fc":
		port, ok := fcEvent(e)
		if !ok || d.fcSeen[port] || len(d.fc) >= maxFCPending {
			return
		}
		d.fcSeen[port] = true
		d.fc = append(d.fc, port)
	case "misc":
		if !fabricsEvent(e) {
			return
		}
		d.fabrics = true
	default:
		return
	}
	d.signal()
}

// mark notes an event about a controller.
func (d *dirty) mark(name string, f flags) {
	now := d.pending[name]
	if f&flagRemoved != 0 {
		// What was said of the one that went is not true of one that comes after it.
		now &= flagRescan | flagUrgent
	}
	if now&flagUrgent == 0 {
		d.urgent = append(d.urgent, name)
	}
	d.pending[name] = now | f | flagUrgent
}

// request asks for a scan.
func (d *dirty) request(s scan) {
	d.mu.Lock()
	d.scan = max(d.scan, s)
	d.mu.Unlock()
	d.signal()
}

// takeScan says whether, and why, everything has to be looked at.
func (d *dirty) takeScan() scan {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.scan
	d.scan = noScan
	return s
}

// putBack returns what could not be looked at.
func (d *dirty) putBack(i item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i.name != "" {
		later := d.pending[i.name]
		if later&flagRemoved == 0 {
			later |= i.flags &^ flagUrgent
		}
		d.pending[i.name] = later &^ flagUrgent
		d.mark(i.name, 0)
	}
}

// rescan marks all of names, and none but them except for those that have an event; why
// it is done decides what is told.
func (d *dirty) rescan(names []string, why scan) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := flagRescan
	if why == lostScan {
		f |= flagAEN
	}
	earlier := map[string]flags{}
	for _, n := range d.later {
		if now, ok := d.pending[n]; ok && now&flagUrgent == 0 {
			earlier[n] = now
			delete(d.pending, n)
		}
	}
	d.later = d.later[:0]
	for _, n := range names {
		now := d.pending[n] | earlier[n] | f
		if now&flagUrgent == 0 {
			d.later = append(d.later, n)
		}
		d.pending[n] = now
	}
	d.done = d.done || why >= firstScan
	d.signal()
}

// item is one thing to look at.
type item struct {
	name    string
	flags   flags
	fc      *FCDiscovery
	fabrics bool
	done    bool
}

// next takes the next thing to look at; false where there is none.
func (d *dirty) next() (item, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fabrics {
		d.fabrics = false
		return item{fabrics: true}, true
	}
	for _, queue := range []*[]string{&d.urgent, &d.later} {
		for len(*queue) > 0 {
			name := (*queue)[0]
			*queue = (*queue)[1:]
			// A name can be in both queues: it moved up when an event came.
			if f, ok := d.pending[name]; ok {
				delete(d.pending, name)
				return item{name: name, flags: f}, true
			}
		}
		*queue = nil
	}
	if len(d.fc) > 0 {
		port := d.fc[0]
		d.fc = d.fc[1:]
		delete(d.fcSeen, port)
		return item{fc: &port}, true
	}
	if d.done {
		d.done = false
		return item{done: true}, true
	}
	return item{}, false
}
