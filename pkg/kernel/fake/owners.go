package fake

import (
	"fmt"
	"strconv"

	"github.com/stas-go/stas/pkg/registry"
)

// setOwner writes an entry. The caller holds the lock.
func (h *Host) setOwner(name string, o registry.Owner) {
	h.seqnum++
	h.owners[name] = entry{o, strconv.FormatUint(h.seqnum, 10)}
}

// SetOwner makes the registry say what it is told, for any name.
func (h *Host) SetOwner(name string, o registry.Owner) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.setOwner(name, o)
}

func (h *Host) owner(name string) registry.Owner {
	if e, ok := h.owners[name]; ok {
		return e.owner
	}
	return registry.NoOwner()
}

// Owner is registry.Dir.Owner.
func (h *Host) Owner(name string) registry.Owner {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.owner(name)
}

// FailRegistry has every entry that is to be written fail with err; nil ends that.
func (h *Host) FailRegistry(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unwritable = err
}

// Claim is registry.Dir.Claim.
func (h *Host) Claim(name, owner string) (seqnum string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch o := h.owner(name); {
	case o.Is(owner):
	case o.Kind() == registry.KindNone && h.unwritable != nil:
		return "", fmt.Errorf("cannot claim %s: %w", name, h.unwritable)
	case o.Kind() == registry.KindNone:
		h.setOwner(name, registry.OwnedBy(owner))
	case o.Kind() == registry.KindUnknown:
		return "", fmt.Errorf("cannot claim %s: %w", name, o.Err())
	default:
		return "", &registry.OwnedError{Name: name, Owner: o.Name()}
	}
	return h.owners[name].seqnum, nil
}

// RemoveIfOurs is registry.Dir.RemoveIfOurs.
func (h *Host) RemoveIfOurs(name, owner, seqnum string) (removed bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.owners[name]; ok && e.owner.Is(owner) && e.seqnum == seqnum {
		delete(h.owners, name)
		return true, nil
	}
	return false, nil
}
