package kernel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// workerEnv marks a process that was started as worker.
const workerEnv = "STAS_KERNEL_WORKER"

// RunWorkerIfAsked serves as kernel worker and never returns where this process was started
// as one. A program that uses [Worker] calls it first thing in main.
func RunWorkerIfAsked() {
	if os.Getenv(workerEnv) == "" {
		return
	}
	KeepMemory()
	// A read that blocks takes its thread along, and what was read before waits until another thread looks for work.
	_ = syscall.SetNonblock(syscall.Stdin, true)
	if err := runWorker(os.NewFile(uintptr(syscall.Stdin), "requests"), os.Stdout, newHost); err != nil {
		fmt.Fprintln(os.Stderr, "kernel worker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runWorker serves a daemon until the pipe from it ends.
func runWorker(in io.Reader, out io.Writer, open func(greeting) *host) error {
	// What ends the daemon must not end the worker: it goes when the pipe is closed and what
	// it began is done. SIGPIPE: replies that nobody waits for any more.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	var g greeting
	if _, err := readFrame(in, &g); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return fmt.Errorf("cannot read the greeting: %w", err)
	}
	s := newServer(out, open(g))
	if f, ok := in.(*os.File); ok {
		s.ended = func() bool { return hungUp(f) }
	}
	return s.serve(in)
}

// hungUp says whether whoever wrote into a pipe has gone.
func hungUp(f *os.File) (gone bool) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	_ = conn.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(p, 0)
		gone = err == nil && n > 0 && p[0].Revents&unix.POLLHUP != 0
	})
	return gone
}

// How many calls of a kind may be in the kernel at once. Each holds a thread. A command to a controller that is silent
// holds its place for half a minute, so there are more places than a host has of those; there is one for each controller at most.
const (
	deleteWidth = 16
	adminWidth  = 256
)

// server is the worker's side of the pipe. Its lock guards the queues; no call is made under it.
type server struct {
	host  *host
	ended func() bool // the pipe from the daemon has ended, though that has not been read yet

	out      io.Writer
	outMutex sync.Mutex

	mu       sync.Mutex
	stopping bool
	connects []*request
	lanes    map[string]*lane
	sessions map[uint64]controllerDevice
	known    *Options

	settling sync.Mutex // held from the end of a connect until it is registered and answered

	running sync.WaitGroup
	deletes chan struct{}
	admins  chan struct{}
}

func newServer(out io.Writer, h *host) *server {
	return &server{host: h, ended: func() bool { return false }, out: out, lanes: map[string]*lane{}, sessions: map[uint64]controllerDevice{},
		deletes: make(chan struct{}, deleteWidth), admins: make(chan struct{}, adminWidth)}
}

// serve runs until in ends, finishes what it began, and starts nothing that was queued.
func (s *server) serve(in io.Reader) error {
	var err error
	for {
		r := new(request)
		var data []byte
		if data, err = readFrame(in, r); err != nil {
			break
		}
		s.dispatch(r, data)
	}
	s.mu.Lock()
	s.stopping = true
	s.connects = nil
	s.mu.Unlock()
	s.running.Wait()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (s *server) dispatch(r *request, data []byte) {
	switch {
	case r.Op == opConnect && r.Connect != nil:
		s.queueConnect(r)
	case r.Op == opDisconnect && r.Disconnect != nil:
		s.queueDisconnect(r)
	case (r.Op == opAdmin || r.Op == opRelease) && r.Admin != nil:
		s.queueAdmin(job{r, data})
	case r.Op == opCancel:
		s.cancel(r.Cancel)
	case r.Op == opOptions:
		s.start(func() {
			known, err := s.options()
			s.answer(reply{ID: r.ID, Options: known, Failure: packError(err)}, nil)
		})
	case r.Op == opKickstart:
		s.start(func() { s.answer(reply{ID: r.ID, Failure: packError(s.host.kickstart())}, nil) })
	default:
		s.answer(reply{ID: r.ID, Failure: &failure{Text: fmt.Sprintf("operation %q is unknown", r.Op)}}, nil)
	}
}

func (s *server) start(f func()) { s.running.Go(f) }

// answer sends a reply. Where that is not possible the daemon is gone, or will see the
// pipe end: nothing more can be told to it.
func (s *server) answer(r reply, data []byte) {
	frame, err := appendFrame(nil, r, data)
	if err != nil {
		frame, _ = appendFrame(nil, reply{ID: r.ID, Failure: packError(err)}, nil)
	}
	s.outMutex.Lock()
	defer s.outMutex.Unlock()
	_, _ = s.out.Write(frame)
}

// options asks the kernel once in the life of a worker: what it knows does not change.
func (s *server) options() (*Options, error) {
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	read, err := readOptions(s.host.openFabrics, s.host.release)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.known = &read
	s.mu.Unlock()
	return &read, nil
}

// queueConnect adds to the one lane of connects: the kernel makes one at a time.
func (s *server) queueConnect(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connects = append(s.connects, r)
	if len(s.connects) == 1 {
		s.start(s.runConnect)
	}
}

// runConnect works off the head of the queue. The request stays there until the kernel is through with it, so that
// whoever finds the queue empty knows that nobody is at it. What remains to be done then is done beside the next.
func (s *server) runConnect() {
	s.mu.Lock()
	if len(s.connects) == 0 { // it is emptied when the pipe ends
		s.mu.Unlock()
		return
	}
	r := s.connects[0]
	s.mu.Unlock()

	var m *made
	known, err := s.options()
	if err == nil && (s.stopped() || s.ended()) {
		err = ErrNotBegun // the options, or the connect before, took long
	}
	if err == nil {
		m, err = s.host.connect(r.Connect, *known)
	}
	// In the order in which they were made: the kernel may have given the name of one to the next already.
	s.settling.Lock()
	defer s.settling.Unlock()
	s.mu.Lock()
	if len(s.connects) > 0 {
		s.connects[0] = nil
		s.connects = s.connects[1:]
	}
	if len(s.connects) > 0 {
		s.start(s.runConnect)
	}
	s.mu.Unlock()

	answer := reply{ID: r.ID}
	var unread *unreadError
	switch {
	case err == nil:
		answer.Left = s.host.settle(m)
		answer.Connection = m.Connection
	case errors.As(err, &unread):
		answer.Left = true
	}
	answer.Failure = packError(err)
	s.answer(answer, nil)
}

// cancel drops a request whose caller stopped waiting, if its turn has not come.
func (s *server) cancel(id uint64) {
	s.mu.Lock()
	dropped := s.drop(id)
	s.mu.Unlock()
	if dropped {
		s.answer(reply{ID: id, Failure: packError(ErrNotBegun)}, nil)
	}
}

func (s *server) drop(id uint64) bool {
	for i, r := range s.connects {
		if i > 0 && r.ID == id { // the first is being worked on
			s.connects = slices.Delete(s.connects, i, i+1)
			return true
		}
	}
	for _, l := range s.lanes {
		for i, j := range l.queue {
			if j.ID == id && j.Op != opRelease {
				l.queue = slices.Delete(l.queue, i, i+1)
				return true
			}
		}
		for i, r := range l.deletes {
			if i > 0 && r.ID == id {
				l.deletes = slices.Delete(l.deletes, i, i+1)
				return true
			}
		}
	}
	return false
}
