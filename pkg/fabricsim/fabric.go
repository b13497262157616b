package fabricsim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stas-go/stas/pkg/mdns"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
	"github.com/stas-go/stas/pkg/ramdisk"
)

// Fabric is a running simulation. Its methods may be called concurrently.
type Fabric struct {
	target *nvmetcp.Target
	pool   *ramdisk.Pool
	events *eventLog
	log    *slog.Logger
	// publish is mdns.Publish.
	publish func(mdns.Options, mdns.Announcement) (*mdns.Publisher, error)
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	active atomic.Pointer[[]*fault] // f.faults, for readers without the lock

	spawnMu sync.Mutex
	closed  bool // guarded by spawnMu: no goroutine starts any more

	// faultMu serializes the coming and going of faults with what they do to ports; it is taken before portMu.
	faultMu sync.Mutex

	// portMu serializes what opens and closes listeners; it is taken before mu.
	portMu sync.Mutex

	mu         sync.RWMutex
	ports      []*port
	dcs        []*dc
	subsystems []*subsystem
	byName     map[string]*subsystem
	byNQN      map[string]*subsystem
	hosts      map[string]HostConfig // by NQN
	hostNames  map[string]string     // name to NQN
	zones      []*zone
	faults     []*fault
}

// New builds a fabric and opens its ports. log gets one line per event; it may be nil.
// [Fabric.Close] ends it.
func New(cfg *Config, log *slog.Logger) (*Fabric, error) {
	f := newFabric(cfg, log)
	if err := f.build(cfg); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot build the fabric: %w", err)
	}
	return f, nil
}

// Check tells why [New] would refuse the configuration on any machine. It opens nothing.
func (c *Config) Check() error {
	f := newFabric(c, nil)
	defer f.cancel()
	return f.populate(c)
}

func newFabric(cfg *Config, log *slog.Logger) *Fabric {
	memory := cfg.Memory
	if memory == 0 {
		memory = defaultMemory
	}
	f := &Fabric{
		pool:   ramdisk.NewPool(memory),
		events: &eventLog{log: log},
		log:    log, publish: mdns.Publish,
		byName: make(map[string]*subsystem), byNQN: make(map[string]*subsystem),
		hosts: make(map[string]HostConfig), hostNames: make(map[string]string),
	}
	f.active.Store(new([]*fault))
	f.target = &nvmetcp.Target{Resolver: f, Interceptor: f, Observer: f, IOQueues: cfg.IOQueues}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// populate makes what the configuration describes, but for what takes addresses.
func (f *Fabric) populate(cfg *Config) error {
	for _, h := range cfg.Hosts {
		f.hosts[h.NQN] = h
		f.hostNames[h.Name] = h.NQN
	}
	for i, p := range cfg.Ports {
		f.ports = append(f.ports, newPort(p, uint16(i+1)))
	}
	for _, d := range cfg.DCs {
		if err := f.addDC(d, cfg.Announce); err != nil {
			return cfg.at("dc "+d.Name, err)
		}
	}
	for _, d := range f.dcs {
		if err := d.checkReferrals(); err != nil {
			return cfg.at("dc "+d.Name, fmt.Errorf("[dc %s]: %w", d.Name, err))
		}
	}
	for _, s := range cfg.Subsystems {
		if err := f.addSubsystems(s); err != nil {
			return cfg.at("subsystem "+s.Name, err)
		}
	}
	for _, e := range cfg.Entries {
		for _, name := range e.DCs {
			d := f.dc(name)
			if d == nil {
				return cfg.at("entry "+e.Name, fmt.Errorf("[entry %s]: there is no [dc %s]", e.Name, name))
			}
			d.extra = append(d.extra, e.Entry)
		}
	}
	for _, z := range cfg.Zones {
		if err := f.AddToZone(z.Name, z.Members...); err != nil {
			return cfg.at("zone "+z.Name, err)
		}
	}
	for _, c := range cfg.Faults {
		flt, err := newFault(c)
		if err == nil {
			err = f.concernsSomebody(flt)
		}
		if err != nil {
			return cfg.at("fault "+c.Name, fmt.Errorf("[fault %s]: %w", c.Name, err))
		}
	}
	return nil
}

func (f *Fabric) build(cfg *Config) error {
	if err := f.populate(cfg); err != nil {
		return err
	}
	// Nobody is served before all is as the configuration says: the addresses of all ports in log pages, and faults.
	var listeners []net.Listener
	for _, p := range f.ports {
		l, err := f.listen(p)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return cfg.at("port "+p.Name, err)
		}
		listeners = append(listeners, l)
	}
	err := f.addFaults(cfg, func(flt *fault) bool { return flt.kind != faultPort })
	for i, p := range f.ports {
		f.serve(p, listeners[i])
	}
	if err == nil {
		err = f.addFaults(cfg, func(flt *fault) bool { return flt.kind == faultPort })
	}
	if err != nil {
		return err
	}
	f.announceAll()
	return nil
}

// addFaults adds those of the configuration's faults that are meant.
func (f *Fabric) addFaults(cfg *Config, meant func(*fault) bool) error {
	for _, c := range cfg.Faults {
		if flt, err := newFault(c); err == nil && !meant(flt) {
			continue
		}
		if err := f.AddFault(c); err != nil {
			return cfg.at("fault "+c.Name, err)
		}
	}
	return nil
}

// Close closes all ports and connections, takes announcements back and waits for that.
func (f *Fabric) Close() {
	f.spawnMu.Lock()
	f.closed = true
	f.spawnMu.Unlock()
	f.cancel()
	f.wg.Wait()
	f.portMu.Lock()
	defer f.portMu.Unlock()
	for _, p := range f.ports {
		p.close()
	}
}

// spawn runs fn in a goroutine that Close waits for; not after Close, which it tells.
func (f *Fabric) spawn(fn func()) bool {
	f.spawnMu.Lock()
	defer f.spawnMu.Unlock()
	if !f.closed {
		f.wg.Go(fn)
	}
	return !f.closed
}

var errClosed = errors.New("the fabric is closed")

// names are looked up linearly where there are few of a kind; f.mu is held.

func (f *Fabric) port(name string) *port {
	for _, p := range f.ports {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (f *Fabric) dc(name string) *dc {
	for _, d := range f.dcs {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// hostNQN gives the NQN of a host by its name.
func (f *Fabric) hostNQN(name string) string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.hostNames[name]
}

// namesSubsystem says whether name is the name of what is reached by subnqn at a port.
func (f *Fabric) namesSubsystem(name, subnqn, port string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if s := f.byName[name]; s != nil {
		return s.nqn == subnqn
	}
	d := f.findDC(subnqn, port)
	return d != nil && (d.Name == name || d.nqn() == name)
}

// Resolve finds what a host connects to.
func (f *Fabric) Resolve(req *nvmetcp.ConnectRequest) (nvmetcp.Backend, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if d := f.findDC(req.SubNQN, req.Port); d != nil {
		return d, nil
	}
	s := f.byNQN[req.SubNQN]
	if s == nil || !s.on(req.Port) {
		return nil, nvme.StatusConnectInvalid | nvme.StatusDNR
	}
	if !f.allowed(s, req.HostNQN) {
		return nil, nvme.StatusConnectHost | nvme.StatusDNR
	}
	return s, nil
}

// findDC finds a discovery controller by the NQN that a host asks for; the
// well-known one means the first at this port. f.mu is held.
func (f *Fabric) findDC(nqn, port string) *dc {
	for _, d := range f.dcs {
		if d.on(port) && (nqn == nvme.DiscoveryNQN || d.NQN != "" && nqn == d.NQN) {
			return d
		}
	}
	return nil
}

// addSubsystems adds the subsystem, or the Count of them, that a section describes;
// f.mu is held, or nobody else knows f yet.
func (f *Fabric) addSubsystems(c SubsystemConfig) error {
	if c.Count == 0 {
		return f.addSubsystem(c, c.Name, c.NQN, c.Serial)
	}
	pattern := c.NQN
	if !strings.Contains(pattern, "%d") {
		pattern += "%d"
	}
	before := len(f.subsystems)
	for i := 1; i <= c.Count; i++ {
		n := strconv.Itoa(i)
		serial := c.Serial
		if serial != "" {
			serial += n
		}
		if err := f.addSubsystem(c, c.Name+n, strings.ReplaceAll(pattern, "%d", n), serial); err != nil {
			for _, s := range f.subsystems[before:] { // all or none
				delete(f.byName, s.name)
				delete(f.byNQN, s.nqn)
			}
			f.subsystems = slices.Delete(f.subsystems, before, len(f.subsystems))
			return err
		}
	}
	return nil
}

func (f *Fabric) addSubsystem(c SubsystemConfig, name, nqn, serial string) error {
	if err := nvme.CheckName(nqn); err != nil {
		return fmt.Errorf("subsystem %s: %w", name, err)
	}
	if f.byName[name] != nil || f.byNQN[nqn] != nil || f.dc(name) != nil {
		return fmt.Errorf("subsystem %s with NQN %s is there already", name, nqn)
	}
	if nqn == nvme.DiscoveryNQN {
		return fmt.Errorf("subsystem %s: %s is of discovery controllers", name, nqn)
	}
	for _, d := range f.dcs {
		if d.NQN == nqn {
			return fmt.Errorf("subsystem %s with NQN %s: [dc %s] has this NQN", name, nqn, d.Name)
		}
	}
	for _, h := range c.Hosts {
		if _, ok := f.hosts[h]; !ok && f.hostNames[h] == "" && nvme.CheckNQN(h) != nil {
			return fmt.Errorf("subsystem %s: %s is neither a host nor an NQN", name, h)
		}
	}
	if len(f.subsystems) >= maxSubsystems {
		return errors.New("there are too many subsystems")
	}
	s := newSubsystem(f, c, name, nqn, serial)
	f.subsystems = append(f.subsystems, s)
	f.byName[name], f.byNQN[nqn] = s, s
	return nil
}
