package kernel

import (
	"fmt"
	"time"
)

// job is a request with the data that came with it.
type job struct {
	*request
	data []byte
}

// lane keeps the requests for one controller in order: admin commands one after the
// other, disconnects one after the other. A disconnect does not wait for a command that
// hangs, which it ends, and makes pointless those that were still to come.
type lane struct {
	queue   []job
	busy    bool // an admin command or release runs
	deletes []*request
}

// adminTimeout is for commands that ask for none. When it passes the kernel takes the
// connection for broken and makes it anew, so it must be longer than any honest answer takes.
const adminTimeout = 30 * time.Second

func (s *server) laneOf(name string) *lane {
	l := s.lanes[name]
	if l == nil {
		l = new(lane)
		s.lanes[name] = l
	}
	return l
}

func (s *server) queueAdmin(j job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.laneOf(j.Admin.Name)
	l.queue = append(l.queue, j)
	s.pump(j.Admin.Name, l)
}

// pump starts the next command of a lane if it may run, and drops a lane that is empty.
func (s *server) pump(name string, l *lane) {
	switch {
	case l.busy || len(l.deletes) > 0:
	case len(l.queue) > 0:
		j := l.queue[0]
		l.queue = l.queue[1:]
		l.busy = true
		s.start(func() { s.runAdmin(name, l, j) })
	default:
		delete(s.lanes, name)
	}
}

func (s *server) runAdmin(name string, l *lane, j job) {
	if j.Op == opRelease {
		s.release(j.Admin.Session)
	} else {
		s.admins <- struct{}{}
		if !s.stopped() {
			result, data, err := s.admin(j)
			s.answer(reply{ID: j.ID, Result: result, Failure: packError(err)}, data)
		}
		<-s.admins
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.busy = false
	if s.stopping {
		l.queue = nil
	}
	s.pump(name, l)
}

func (s *server) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

func (s *server) queueDisconnect(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.Disconnect.Name
	l := s.laneOf(name)
	var releases []job
	for _, j := range l.queue {
		if j.Op == opRelease {
			releases = append(releases, j)
			continue
		}
		s.start(func() { s.answer(reply{ID: j.ID, Failure: packError(ErrDisconnecting)}, nil) })
	}
	l.queue = releases
	l.deletes = append(l.deletes, r)
	if len(l.deletes) == 1 {
		s.start(func() { s.runDeletes(name, l) })
	}
}

// runDeletes works the disconnects of a lane off, one after the other.
func (s *server) runDeletes(name string, l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(l.deletes) > 0 && !s.stopping {
		r := l.deletes[0]
		s.mu.Unlock()

		s.deletes <- struct{}{}
		if !s.stopped() {
			s.answer(reply{ID: r.ID, Failure: packError(s.host.disconnect(r.Disconnect))}, nil)
		}
		<-s.deletes

		s.mu.Lock()
		l.deletes = l.deletes[1:]
	}
	l.deletes = nil
	s.pump(name, l)
}

// admin performs one command. It opens the device for it, or uses what its session has open.
func (s *server) admin(j job) (result uint32, data []byte, err error) {
	c := j.Admin
	if err := checkName(c.Name); err != nil {
		return 0, nil, fmt.Errorf("cannot send a command: %w", err)
	}
	if c.Read < 0 || c.Read > maxData {
		return 0, nil, fmt.Errorf("cannot read %d bytes by one command", c.Read)
	}
	dev, err := s.device(c)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot send a command to %s: %w", c.Name, err)
	}
	if c.Session == 0 {
		defer func() { _ = dev.Close() }()
	}
	if c.Timeout <= 0 {
		c.Timeout = adminTimeout
	}
	if data = j.data; c.Read > 0 {
		data = make([]byte, c.Read)
	}
	result, err = dev.Admin(c, data)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: command 0x%02x: %w", c.Name, c.Opcode, goneOr(err))
	}
	if c.Read == 0 {
		data = nil
	}
	return result, data, nil
}

func (s *server) device(c *adminCommand) (controllerDevice, error) {
	s.mu.Lock()
	dev := s.sessions[c.Session]
	s.mu.Unlock()
	if dev != nil {
		return dev, nil
	}
	dev, err := s.host.openController(c.Name)
	if err != nil || c.Session == 0 {
		return dev, err
	}
	s.mu.Lock()
	s.sessions[c.Session] = dev
	s.mu.Unlock()
	return dev, nil
}

func (s *server) release(session uint64) {
	s.mu.Lock()
	dev := s.sessions[session]
	delete(s.sessions, session)
	s.mu.Unlock()
	if dev != nil {
		_ = dev.Close()
	}
}
