package nvmetcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// HostConfig says what [Dial] connects to, and as whom.
type HostConfig struct {
	Endpoint
	SubNQN  string // empty for the well-known discovery NQN
	HostNQN string
	HostID  nvme.HostID
	// KeepAlive is the keep-alive timeout (KATO), in whole milliseconds; the host sends
	// at half of it. 0 asks for none.
	KeepAlive                time.Duration
	HeaderDigest, DataDigest bool
	// CommandTimeout bounds every command; 0 stands for 10 s.
	CommandTimeout time.Duration
	// Key authenticates this host where the controller asks for it (DH-HMAC-CHAP).
	// With ControllerKey the controller has to prove itself too.
	Key, ControllerKey nvme.DHCHAPSecret
}

// Depths of the queues of a host. 32 is what Linux uses for the admin queue
// (NVME_AQ_DEPTH), and the least that a discovery entry may name.
const (
	adminDepth = 32
	ioDepth    = 64
)

const defaultCommandTimeout = 10 * time.Second

// maxAdminData bounds the data of one C2HData on the admin queue, and the length
// of a single Get Log Page.
const maxAdminData = 4 << 20

// Host is a connection to one controller. All methods may be called concurrently.
// It ends by [Host.Close], when its controller goes away, or when a keep alive
// fails; it does not reconnect.
type Host struct {
	cfg      HostConfig
	admin    *queue
	cntlid   uint16
	identify *nvme.Identify
	events   chan nvme.AsyncEvent
	wg       sync.WaitGroup

	mu sync.Mutex
	io []*queue
}

// Dial connects the admin queue of a controller, enables it and identifies it:
// what the Linux host does (drivers/nvme/host/fabrics.c). It ends with ctx; each
// step is bounded by CommandTimeout too. Its errors are of type [*DialError].
func Dial(ctx context.Context, cfg HostConfig) (*Host, error) {
	cfg.SubNQN = cmp.Or(cfg.SubNQN, nvme.DiscoveryNQN)
	cfg.CommandTimeout = cmp.Or(cfg.CommandTimeout, defaultCommandTimeout)
	h := &Host{cfg: cfg, events: make(chan nvme.AsyncEvent, 1)}
	if err := h.connect(ctx); err != nil {
		return nil, &DialError{cfg.SubNQN, cfg.Addr, err}
	}
	if cfg.KeepAlive >= time.Millisecond {
		h.wg.Go(h.keepAlive)
	}
	return h, nil
}

func (h *Host) connect(ctx context.Context) error {
	ic, cancel := context.WithTimeout(ctx, h.cfg.CommandTimeout)
	q, err := openQueue(ic, &h.cfg, 0, adminDepth, MaxAdminInCapsule, maxAdminData)
	cancel()
	if err != nil {
		return err
	}
	h.admin = q
	if err := h.enable(ctx); err != nil {
		q.close()
		return err
	}
	return nil
}

func (h *Host) enable(ctx context.Context) error {
	cntlid, err := h.connectQueue(ctx, h.admin, nvme.CntlIDDynamic, adminDepth)
	if err != nil {
		return err
	}
	h.cntlid = cntlid
	caps, err := h.property(ctx, nvme.PropertyCAP, 8)
	if err != nil {
		return err
	}
	// IOSQES 6, IOCQES 4, EN (Base 3.1.4.5).
	if err := h.setProperty(ctx, nvme.PropertyCC, 0x00460001); err != nil {
		return err
	}
	if err := h.waitReady(ctx, caps); err != nil {
		return err
	}
	b := make([]byte, nvme.IdentifySize)
	var sqe SQE
	sqe[0] = nvme.OpIdentify
	sqe.SetDword(10, nvme.CNSController)
	if _, err := h.exec(ctx, h.admin, &sqe, nil, b); err != nil {
		return fmt.Errorf("cannot identify the controller: %w", err)
	}
	if h.identify, err = nvme.DecodeIdentify(b); err != nil {
		return err
	}
	if h.identify.CNTLID != h.cntlid {
		return fmt.Errorf("controller %d identifies itself as %d", h.cntlid, h.identify.CNTLID)
	}
	return nil
}

// waitReady polls CSTS.RDY as long as CAP.TO allows, in units of 500 ms (Base 3.1.4.1). That bounds how long the controller may
// say that it is not ready, not how long an answer may take.
func (h *Host) waitReady(ctx context.Context, caps uint64) error {
	limit := max(time.Duration(caps>>24&0xff)*500*time.Millisecond, 500*time.Millisecond)
	end := time.Now().Add(limit)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		csts, err := h.property(ctx, nvme.PropertyCSTS, 4)
		if err != nil {
			return err
		}
		if csts&1 != 0 {
			return nil
		}
		if csts&2 != 0 {
			return errors.New("the controller reports a fatal status")
		}
		if time.Now().After(end) {
			return fmt.Errorf("the controller does not become ready: %w", classify(context.DeadlineExceeded, nil))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("the controller does not become ready: %w", classify(ctx.Err(), nil))
		}
	}
}

// exec runs a command with the configured bound; a status other than success is an
// error that wraps an [nvme.Status].
func (h *Host) exec(ctx context.Context, q *queue, sqe *SQE, out, in []byte) (CQE, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.CommandTimeout)
	defer cancel()
	cqe, err := q.exec(ctx, sqe, out, in)
	if err != nil {
		return cqe, err
	}
	return cqe, cqe.Status().Err()
}

// keepAlive sends a Keep Alive every half KATO, until the connection has ended.
func (h *Host) keepAlive() {
	tick := time.NewTicker(h.cfg.KeepAlive / 2)
	defer tick.Stop()
	for {
		select {
		case <-h.admin.done:
			return
		case <-tick.C:
		}
		var sqe SQE
		sqe[0] = nvme.OpKeepAlive
		ctx, cancel := context.WithTimeout(context.Background(), h.cfg.KeepAlive)
		cqe, err := h.admin.exec(ctx, &sqe, nil, nil)
		cancel()
		if err == nil {
			err = cqe.Status().Err()
		}
		if err != nil {
			h.admin.end(fmt.Errorf("keep alive failed: %w", err))
			return
		}
	}
}

// Controller is what the controller says of itself.
func (h *Host) Controller() *nvme.Identify { return h.identify }

// Done is closed when the connection has ended.
func (h *Host) Done() <-chan struct{} { return h.admin.done }

// Err tells why the connection has ended, nil while it has not.
func (h *Host) Err() error { return h.admin.failure() }

// Close shuts the controller down in an orderly way if it answers within a second,
// closes all connections and waits for all goroutines.
func (h *Host) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	h.mu.Lock()
	io := h.io
	h.io = nil
	h.mu.Unlock()
	for _, q := range io {
		q.close()
	}
	if h.admin.failure() == nil {
		// CC.SHN 01b: normal shutdown. The answer changes nothing.
		_ = h.setProperty(ctx, nvme.PropertyCC, 0x00464001)
	}
	h.admin.close()
	h.wg.Wait()
	return nil
}
