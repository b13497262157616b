package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/stas-go/stas/pkg/nvme"
	"golang.org/x/sys/unix"
)

// Sysfs reads what the kernel shows of NVMe controllers. It keeps no state and may be used
// from many goroutines. Reading a controller takes about fifteen small reads and a
// handful of allocations, and never blocks on the fabric.
type Sysfs struct {
	Root string // "" means /sys
}

func (s Sysfs) root() string { return cmp.Or(s.Root, "/sys") }

func (s Sysfs) classDir() string { return s.root() + "/class/nvme" }

// Names lists all controllers of the host, PCIe ones too, in the order of their instances.
// A host without any has none, which is no error.
func (s Sysfs) Names() ([]string, error) {
	dir, err := os.Open(s.classDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list NVMe controllers: %w", err)
	}
	defer func() { _ = dir.Close() }()
	all, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("cannot list NVMe controllers: %w", err)
	}
	names := slices.DeleteFunc(all, func(n string) bool { _, ok := instanceOf(n); return !ok })
	slices.SortFunc(names, func(a, b string) int {
		x, _ := instanceOf(a)
		y, _ := instanceOf(b)
		return cmp.Compare(x, y)
	})
	return names, nil
}

// Controllers reads every fabrics controller. PCIe ones are left out, and so are those that
// vanish meanwhile.
func (s Sysfs) Controllers() ([]Controller, error) {
	names, err := s.Names()
	if err != nil {
		return nil, err
	}
	list := make([]Controller, 0, len(names))
	for _, name := range names {
		c, err := s.Controller(name)
		switch {
		case errors.Is(err, ErrGone):
		case err != nil:
			return nil, err
		case c.Transport.Fabric():
			list = append(list, c)
		}
	}
	return list, nil
}

// Controller reads one controller, of whatever transport. The error is [ErrGone] where it
// does not exist or goes while it is read.
func (s Sysfs) Controller(name string) (Controller, error) {
	c, _, err := s.ControllerIf(name, nil)
	return c, err
}

// ControllerIf is Controller for one whose kind is wanted; of another no more is read than what tells its kind, and
// ok is false. nil wants them all.
func (s Sysfs) ControllerIf(name string, want func(Kind) bool) (c Controller, ok bool, err error) {
	instance, ok := instanceOf(name)
	if !ok {
		return Controller{}, false, fmt.Errorf("cannot read controller: %w", checkName(name))
	}
	dir, err := s.openController(name)
	if err != nil {
		return Controller{}, false, err
	}
	defer func() { _ = unix.Close(dir) }()
	c = Controller{Name: name, Instance: instance}
	if ok, err = c.read(dir, want); err != nil {
		return Controller{}, false, fmt.Errorf("cannot read controller %s: %w", name, err)
	}
	return c, ok, nil
}

// openController opens the directory of a controller. Whatever is opened relative to it
// belongs to this one controller, also after the name was given to another.
func (s Sysfs) openController(name string) (int, error) {
	dir, err := unix.Open(s.classDir()+"/"+name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot read controller %s: %w", name, goneOr(err))
	}
	return dir, nil
}

// exists says whether a controller is there; one that is on its way out may be. What cannot be looked at counts as there.
func (s Sysfs) exists(name string) bool {
	var stat unix.Stat_t
	err := unix.Stat(s.classDir()+"/"+name, &stat)
	return err == nil || !errors.Is(goneOr(err), ErrGone)
}

// goneOr maps the errors that a device on its way out gives to ErrGone.
func goneOr(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return ErrGone
	}
	return err
}

// buffers holds scratch space of attrReader.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

// read fills c from the open directory of its controller, if its kind is wanted.
func (c *Controller) read(dir int, want func(Kind) bool) (bool, error) {
	scratch := buffers.Get().(*[]byte)
	defer buffers.Put(scratch)
	r := attrReader{dir: dir, buf: (*scratch)[:0]}
	r.next(attrCntrlType)
	if want != nil {
		k, err := r.kind()
		if err != nil || !want(k) {
			return false, err
		}
	}
	var stat unix.Stat_t
	if err := unix.Fstat(dir, &stat); err != nil {
		return false, goneOr(err)
	}
	c.Inode = stat.Ino
	for i := attrCntrlType + 1; i < attrCount; i++ {
		r.next(i)
	}
	*scratch = r.buf[:0]
	if r.err != nil {
		return false, r.err
	}
	text := r.texts()
	c.fill(&text)
	// An incomplete picture must not pass for one of a kernel that has fewer attributes.
	if c.State == "" || c.Transport == "" {
		return false, ErrGone
	}
	if c.Transport == nvme.PCIe {
		c.Traddr = text[attrAddress]
	}
	return true, nil
}
