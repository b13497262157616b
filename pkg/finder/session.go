package finder

// step is what a session with a connected discovery controller does next.
type step uint8

const (
	rest      step = iota // nothing to do until something happens
	identify              // Identify Controller: type, log page attributes
	register              // Discovery Information Management: tell the controller who this host is
	supported             // Supported Log Pages: may port-local entries be asked for?
	read                  // the discovery log page
	closing               // let go of the connection, as the policy does not hold it
	steps
)

var stepNames = [...]string{"rest", "identify", "register", "supported log pages", "log page", "close"}

func (s step) String() string { return stepNames[s] }

// facts are all that decides the next step.
type facts struct {
	busy        bool // a step is under way
	live        bool // the kernel's connection is up
	identified  bool // since this connection came up
	registrable bool // dctype is CDC or DDC, over tcp
	registered  bool // since this connection came up, with the current symbolic name
	listsPages  bool // LPA says that log page 0 exists
	wantsPLEO   bool
	knowsPages  bool        // log page 0 was read since this connection came up
	dirty       bool        // the page may have changed since the last read began
	held        bool        // the policy keeps the connection after reading
	backedOff   [steps]bool // that step has failed and waits
}

// next orders a session: who is it, tell it who we are, what can it do, what does it
// know. A registration that fails waits for its next try and holds nothing up. A page that
// may have changed while it was read is read once more, however often that was said.
func next(f facts) step {
	todo := func(s step, due bool) bool { return due && !f.backedOff[s] }
	switch {
	case f.busy || !f.live:
		return rest
	case !f.identified:
		if f.backedOff[identify] {
			return rest
		}
		return identify
	case todo(register, f.registrable && !f.registered):
		return register
	case todo(supported, f.listsPages && f.wantsPLEO && !f.knowsPages):
		return supported
	case todo(read, f.dirty):
		return read
	case !f.held && !f.dirty && (!f.registrable || f.registered || f.backedOff[register]):
		return closing
	}
	return rest
}
