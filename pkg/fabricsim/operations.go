package fabricsim

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/stas-go/stas/pkg/nvme"
)

// operation is what a request can ask for: with so many arguments (most < 0 for any
// number), and keys to set or not.
type operation struct {
	least, most int
	set         bool
	do          func(f *Fabric, r Request) (any, error)
}

// none makes an operation of one that has no result.
func none(do func(f *Fabric, a []string) error) func(*Fabric, Request) (any, error) {
	return func(f *Fabric, r Request) (any, error) { return nil, do(f, r.Args) }
}

func list[T any](do func(*Fabric) T) func(*Fabric, Request) (any, error) {
	return func(f *Fabric, _ Request) (any, error) { return do(f), nil }
}

func setPort(state PortState) func(*Fabric, Request) (any, error) {
	return none(func(f *Fabric, a []string) error { return f.SetPort(a[0], state) })
}

var operations = map[string]operation{
	"zone ls":           {0, 0, false, list((*Fabric).Zones)},
	"zone add":          {1, -1, false, none(func(f *Fabric, a []string) error { return f.AddToZone(a[0], a[1:]...) })},
	"zone remove":       {1, -1, false, none(func(f *Fabric, a []string) error { return f.RemoveFromZone(a[0], a[1:]...) })},
	"dc ls":             {0, 0, false, list((*Fabric).DCs)},
	"dc set":            {1, 1, true, opSetDC},
	"dc disconnect":     {1, 1, false, none(func(f *Fabric, a []string) error { return f.Disconnect(a[0]) })},
	"subsys ls":         {0, 0, false, list((*Fabric).Subsystems)},
	"subsys add":        {1, 1, true, opAddSubsystem},
	"subsys remove":     {1, 1, false, none(func(f *Fabric, a []string) error { return f.RemoveSubsystem(a[0]) })},
	"subsys ana":        {3, 3, false, none(opANA)},
	"subsys disconnect": {1, 1, false, none(func(f *Fabric, a []string) error { return f.Disconnect(a[0]) })},
	"port ls":           {0, 0, false, list((*Fabric).Ports)},
	"port up":           {1, 1, false, setPort(PortUp)},
	"port down":         {1, 1, false, setPort(PortDown)},
	"port blackhole":    {1, 1, false, setPort(PortBlackhole)},
	"port move":         {2, 2, false, none(opMovePort)},
	"fault ls":          {0, 0, false, list((*Fabric).Faults)},
	"fault add":         {1, 1, true, opAddFault},
	"fault remove":      {1, 1, false, none(func(f *Fabric, a []string) error { return f.RemoveFault(a[0]) })},
	"aen":               {1, 2, false, opAEN},
	"hosts":             {0, 0, false, list((*Fabric).Hosts)},
	"events":            {0, 0, false, func(f *Fabric, r Request) (any, error) { return f.Events(r.After), nil }},
}

// Operations names all that [Fabric.Perform] knows, sorted.
func Operations() []string { return slices.Sorted(maps.Keys(operations)) }

// Perform does what a request asks for. The result can be encoded as JSON.
func (f *Fabric) Perform(r Request) (any, error) {
	op, ok := operations[r.Op]
	switch {
	case !ok:
		return nil, fmt.Errorf("cannot perform %q: it is unknown", r.Op)
	case len(r.Args) < op.least, op.most >= 0 && len(r.Args) > op.most:
		return nil, fmt.Errorf("cannot perform %q with %d arguments", r.Op, len(r.Args))
	case len(r.Set) > 0 && !op.set:
		return nil, fmt.Errorf("cannot perform %q: it has nothing to set", r.Op)
	}
	return op.do(f, r)
}

// opSetDC changes one or more keys; the first that is wrong ends it.
func opSetDC(f *Fabric, r Request) (any, error) {
	if len(r.Set) == 0 {
		return nil, errors.New("cannot set nothing")
	}
	for _, key := range slices.Sorted(maps.Keys(r.Set)) {
		if err := f.SetDC(r.Args[0], key, r.Set[key]); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func opAddSubsystem(f *Fabric, r Request) (any, error) {
	c := SubsystemConfig{Name: r.Args[0], BlockSize: 512, Model: "fabricsim"}
	for _, key := range slices.Sorted(maps.Keys(r.Set)) {
		if err := c.set(key, r.Set[key]); err != nil {
			return nil, fmt.Errorf("cannot add subsystem %s: %s: %w", c.Name, key, err)
		}
	}
	return nil, f.AddSubsystem(c)
}

func opAddFault(f *Fabric, r Request) (any, error) {
	c := FaultConfig{Name: r.Args[0]}
	for _, key := range slices.Sorted(maps.Keys(r.Set)) {
		if err := c.set(key, r.Set[key]); err != nil {
			return nil, fmt.Errorf("cannot add fault %s: %s: %w", c.Name, key, err)
		}
	}
	return nil, f.AddFault(c)
}

func opMovePort(f *Fabric, a []string) error {
	addr, err := netip.ParseAddrPort(a[1])
	if err != nil {
		return fmt.Errorf("cannot move port %s: %w", a[0], err)
	}
	return f.MovePort(a[0], addr)
}

func opANA(f *Fabric, a []string) error {
	state, err := nvme.ParseANAState(a[2])
	if err != nil {
		return fmt.Errorf("cannot set the state of subsystem %s: %w", a[0], err)
	}
	return f.SetANA(a[0], a[1], state)
}

func opAEN(f *Fabric, r Request) (any, error) {
	host := ""
	if len(r.Args) > 1 {
		host = r.Args[1]
	}
	return f.RaiseAEN(r.Args[0], host)
}

// Disconnect closes the connections of a subsystem or discovery controller, by name.
func (f *Fabric) Disconnect(name string) error {
	f.mu.RLock()
	s, d := f.lookup(name), f.dc(name)
	f.mu.RUnlock()
	switch {
	case s != nil:
		f.disconnect(s)
	case d != nil:
		f.disconnect(d)
	default:
		return fmt.Errorf("cannot disconnect %s: it is neither a subsystem nor a discovery controller", name)
	}
	return nil
}
