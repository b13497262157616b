package fabricsim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// faultKind says who acts on a fault.
type faultKind uint8

const (
	faultStep  faultKind = iota // the target, at a step of a conversation
	faultPort                   // the listener of a port
	faultPage                   // the discovery log page
	faultEvent                  // asynchronous events
	faultDrop                   // the life of a connection
)

// fault is a misbehaviour in force.
type fault struct {
	FaultConfig
	kind   faultKind
	act    nvmetcp.Action
	word   string // the action without its argument
	number uint64
	span   time.Duration

	asked atomic.Int64 // how often it could have struck
}

// newFault reads the action of a fault. What can never do anything is an error.
func newFault(c FaultConfig) (*fault, error) {
	f := &fault{FaultConfig: c}
	word, arg, hasArg := strings.Cut(c.Action, "=")
	f.word = strings.TrimSpace(word)
	if err := f.parseAction(strings.TrimSpace(arg), hasArg); err != nil {
		return nil, fmt.Errorf("action %q: %w", c.Action, err)
	}
	switch {
	case f.kind == faultStep && c.Step == "":
		return nil, fmt.Errorf("action %q needs a step", c.Action)
	case c.Step != "" && !slices.Contains(nvmetcp.Steps, c.Step):
		return nil, fmt.Errorf("step %q is none of %s", c.Step, strings.Join(nvmetcp.Steps, ", "))
	case f.kind != faultStep && c.Step != "":
		return nil, fmt.Errorf("action %q takes no step", c.Action)
	case f.kind == faultPort && c.Port == "":
		return nil, fmt.Errorf("action %q needs a port", c.Action)
	case f.kind == faultPort && (c.Host != "" || c.Subsystem != ""):
		return nil, fmt.Errorf("action %q is about all at a port, not about one host, subsystem or dc", c.Action)
	case f.kind == faultPort && (c.Skip != 0 || c.Times != 0):
		return nil, fmt.Errorf("action %q lasts until it is removed: skip and times have no meaning", c.Action)
	}
	if f.kind == faultStep {
		return f, f.checkStep()
	}
	return f, nil
}

// checkStep tells why the action can do nothing at its step.
func (f *fault) checkStep() error {
	early := f.Step == nvmetcp.StepAccept || f.Step == nvmetcp.StepICReq
	answer := f.act.Status.Err() != nil || f.act.Corrupt != nvmetcp.CorruptNothing
	switch {
	case early && (f.Host != "" || f.Subsystem != ""):
		return fmt.Errorf("at step %s nobody knows yet which host connects, and to what: only a port can be given", f.Step)
	case f.Step == nvmetcp.StepAccept && answer, f.Step == nvmetcp.StepICReq && f.act.Status.Err() != nil:
		return fmt.Errorf("action %q has no meaning at step %s, at which no command is answered", f.Action, f.Step)
	case f.Step == nvmetcp.StepICReq && f.act.Corrupt == nvmetcp.CorruptCommandID:
		return fmt.Errorf("action %q has no meaning at step %s, whose answer has no command identifier", f.Action, f.Step)
	case f.act.Corrupt == nvmetcp.CorruptShortData && !slices.Contains(withData, f.Step):
		return fmt.Errorf("action %q has no meaning at step %s, whose answer has no data", f.Action, f.Step)
	}
	return nil
}

// withData are the steps whose answers have data.
var withData = []string{nvmetcp.StepAuth, nvmetcp.StepIdentify, nvmetcp.StepGetLog, nvmetcp.StepDiscoveryLog, nvmetcp.StepRead}

// corruptions are the actions that damage an answer.
var corruptions = map[string]nvmetcp.Corruption{
	"truncate":   nvmetcp.CorruptTruncate,
	"bad-header": nvmetcp.CorruptHeaderLength,
	"bad-cid":    nvmetcp.CorruptCommandID,
	"bad-digest": nvmetcp.CorruptDigest,
	"short":      nvmetcp.CorruptShortData,
	"terminate":  nvmetcp.CorruptTerminate,
}

// needsArgument lists the actions that take "=ARGUMENT".
var needsArgument = []string{"status", "delay", "numrec", "drop-after", "aen-storm", "move"}

func (f *fault) parseAction(arg string, hasArg bool) (err error) {
	if hasArg != slices.Contains(needsArgument, f.word) {
		if hasArg {
			return errors.New("takes no argument")
		}
		if f.word != "" && slices.Contains(needsArgument, f.word) {
			return errors.New("needs an argument")
		}
	}
	switch f.word {
	case "silent":
		f.act.Silent = true
	case "close":
		f.act.Close = true
	case "status":
		n, err := strconv.ParseUint(arg, 0, 64)
		switch {
		case err != nil:
			return errors.New("is no status such as 0x181 or 0x4182")
		case n > 0x7fff:
			return errors.New("is above 0x7fff, which is all that a status can be")
		case nvme.Status(n).Err() == nil:
			return errors.New("is no status such as 0x181 or 0x4182: its code is that of success")
		}
		f.act.Status = nvme.Status(n)
	case "delay":
		f.act.Delay, err = parseSpan(arg)
	case "refuse", "blackhole":
		f.kind = faultPort
	case "move":
		f.kind = faultPort
		_, err = netip.ParseAddrPort(arg)
	case "stuck-genctr", "moving-genctr", "garbage", "discover-restart":
		f.kind = faultPage
	case "numrec":
		f.kind = faultPage
		f.number, err = strconv.ParseUint(arg, 0, 64)
	case "no-aen":
		f.kind = faultEvent
	case "aen-storm":
		f.kind = faultEvent
		if f.span, err = parseSpan(arg); err == nil && f.span < leastStorm {
			err = fmt.Errorf("comes more often than each %s, which this machine cannot do", leastStorm)
		}
	case "drop-after":
		f.kind = faultDrop
		f.span, err = parseSpan(arg)
	default:
		var ok bool
		if f.act.Corrupt, ok = corruptions[f.word]; !ok {
			return errors.New("is unknown")
		}
	}
	return err
}

// Bounds of times: a storm that is faster keeps only the machine busy; what is longer is "silent".
const (
	leastStorm = time.Millisecond
	mostSpan   = 24 * time.Hour
)

func parseSpan(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no time such as 200ms or 5s", s)
	}
	if d <= 0 || d > mostSpan {
		return 0, fmt.Errorf("%q is no time above 0 and up to 24h", s)
	}
	return d, nil
}

// moveTo is where "move" goes.
func (f *fault) moveTo() netip.AddrPort {
	_, arg, _ := strings.Cut(f.Action, "=")
	addr, _ := netip.ParseAddrPort(strings.TrimSpace(arg))
	return addr
}

// strikes counts an occasion and says whether the fault is in force at it.
func (f *fault) strikes() bool {
	n := f.asked.Add(1) - int64(f.Skip)
	return n > 0 && (f.Times == 0 || n <= int64(f.Times))
}

// AddFault puts a misbehaviour into force.
func (f *Fabric) AddFault(c FaultConfig) error {
	flt, err := newFault(c)
	if err != nil {
		return fmt.Errorf("cannot add fault %s: %w", c.Name, err)
	}
	f.faultMu.Lock()
	defer f.faultMu.Unlock()
	f.mu.Lock()
	if c.Name == "" || slices.ContainsFunc(f.faults, func(x *fault) bool { return x.Name == c.Name }) {
		f.mu.Unlock()
		return fmt.Errorf("cannot add fault %q: the name is empty or there is one already", c.Name)
	}
	if err := f.concernsSomebody(flt); err != nil {
		f.mu.Unlock()
		return fmt.Errorf("cannot add fault %s: %w", c.Name, err)
	}
	f.setFaults(append(slices.Clone(f.faults), flt))
	f.mu.Unlock()
	f.record("fault", c.Name+": "+c.Action)
	if flt.kind == faultPort {
		if err := f.applyPortFault(flt); err != nil {
			return errors.Join(err, f.removeFault(c.Name))
		}
	}
	if flt.word == "aen-storm" {
		f.startStorm(flt)
	}
	return nil
}

// concernsSomebody looks for misspelled names. An NQN may be of somebody who is still to
// come. f.mu is held.
func (f *Fabric) concernsSomebody(flt *fault) error {
	c := &flt.FaultConfig
	switch {
	case c.Port != "" && f.port(c.Port) == nil:
		return fmt.Errorf("there is no port %s", c.Port)
	case c.Subsystem != "" && f.lookup(c.Subsystem) == nil && f.dc(c.Subsystem) == nil && nvme.CheckNQN(c.Subsystem) != nil:
		return fmt.Errorf("there is neither a subsystem nor a discovery controller %s", c.Subsystem)
	case (flt.kind == faultPage || flt.kind == faultEvent) && f.lookup(c.Subsystem) != nil:
		return fmt.Errorf("action %q is about discovery log pages, of which subsystem %s has none", c.Action, c.Subsystem)
	case c.Host != "" && f.hostNames[c.Host] == "" && nvme.CheckNQN(c.Host) != nil:
		return fmt.Errorf("there is no host %s, and it is no NQN", c.Host)
	}
	return nil
}

// RemoveFault ends a misbehaviour; a port that it shut is opened again, unless another shuts it.
func (f *Fabric) RemoveFault(name string) error {
	f.faultMu.Lock()
	defer f.faultMu.Unlock()
	return f.removeFault(name)
}

// removeFault is RemoveFault; f.faultMu is held.
func (f *Fabric) removeFault(name string) error {
	f.mu.Lock()
	i := slices.IndexFunc(f.faults, func(x *fault) bool { return x.Name == name })
	if i < 0 {
		f.mu.Unlock()
		return fmt.Errorf("cannot remove fault %s: there is none", name)
	}
	flt := f.faults[i]
	f.setFaults(slices.Delete(slices.Clone(f.faults), i, i+1))
	f.mu.Unlock()
	f.record("fault", name+": over")
	if !flt.shuts(flt.Port) {
		return nil
	}
	for _, other := range slices.Backward(*f.active.Load()) {
		if other.shuts(flt.Port) { // which goes on
			return f.applyPortFault(other)
		}
	}
	return f.SetPort(flt.Port, PortUp)
}

func (f *fault) shuts(port string) bool {
	return f.kind == faultPort && f.word != "move" && f.Port == port
}

// setFaults publishes the list for readers that hold no lock; f.mu is held.
func (f *Fabric) setFaults(list []*fault) {
	f.faults = list
	f.active.Store(&list)
}

// Faults lists what is in force.
func (f *Fabric) Faults() []FaultConfig {
	list := []FaultConfig{}
	for _, flt := range *f.active.Load() {
		list = append(list, flt.FaultConfig)
	}
	return list
}

// concerns says whether a fault is about this port, subsystem and host.
func (f *Fabric) concerns(flt *fault, port, subnqn, hostnqn string) bool {
	return (flt.Port == "" || flt.Port == port) &&
		(flt.Host == "" || hostnqn != "" && (flt.Host == hostnqn || f.hostNQN(flt.Host) == hostnqn)) &&
		(flt.Subsystem == "" || flt.Subsystem == subnqn || f.namesSubsystem(flt.Subsystem, subnqn, port))
}

// Intercept makes the target misbehave.
func (f *Fabric) Intercept(s nvmetcp.Step) nvmetcp.Action {
	for _, flt := range *f.active.Load() {
		if flt.kind == faultStep && flt.Step == s.Name && f.concerns(flt, s.Port, s.SubNQN, s.HostNQN) && flt.strikes() {
			f.events.add(Event{Kind: "fault", Port: s.Port, Host: s.HostNQN, Subsystem: s.SubNQN,
				Detail: flt.Name + ": " + flt.Action + " at " + s.Name})
			return flt.act
		}
	}
	return nvmetcp.Action{}
}

// struck gives the fault of this kind, and with one of these actions, that is in force
// for a controller.
func (f *Fabric) struck(c *nvmetcp.Controller, words ...string) *fault {
	for _, flt := range *f.active.Load() {
		if slices.Contains(words, flt.word) && f.concerns(flt, c.Port(), c.SubNQN(), c.HostNQN()) && flt.strikes() {
			return flt
		}
	}
	return nil
}

// startStorm raises events until the fault is removed or the fabric closed.
func (f *Fabric) startStorm(flt *fault) {
	f.spawn(func() {
		tick := time.NewTicker(flt.span)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-f.ctx.Done():
				return
			}
			if !slices.Contains(*f.active.Load(), flt) {
				return
			}
			if !flt.strikes() {
				continue
			}
			for _, c := range f.target.Controllers() {
				if c.ControllerType() == nvme.ControllerDiscovery && c.Requests() > 0 && f.concerns(flt, c.Port(), c.SubNQN(), c.HostNQN()) {
					f.spawn(func() { c.Spam(nvme.AENDiscoveryLogChange) }) // a host that does not read delays nobody
				}
			}
		}
	})
}
