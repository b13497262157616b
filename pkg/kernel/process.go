package kernel

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// result is a reply with its data, and its failure as an error.
type result struct {
	reply
	data []byte
	err  error
}

// call is a request on its way. done is nil where no reply comes.
type call struct {
	request *request
	connect *ConnectRequest // as the caller gave it, for Late
	done    chan result

	withdrawn <-chan struct{} // closed when it need not begin any more; nil: it is waited for
	queued    func()          // called when it has been sent, or nil
	orphan    bool            // nobody waits any more; guarded by process.mu
}

// process is one running worker process. Three goroutines serve it: one writes, one
// reads and reaps, and callers only touch the queues under mu.
type process struct {
	worker *Worker
	cmd    *exec.Cmd
	in     *os.File // to the process
	out    *os.File // from the process

	mu      sync.Mutex
	next    uint64
	calls   map[uint64]*call
	frames  [][]byte // to be written
	wake    chan struct{}
	closing error // why no more requests are taken, else nil
	timer   *time.Timer
}

// startProcess starts a worker process and greets it. It goes on when this one
// dies: there is no parent-death signal, and a process group of its own keeps a
// terminal's ^C away. Its environment is its own, so that it does not notify systemd.
func startProcess(w *Worker) (*process, error) {
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		_ = childIn.Close()
		_ = in.Close()
		return nil, err
	}
	path, args := w.command()
	cmd := &exec.Cmd{Path: path, Args: args, Dir: "/", Env: workerEnviron(), Stdin: childIn, Stdout: childOut, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	p := &process{worker: w, cmd: cmd, in: in, out: out, calls: map[uint64]*call{}, wake: make(chan struct{}, 1)}
	greet, err := appendFrame(nil, w.greeting(), nil)
	if err == nil {
		err = cmd.Start()
	}
	_ = childIn.Close()
	_ = childOut.Close()
	if err != nil {
		_ = in.Close()
		_ = out.Close()
		return nil, err
	}
	p.frames = append(p.frames, greet)
	p.wake <- struct{}{}
	p.timer = time.AfterFunc(w.opt.IdleExit, func() { w.idle(p) })
	go p.write()
	go p.read()
	return p, nil
}

func workerEnviron() []string {
	// Without asyncpreemptoff the Go runtime sends itself signals, and one can interrupt a
	// connect that waits for its TCP connection, which then begins from the start.
	env := []string{workerEnv + "=1", "GODEBUG=asyncpreemptoff=1"}
	if dir, ok := os.LookupEnv("GOCOVERDIR"); ok {
		env = append(env, "GOCOVERDIR="+dir)
	}
	return env
}

// send queues a request. It says false where the process takes none any more.
func (p *process) send(c *call, data []byte) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing != nil {
		return false, nil
	}
	p.next++
	c.request.ID = p.next
	frame, err := appendFrame(nil, c.request, data)
	if err != nil {
		return false, err
	}
	p.frames = append(p.frames, frame)
	if c.done != nil {
		p.calls[c.request.ID] = c
		p.timer.Stop()
	}
	p.signal()
	return true, nil
}

func (p *process) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// write moves frames into the pipe until the process is closed.
func (p *process) write() {
	for range p.wake {
		p.mu.Lock()
		frames, closing := p.frames, p.closing
		p.frames = nil
		p.mu.Unlock()
		if closing != nil {
			return
		}
		for _, f := range frames {
			_, err := p.in.Write(f)
			clear(f) // it may hold a secret
			if err != nil {
				return // the reader sees the process end
			}
		}
	}
}

// read delivers replies until the pipe ends, and reaps the process.
func (p *process) read() {
	var err error
	out := bufio.NewReader(p.out)
	for {
		var r reply
		var data []byte
		if data, err = readFrame(out, &r); err != nil {
			break
		}
		p.deliver(result{reply: r, data: data, err: r.Failure.unpack()})
	}
	if !errors.Is(err, io.EOF) {
		p.worker.log.Error("kernel worker talks nonsense, leaving it", "error", err)
	}
	_ = p.out.Close()
	_ = p.in.Close() // ends one that is alive and cannot be understood
	// It is over once all that it began in the kernel is.
	if err := p.cmd.Wait(); err != nil {
		p.worker.log.Warn("kernel worker ended", "error", err)
	}
	if !p.closed() {
		p.worker.adoptAfterDeath()
	}
	p.close(ErrWorkerDied)
}

// closed says whether the process was let go on purpose.
func (p *process) closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closing != nil
}

func (p *process) deliver(got result) {
	p.mu.Lock()
	c := p.calls[got.ID]
	delete(p.calls, got.ID)
	if len(p.calls) == 0 && p.closing == nil {
		p.timer.Reset(p.worker.opt.IdleExit)
	}
	p.mu.Unlock()
	if got.Left {
		p.worker.adoptAgain()
	}
	if c != nil {
		p.finish(c, got)
	}
}

func (p *process) finish(c *call, got result) {
	p.mu.Lock()
	orphan := c.orphan
	if !orphan {
		c.done <- got
	}
	p.mu.Unlock()
	if orphan {
		p.worker.late(c, got)
	}
}

// abandon makes c an orphan. It says false where its result is there already.
func (p *process) abandon(c *call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(c.done) > 0 {
		return false
	}
	c.orphan = true
	return true
}

// close takes no more requests, ends the pipe to the process, and fails what waits with why.
func (p *process) close(why error) {
	p.mu.Lock()
	if p.closing != nil {
		why = p.closing
	}
	p.closing = why
	calls := p.calls
	p.calls = map[uint64]*call{}
	p.timer.Stop()
	p.signal()
	_ = p.in.Close()
	p.mu.Unlock()
	for _, c := range calls {
		p.finish(c, result{err: why})
	}
}

// stay begins the idle time anew. It says false where the process takes no more requests.
func (p *process) stay() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing == nil && len(p.calls) == 0 {
		p.timer.Reset(p.worker.opt.IdleExit)
	}
	return p.closing == nil
}

// closeIfIdle closes a process without work, and says whether it did.
func (p *process) closeIfIdle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing != nil || len(p.calls) > 0 {
		return false
	}
	p.closing = ErrWorkerDied
	p.signal()
	// Frames still to be written are releases of sessions, which end with the process.
	_ = p.in.Close()
	return true
}
