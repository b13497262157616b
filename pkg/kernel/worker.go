package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/stas-go/stas/pkg/registry"
)

// WorkerOptions say where the worker process works and how it is started. The zero value
// of a field means what its comment says.
type WorkerOptions struct {
	// Command starts the process; none means this program, which must call RunWorkerIfAsked.
	Command []string
	Log     *slog.Logger // none means slog.Default()

	RunDir       string        // /run/stafd; intents are noted below it
	RegistryRoot string        // /run/nvme/registry
	Owner        string        // stas
	IdleExit     time.Duration // 10 s without a request and the process goes

	// The host-wide exclusion list, which is asked once more right before a connect, as that may have stood in line; none means
	// that there is no list.
	ExclusionFile, ExclusionDropIn string

	// OnOrphan is told of every connect and disconnect that ended after its caller had
	// stopped waiting. It is called from a goroutine of the Worker and must not block.
	OnOrphan func(Late)

	// Where the host shows itself: /sys, /dev, /dev/nvme-fabrics.
	SysRoot, DevRoot, FabricsDevice string
}

// defaultIdle is how long a worker process waits for more work. Starting one costs
// milliseconds, keeping one costs its memory.
const defaultIdle = 10 * time.Second

// Worker is the daemon's side of the worker process, which it starts when there is work.
// All methods may be called from many goroutines. They return when their context
// ends; what was asked goes on in the process then.
type Worker struct {
	opt WorkerOptions
	log *slog.Logger

	mu      sync.Mutex
	proc    *process // nil: none runs, or none that takes requests
	closed  bool
	session uint64
	again   *time.Timer // calls Adopt again; nil: no intent was under work yet

	adoptEvery time.Duration
	adoptErr   string // of the last look at what was left behind, as reported
}

// NewWorker makes a Worker. No process is started before the first request.
func NewWorker(opt WorkerOptions) *Worker {
	opt.RunDir = cmp.Or(opt.RunDir, "/run/stafd")
	opt.Owner = cmp.Or(opt.Owner, registry.Stas)
	opt.IdleExit = cmp.Or(opt.IdleExit, defaultIdle)
	w := &Worker{opt: opt, log: opt.Log, adoptEvery: adoptInterval}
	if w.log == nil {
		w.log = slog.Default()
	}
	return w
}

func (w *Worker) greeting() greeting {
	return greeting{Sys: w.opt.SysRoot, Dev: w.opt.DevRoot, Fabrics: w.opt.FabricsDevice,
		Registry: w.opt.RegistryRoot, Owner: w.opt.Owner, RunDir: w.opt.RunDir,
		ExclusionFile: w.opt.ExclusionFile, ExclusionDropIn: w.opt.ExclusionDropIn}
}

// command is how the process is started: path, arguments. Its name in ps tells what it is.
func (w *Worker) command() (path string, args []string) {
	if c := w.opt.Command; len(c) > 0 {
		return c[0], c
	}
	// Even after an upgrade this is the program that runs, so both ends speak the same.
	return "/proc/self/exe", []string{filepath.Base(os.Args[0]) + ": kernel worker"}
}

// call performs one request.
func (w *Worker) call(ctx context.Context, c *call, data []byte) (result, error) {
	if err := ctx.Err(); err != nil {
		return result{}, err
	}
	c.done = make(chan result, 1)
	p, err := w.send(c, data)
	if err != nil {
		return result{}, err
	}
	if c.queued != nil {
		c.queued()
	}
	for waiting := true; waiting; {
		select {
		case got := <-c.done:
			return got, got.err
		case <-ctx.Done():
			waiting = false
		case <-c.withdrawn:
			c.withdrawn = nil
			_, _ = p.send(&call{request: &request{Op: opCancel, Cancel: c.request.ID}}, nil)
		}
	}
	if p.abandon(c) {
		// What the kernel has not begun with need not be begun.
		_, _ = p.send(&call{request: &request{Op: opCancel, Cancel: c.request.ID}}, nil)
		return result{}, context.Cause(ctx)
	}
	got := <-c.done // it came at this very moment
	return got, got.err
}

// send hands a call to the process, which it starts if there is none.
func (w *Worker) send(c *call, data []byte) (*process, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	if w.proc != nil {
		if ok, err := w.proc.send(c, data); ok || err != nil {
			return w.proc, err
		}
		w.proc = nil // it ended meanwhile
	}
	p, err := startProcess(w)
	if err != nil {
		return nil, fmt.Errorf("cannot start the kernel worker: %w", err)
	}
	w.proc = p
	if ok, err := p.send(c, data); !ok || err != nil {
		return nil, cmp.Or(err, ErrWorkerDied)
	}
	return p, nil
}

// Warm starts the process if none runs, without waiting for it, and keeps one that runs from
// going idle for another while. Called at the first sign of work to come, it takes the
// start of the process out of the way of that work.
func (w *Worker) Warm() {
	go func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.closed || w.proc != nil && w.proc.stay() {
			return
		}
		p, err := startProcess(w)
		if err != nil {
			return // the work to come will meet the same error, and report it
		}
		w.proc = p
	}()
}

// note sends a request that has no reply, to a process that runs. Without one it is moot.
func (w *Worker) note(r *request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proc != nil {
		_, _ = w.proc.send(&call{request: r}, nil)
	}
}

// idle lets the process go that has nothing to do.
func (w *Worker) idle(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.closeIfIdle() && w.proc == p {
		w.proc = nil
	}
}

func (w *Worker) nextSession() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.session++
	return w.session
}

// Close lets the process go and fails the calls that wait with [ErrClosed]. It does not
// wait: the process finishes what it has begun in the kernel, leaves out what was queued, and exits.
func (w *Worker) Close() error {
	w.mu.Lock()
	w.closed = true
	p := w.proc
	w.proc = nil
	if w.again != nil {
		w.again.Stop()
	}
	w.mu.Unlock()
	if p != nil {
		p.close(ErrClosed)
	}
	return nil
}

// late tells of a result that nobody waited for.
func (w *Worker) late(c *call, got result) {
	if w.opt.OnOrphan == nil || errors.Is(got.err, ErrClosed) {
		return
	}
	switch {
	case c.connect != nil:
		l := Late{Connect: c.connect, Err: got.err}
		if got.Connection != nil {
			l.Connection = *got.Connection
		}
		w.opt.OnOrphan(l)
	case c.request.Disconnect != nil:
		w.opt.OnOrphan(Late{Disconnect: c.request.Disconnect, Err: got.err})
	}
}
