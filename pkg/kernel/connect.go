package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
	"golang.org/x/sys/unix"
)

// made is a connection that the kernel has just made, and that is yet to be registered.
type made struct {
	*Connection
	want   *wanted
	intent *heldIntent
}

// connect makes a connection; what remains to be done for it, at once, is [host.settle]. It runs in the worker process, one at a time.
func (h *host) connect(w *wanted, known Options) (*made, error) {
	if h.excluded(w.TID, w.Host) {
		return nil, fmt.Errorf("cannot connect %s: %w", w.TID, ErrExcluded)
	}
	var keys tlsKeys
	var err error
	if w.TID.Transport == nvme.TCP && known.Has("tls") { // else the options say what is wrong
		if keys, err = h.findKeys(w); err != nil {
			return nil, &ConnectError{TID: w.TID, Class: Auth, Detail: err.Error()}
		}
	}
	text, leftOut, err := optionString(*w, known, keys, h.pageSize)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if err := h.checkPair(w, known); err != nil {
		return nil, refuse(w.TID, "%v", err)
	}
	intent, err := Intent{TID: w.TID, Kind: w.Kind, Host: w.Host, Owner: w.Owner}.note(h.runDir)
	if errors.Is(err, ErrBusy) {
		return nil, fmt.Errorf("cannot connect %s: %w", w.TID, err)
	}
	if err != nil {
		// The note is for the case that this process is killed. A connection without it is better than none.
		leftOut = append(leftOut, err.Error())
	}
	dev, err := h.openFabrics()
	if err != nil {
		intent.done()
		return nil, fmt.Errorf("cannot connect %s: %w", w.TID, noFabrics(err))
	}
	defer func() { _ = dev.Close() }()

	shut := h.shutMeanwhile(w)
	start := time.Now()
	_, err = dev.Write(text)
	took := time.Since(start)
	shut()
	if err != nil {
		intent.done()
		e := failed(w.TID, err, took)
		e.Warnings = leftOut
		if e.Errno == unix.EINVAL {
			// Another tool may have come first with another pair.
			if err := h.pairConflict(tid.Host{NQN: w.hostNQN(), ID: w.Host.ID}, known); err != nil {
				e.Detail = err.Error()
			} else if name := h.rival(w); name != "" {
				e.Class = Rejected // which may be over with the next attempt
				e.Detail = fmt.Sprintf("%v (perhaps the target has given out the controller ID of %s once more, which is being reconnected; dmesg says which)", e.Errno, name)
			}
		}
		return nil, e
	}
	c, err := readConnection(dev)
	if err != nil {
		// The connection exists, and nobody knows under which name.
		intent.leave()
		return nil, &unreadError{&ConnectError{TID: w.TID, Detail: fmt.Sprintf("connected, but the kernel's reply cannot be read: %v", err), Took: took}}
	}
	c.Took, c.Warnings = took, leftOut
	return &made{c, w, intent}, nil
}

// unreadError is of a connection that exists, and has left its intent.
type unreadError struct{ *ConnectError }

func (e *unreadError) Unwrap() error { return e.ConnectError }

// settle registers a connection and shuts the secrets that sysfs shows to everybody. Nothing comes before the entry: until it is there,
// others take the controller for unowned. Where that failed, left is true: its intent stays, for Adopt. The kernel may be at the
// next connect by then.
func (h *host) settle(m *made) (left bool) {
	warning := h.register(m.Name(), m.want)
	if m.want.hasSecrets() {
		h.sysfs.ShutSecrets(m.Name())
	}
	if warning != nil {
		m.intent.leave()
		m.Warnings = append(m.Warnings, warning.Error())
		return true
	}
	m.intent.done()
	return false
}

// readConnection reads instance=N,cntlid=M, which the device tells after a connect.
func readConnection(dev fabricsDevice) (*Connection, error) {
	buf := make([]byte, 256)
	n, err := dev.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	c := Connection{Instance: -1, CntlID: -1}
	for field := range strings.SplitSeq(strings.TrimRight(string(buf[:n]), "\n\x00"), ",") {
		name, value, _ := strings.Cut(field, "=")
		number, err := strconv.Atoi(value)
		switch {
		case err != nil:
		case name == "instance":
			c.Instance = number
		case name == "cntlid":
			c.CntlID = number
		}
	}
	if c.Instance < 0 {
		return nil, fmt.Errorf("%q has no instance", buf[:n])
	}
	return &c, nil
}

// register writes the registry entry. When the controller went meanwhile, the udev rule
// for that may have run before the entry was there, so the entry goes here.
func (h *host) register(name string, w *wanted) error {
	owner := cmp.Or(w.Owner, h.owner)
	seqnum, err := h.registry.Create(name, owner, w.Attributes)
	if err != nil {
		return err
	}
	if !h.sysfs.exists(name) {
		_, err = h.registry.RemoveIfOurs(name, owner, seqnum)
		return err
	}
	return nil
}
