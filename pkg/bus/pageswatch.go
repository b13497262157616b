package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// pagesWatch hears the signals of one connection for a [PagesClient]. The library
// calls it in the order of arrival and from one goroutine, and it only marks what is
// dirty, so nothing can pile up.
type pagesWatch struct {
	client *PagesClient
	conn   *link
}

const busName = "org.freedesktop.DBus"

// subscribe first asks for the signals and then for the present owner: one that comes
// in between is heard of.
func (w *pagesWatch) subscribe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.client.opts.callTimeout())
	defer cancel()
	for _, m := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(busName), dbus.WithMatchInterface(busName), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, FinderName)},
		{dbus.WithMatchSender(FinderName), dbus.WithMatchObjectPath(finderPath), dbus.WithMatchInterface(pagesInterface)},
	} {
		if err := w.conn.AddMatchSignalContext(ctx, m...); err != nil {
			return fmt.Errorf("cannot subscribe to signals: %w", err)
		}
	}
	call := w.conn.BusObject().CallWithContext(ctx, busName+".GetNameOwner", 0, FinderName)
	var owner string
	if err := call.Store(&owner); err != nil {
		var e dbus.Error
		if !errors.As(err, &e) || e.Name != errNameHasNoOwner {
			return fmt.Errorf("cannot ask who is %s: %w", FinderName, err)
		}
	}
	w.ownerIs(owner, call.ResponseSequence)
	return nil
}

// ownerIs takes note of the owner unless something newer is known: replies and signals
// are handled by different goroutines.
func (w *pagesWatch) ownerIs(owner string, at dbus.Sequence) {
	c := w.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watch != w || at < c.decided {
		return
	}
	c.decided = at
	c.setOwner(owner)
}

// DeliverSignal implements [dbus.SignalHandler]. Match rules only ask for signals; any
// process may send one right to us, so each is judged by its sender.
func (w *pagesWatch) DeliverSignal(iface, member string, sig *dbus.Signal) {
	switch {
	case sig.Sender == busName && iface == busName && member == "NameOwnerChanged":
		var name, before, after string
		if dbus.Store(sig.Body, &name, &before, &after) == nil && name == FinderName {
			w.ownerIs(after, sig.Sequence)
		}
	case iface == pagesInterface && sig.Path == finderPath:
		w.pageSignal(member, sig)
	}
}

func (w *pagesWatch) pageSignal(member string, sig *dbus.Signal) {
	c := w.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watch != w || c.owner == "" || sig.Sender != c.owner {
		return
	}
	var key, reason string
	var revision uint64
	switch {
	case member == "PageChanged" && dbus.Store(sig.Body, &key, &revision) == nil:
		c.note(key, revision, false, "")
	case member == "PageRemoved" && dbus.Store(sig.Body, &key, &reason) == nil:
		c.note(key, 0, true, reason)
	}
}
