package mdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/holoplot/go-avahi"
	"github.com/stas-go/stas/pkg/nvme"
)

// Announcement is what a [Publisher] tells the network.
type Announcement struct {
	Name      string // instance name, 1 to 63 bytes of UTF-8
	Type      string // TypeTCP or TypeUDP; empty: TypeTCP
	Port      uint16
	Protocol  string // value of the TXT key "p": tcp, roce, iwarp; empty: none
	NQN       string // value of the TXT key "nqn"; empty: none
	CDC       bool   // announce the subtype of centralized discovery controllers too
	Interface string // empty: all
	// Host and Addrs name the machine that is announced where it is not this one: a name
	// in the domain "local" and its addresses. Both empty: this host.
	Host  string
	Addrs []netip.Addr
	// TXT are further strings of the TXT record, behind those made of Protocol and NQN.
	TXT [][]byte
}

// Publisher announces one service through Avahi, again after each restart of Avahi or of the
// bus, until it is closed.
type Publisher struct {
	o      Options
	t      timing
	a      Announcement
	ready  chan struct{}
	once   sync.Once
	cancel context.CancelFunc
	done   chan struct{}
}

// Publish starts to announce a. It does not wait for Avahi, see [Publisher.Ready]; errors are about a.
func Publish(o Options, a Announcement) (*Publisher, error) {
	if a.Type == "" {
		a.Type = TypeTCP
	}
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("cannot announce %.64q: %w", a.Name, err)
	}
	return publish(o, a, defaultTiming), nil
}

func publish(o Options, a Announcement, t timing) *Publisher {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Publisher{o: o, t: t, a: a, ready: make(chan struct{}), cancel: cancel, done: make(chan struct{})}
	go p.run(ctx)
	return p
}

// Ready is closed once the service has been announced for the first time.
func (p *Publisher) Ready() <-chan struct{} { return p.ready }

// Close takes the announcement back (a goodbye packet, RFC 6762, section 10.1) and waits for that.
func (p *Publisher) Close() {
	p.cancel()
	<-p.done
}

func (a Announcement) check() error {
	switch {
	case a.Name == "" || len(a.Name) > 63 || !utf8.ValidString(a.Name): // RFC 6763, section 4.1.1
		return errors.New("a name is 1 to 63 bytes of UTF-8")
	case a.Type != TypeTCP && a.Type != TypeUDP:
		return fmt.Errorf("type is neither %s nor %s", TypeTCP, TypeUDP)
	case a.CDC && a.Type != TypeTCP:
		return fmt.Errorf("only %s has the subtype %s", TypeTCP, SubtypeCDC)
	case a.Port == 0:
		return errors.New("port is 0")
	case (a.Host == "") != (len(a.Addrs) == 0):
		return errors.New("a host needs addresses and addresses need a host")
	}
	if a.NQN != "" {
		return nvme.CheckNQN(a.NQN)
	}
	return nil
}

func (a Announcement) txt() [][]byte {
	var txt [][]byte
	if a.Protocol != "" {
		txt = append(txt, []byte("p="+a.Protocol))
	}
	if a.NQN != "" {
		txt = append(txt, []byte("nqn="+a.NQN))
	}
	return append(txt, a.TXT...)
}

func (p *Publisher) run(ctx context.Context) {
	defer close(p.done)
	fails := 0
	for ctx.Err() == nil {
		start := time.Now()
		err := p.session(ctx)
		if ctx.Err() != nil {
			return
		}
		p.o.logger().Warn("service is not announced", "service", p.a.Name, "err", err)
		if errors.Is(err, errCollision) {
			p.a.Name = nextName(p.a.Name)
		}
		if time.Since(start) > p.t.retryMax {
			fails = 0
		}
		fails++
		sleep(ctx, pause(fails, p.t.retryMin, p.t.retryMax))
	}
}

var errCollision = errors.New("another service has this name")

// nextName counts up the way DNS-SD does for a name that is taken (RFC 6763, appendix D).
func nextName(name string) string {
	base, n := name, 1
	for i := len(name) - 1; i > 1; i-- {
		if name[i] < '0' || name[i] > '9' {
			if k, err := strconv.Atoi(name[i+1:]); err == nil && name[i-1:i+1] == " #" {
				base, n = name[:i-1], k
			}
			break
		}
	}
	suffix := " #" + strconv.Itoa(n+1)
	for len(base)+len(suffix) > 63 {
		_, size := utf8.DecodeLastRuneInString(base)
		base = base[:len(base)-size]
	}
	return base + suffix
}

// session announces on one connection to one Avahi. Like the browser's pump it drains
// go-avahi's channel until the server is closed, and calls the server elsewhere.
func (p *Publisher) session(ctx context.Context) error {
	l, err := dial(ctx, p.o.Address, p.t.call)
	if err != nil {
		return err
	}
	defer l.close()
	owner, err := l.awaitOwner(ctx)
	if err != nil {
		return err
	}
	server, err := avahi.ServerNew(l.conn)
	if err != nil {
		return fmt.Errorf("cannot talk to Avahi: %w", err)
	}
	groups := make(chan *avahi.EntryGroup, 1)
	work := make(chan error, 1)
	go func() { work <- p.announce(server, groups) }()
	working := true

	var group *avahi.EntryGroup
	var states chan avahi.EntryGroupState
	stall := time.NewTimer(p.t.call)
	defer stall.Stop()
	leaving := ctx.Done()
	bye, resetting := false, false
	for end := false; !end; {
		select {
		case <-leaving:
			leaving = nil
			bye = true
		case group = <-groups:
			states = group.StateChangeChannel
		case s := <-states:
			err = p.stateChanged(s)
			end = err != nil
		case err = <-work:
			working = false
			stall.Stop()
			end = err != nil || resetting
		case <-l.gate.changed:
			if l.gate.currentOwner() != owner {
				err, end = errOwnerChanged, true
			}
		case <-l.conn.Context().Done():
			err, end = errBusGone, true
		case <-stall.C:
			err, end = fmt.Errorf("the Avahi daemon has not answered within %v", p.t.call), true
		}
		if bye && !working && !end { // what was being set up is set up: now take it back
			bye, resetting, working = false, true, true
			if group == nil {
				group = <-groups
				states = group.StateChangeChannel
			}
			stall.Reset(p.t.call)
			go func() { work <- group.Reset() }()
		}
	}
	l.cut()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if working {
			<-work //nolint:errcheck // only that it has ended counts
		}
		server.Close()
	}()
	for {
		select {
		case group = <-groups:
			states = group.StateChangeChannel
		case <-states:
		case <-closed:
			return err
		}
	}
}

func (p *Publisher) stateChanged(s avahi.EntryGroupState) error {
	switch s.State {
	case avahi.EntryGroupEstablished:
		p.once.Do(func() { close(p.ready) })
	case avahi.EntryGroupCollision:
		return errCollision
	case avahi.EntryGroupFailure:
		return fmt.Errorf("the Avahi daemon gave up: %s", clean(s.Error))
	}
	return nil
}

// announce makes the entry group. It hands the group over before the first signal of it can come.
func (p *Publisher) announce(server *avahi.Server, groups chan<- *avahi.EntryGroup) error {
	index := int32(avahi.InterfaceUnspec)
	if p.a.Interface != "" {
		i, err := net.InterfaceByName(p.a.Interface)
		if err != nil {
			return fmt.Errorf("cannot announce on interface %s: %w", p.a.Interface, err)
		}
		index = int32(i.Index)
	}
	group, err := server.EntryGroupNew()
	if err != nil {
		return fmt.Errorf("cannot make an entry group: %w", err)
	}
	groups <- group
	for _, addr := range p.a.Addrs {
		err := group.AddAddress(index, avahi.ProtoUnspec, avahi.PublishNoReverse, p.a.Host, addr.WithZone("").String())
		if err != nil {
			return fmt.Errorf("cannot announce address %s: %w", addr, err)
		}
	}
	err = group.AddService(index, avahi.ProtoUnspec, 0, p.a.Name, p.a.Type, domain, p.a.Host, p.a.Port, p.a.txt())
	if err != nil {
		if err.Error() == "Local name collision" { // avahi-common/error.c
			return errCollision
		}
		return fmt.Errorf("cannot announce the service: %w", err)
	}
	if p.a.CDC {
		err := group.AddServiceSubtype(index, avahi.ProtoUnspec, 0, p.a.Name, p.a.Type, domain, SubtypeCDC)
		if err != nil {
			return fmt.Errorf("cannot announce the subtype: %w", err)
		}
	}
	if err := group.Commit(); err != nil {
		return fmt.Errorf("cannot commit the announcement: %w", err)
	}
	return nil
}
