package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/stas-go/stas/pkg/registry"
	"github.com/stas-go/stas/pkg/tid"
)

// Adopt registers the connections that workers of this run directory made and, as they were killed or the registry failed, did
// not register, and shuts their secrets: controllers that fit an intent nobody is at any more and that belong to nobody. It
// gives their names, and removes the intents it dealt with. A daemon calls it when it
// starts; a Worker does so itself when its process is killed, before the calls that
// waited fail with [ErrWorkerDied], and some time after one has made a connection that it could not register. An intent that a worker is still at, which may be killed too, or that cannot be dealt with,
// is looked at again until it has been dealt with, or the Worker is closed.
func (w *Worker) Adopt() (adopted []string, err error) {
	defer func() {
		if err != nil {
			w.adoptAgain() // nothing tells when it would succeed
		}
	}()
	intents, err := Intents(w.opt.RunDir)
	if err != nil || len(intents) == 0 {
		return nil, err
	}
	list, err := Sysfs{w.opt.SysRoot}.Controllers()
	if err != nil {
		return nil, fmt.Errorf("cannot look for connections that were begun: %w", err)
	}
	reg := registry.Open(w.opt.RegistryRoot, w.opt.DevRoot, w.opt.SysRoot)
	for i := range intents {
		if intents[i].Busy {
			w.adoptAgain() // its worker registers what becomes of it, if it lives to
			continue
		}
		names, e := w.adopt(&intents[i], list, reg)
		adopted = append(adopted, names...)
		if e == nil {
			e = intents[i].Forget()
		}
		err = errors.Join(err, e)
	}
	return adopted, err
}

func (w *Worker) adopt(i *Intent, list []Controller, reg *registry.Dir) (adopted []string, err error) {
	wanted := cmp.Or(i.Owner, w.opt.Owner)
	for _, c := range list {
		// What the worker made has just what it asked for. One that would only do is somebody else's.
		if c.FitTo(i.Kind, i.TID, nil) != tid.Exact || i.Host.NQN != "" && c.HostNQN != i.Host.NQN {
			continue
		}
		switch owner := reg.Owner(c.Name); {
		case owner.Is(wanted): // registered, and no more than that
			Sysfs{w.opt.SysRoot}.ShutSecrets(c.Name)
			continue
		case owner.Kind() == registry.KindUnknown:
			err = errors.Join(err, fmt.Errorf("cannot adopt a connection that was begun: the owner of %s is not known", c.Name))
			continue
		case owner.Kind() != registry.KindNone:
			continue
		}
		switch now, e := (Sysfs{w.opt.SysRoot}).Controller(c.Name); {
		case errors.Is(e, ErrGone) || e == nil && now.Inode != c.Inode:
			continue // the name is another's by now
		case e != nil:
			err = errors.Join(err, fmt.Errorf("cannot adopt a connection that was begun: %w", e))
			continue
		}
		if _, e := reg.Claim(c.Name, wanted); e != nil {
			err = errors.Join(err, fmt.Errorf("cannot adopt a connection that was begun: %w", e))
			continue
		}
		Sysfs{w.opt.SysRoot}.ShutSecrets(c.Name)
		adopted = append(adopted, c.Name)
	}
	return adopted, err
}

// adoptInterval is how long after an intent was seen under work, or left, it is looked at again.
const adoptInterval = 10 * time.Second

// adoptAgain has Adopt called once more after a while. Of the end of a worker that an earlier run of the
// daemon had started nobody tells this one.
func (w *Worker) adoptAgain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if w.again == nil {
		w.again = time.AfterFunc(w.adoptEvery, w.adoptAfterDeath)
		return
	}
	w.again.Reset(w.adoptEvery)
}

// adoptAfterDeath is Adopt with its results in the log.
func (w *Worker) adoptAfterDeath() {
	adopted, err := w.Adopt()
	w.mu.Lock()
	news := err != nil && err.Error() != w.adoptErr
	w.adoptErr = ""
	if err != nil {
		w.adoptErr = err.Error()
	}
	w.mu.Unlock()
	if news {
		w.log.Warn("connections that a kernel worker began may belong to nobody", "error", err)
	}
	for _, name := range adopted {
		w.log.Info("registered a connection that a kernel worker had made", "device", name)
	}
}
