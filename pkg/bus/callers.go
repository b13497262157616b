package bus

import (
	"context"
	"sync"

	"github.com/godbus/dbus/v5"
)

// Calls that are answered at a time, until their replies are sent; more wait. Each may take a few times MaxReply of
// memory, and any local user may call: so root, as whom our own daemons and tools ask, has slots of its own, and no other user
// has all of those for the rest.
const (
	maxCalls = 4
	userMost = 2
)

// maxWaiting bounds how many calls of root, and of all others, wait for their turn, and userWaiting those of one of these; further
// ones are refused. The bus bounds only those whose callers await an answer.
const (
	maxWaiting  = 512
	userWaiting = 128
)

// maxSenders is how many connections are remembered with their users.
const maxSenders = 1024

// callers keeps the calls of users apart.
type callers struct {
	root, rest chan struct{} // slots

	mu      sync.Mutex
	conn    *dbus.Conn // to the bus whose names senders has: another one gives them anew
	senders map[string]*sender
	users   map[uint32]*user // those of whom there are calls
	waiting int              // calls of senders that are not known to be root's
	roots   int              // calls of root that wait
}

// sender is one connection to the bus. Its user is set when known is closed.
type sender struct {
	known chan struct{}
	uid   uint32
}

// noUser is one of whom the bus cannot tell who it is.
const noUser = 1<<32 - 1

// user is one who is not root.
type user struct {
	slots   chan struct{}
	calls   int
	waiting int
}

func newCallers() *callers {
	return &callers{root: make(chan struct{}, maxCalls), rest: make(chan struct{}, maxCalls), users: make(map[uint32]*user)}
}

// enter waits for a slot, which leave gives back.
func (cs *callers) enter(ctx context.Context, c *call) (leave func(), err error) {
	uid, err := cs.who(ctx, c)
	switch {
	case err != nil:
		return nil, err
	case uid == 0:
		return cs.enterRoot(ctx)
	}
	return cs.enterUser(ctx, uid)
}

// who asks the bus for the user of c's sender, or has asked. The first call of a sender is always let that far: it may be root's.
func (cs *callers) who(ctx context.Context, c *call) (uint32, error) {
	cs.mu.Lock()
	if cs.conn != c.conn || len(cs.senders) >= maxSenders {
		cs.conn, cs.senders = c.conn, make(map[string]*sender)
	}
	s := cs.senders[c.sender]
	if s == nil {
		s = &sender{known: make(chan struct{})}
		cs.senders[c.sender] = s
		cs.mu.Unlock()
		var err error
		if s.uid, err = callerUID(ctx, c); err != nil {
			s.uid = noUser
			cs.mu.Lock()
			if cs.senders[c.sender] == s {
				delete(cs.senders, c.sender)
			}
			cs.mu.Unlock()
		}
		close(s.known)
		return s.uid, nil
	}
	select {
	case <-s.known:
		cs.mu.Unlock()
		return s.uid, nil
	default:
	}
	if cs.waiting >= maxWaiting {
		cs.mu.Unlock()
		return 0, errTooMany
	}
	cs.waiting++
	cs.mu.Unlock()
	defer cs.count(&cs.waiting, -1)
	select {
	case <-s.known:
		return s.uid, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (cs *callers) count(n *int, by int) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	*n += by
}

func (cs *callers) enterRoot(ctx context.Context) (leave func(), err error) {
	cs.mu.Lock()
	if cs.roots >= maxWaiting {
		cs.mu.Unlock()
		return nil, errTooMany
	}
	cs.roots++
	cs.mu.Unlock()
	defer cs.count(&cs.roots, -1)
	if err := take(ctx, cs.root); err != nil {
		return nil, err
	}
	return func() { <-cs.root }, nil
}

func (cs *callers) enterUser(ctx context.Context, uid uint32) (leave func(), err error) {
	cs.mu.Lock()
	u := cs.users[uid]
	if cs.waiting >= maxWaiting || u != nil && u.waiting >= userWaiting {
		cs.mu.Unlock()
		return nil, errTooMany
	}
	if u == nil {
		u = &user{slots: make(chan struct{}, userMost)}
		cs.users[uid] = u
	}
	cs.waiting++
	u.waiting++
	u.calls++
	cs.mu.Unlock()
	end := func() {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		if u.calls--; u.calls == 0 {
			delete(cs.users, uid)
		}
	}
	err = take(ctx, u.slots)
	if err == nil {
		if err = take(ctx, cs.rest); err != nil {
			<-u.slots
		}
	}
	cs.count(&cs.waiting, -1)
	cs.count(&u.waiting, -1)
	if err != nil {
		end()
		return nil, err
	}
	return func() { <-cs.rest; <-u.slots; end() }, nil
}

func take(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return busError(errLimitsExceeded, "as many calls as may be were being answered all the time: try again later")
	}
}

var errTooMany = busError(errLimitsExceeded, "too many calls wait to be answered: try again later")
