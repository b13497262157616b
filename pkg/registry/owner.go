package registry

import "fmt"

// Kind is what is known about the owner of a controller.
type Kind uint8

// The four answers. The zero value is the one that forbids most, so that an Owner
// nobody filled in protects its controller.
const (
	// KindUnknown: it could not be read. Neither disconnect nor claim.
	KindUnknown Kind = iota
	// KindNone: nobody registered the connection; it may be claimed.
	KindNone
	// KindOurs: stafd or stacd made or claimed it.
	KindOurs
	// KindOther: somebody else's. Hands off.
	KindOther
)

func (k Kind) String() string {
	switch k {
	case KindNone:
		return "none"
	case KindOurs:
		return "ours"
	case KindOther:
		return "other"
	}
	return "unknown"
}

// Owner is the answer to "whose is this controller?". It is a plain value.
type Owner struct {
	kind Kind
	name string
	err  error
}

// NoOwner is the answer for a controller that nobody registered.
func NoOwner() Owner { return Owner{kind: KindNone} }

// OwnedBy is the answer for a controller registered under name. An empty name is a
// present but empty owner, which is somebody else.
func OwnedBy(name string) Owner {
	if name == Stas {
		return Owner{kind: KindOurs, name: name}
	}
	return Owner{kind: KindOther, name: name}
}

// UnknownOwner is the answer when reading failed with err.
func UnknownOwner(err error) Owner { return Owner{err: err} }

// Kind tells the four answers apart.
func (o Owner) Kind() Kind { return o.kind }

// Name is the registered identity; "" where there is none.
func (o Owner) Name() string { return o.name }

// Is says whether the controller is registered under exactly this name.
func (o Owner) Is(name string) bool {
	return (o.kind == KindOurs || o.kind == KindOther) && o.name == name
}

// Protected says whether we must leave the connection alone: it is somebody else's, or
// that could not be found out. (Connections that the firmware asked for are protected
// on top of that, whatever the registry says.)
func (o Owner) Protected() bool { return o.kind == KindOther || o.kind == KindUnknown }

// Err is why the owner is unknown, else nil.
func (o Owner) Err() error {
	if o.kind == KindUnknown && o.err == nil {
		return errNotRead
	}
	return o.err
}

var errNotRead = fmt.Errorf("owner was not read")

// String is for logs: the quoted name, or what is known instead.
func (o Owner) String() string {
	switch o.kind {
	case KindNone:
		return "none"
	case KindUnknown:
		return fmt.Sprintf("unknown (%v)", o.Err())
	}
	return fmt.Sprintf("%q", o.name)
}
