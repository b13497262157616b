package kernel

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stas-go/stas/pkg/tid"
	"golang.org/x/sys/unix"
)

// Intent is a connection that a worker set out to make and did not report as registered.
// It lies in a file that the worker holds a lock on until it is done; the kernel
// drops the lock with the process, which is after its last call returned.
type Intent struct {
	TID  tid.TID
	Kind tid.Kind
	Host tid.Host

	// Owner under which it is to be registered; "" means that of the Worker.
	Owner string `json:",omitempty"`

	// Busy: the worker is still at it. Its connection, if there will be one, gets
	// its registry entry; wait for it. Otherwise the worker was killed: an unowned
	// live controller that fits is ours.
	Busy bool `json:"-"`

	path string
}

const (
	intentMode = 0o600
	maxIntent  = 16 << 10
)

func intentDir(runDir string) string { return filepath.Join(runDir, "intents") }

func (i *Intent) file() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %q %q", i.Kind, i.TID, i.Host))
	return hex.EncodeToString(sum[:12]) + ".json"
}

// Intents lists what workers of this run directory left or are at. A directory that is not
// there has none. Files that hold nothing usable and are not being worked on are removed.
func Intents(runDir string) ([]Intent, error) {
	dir := intentDir(runDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list connect intents: %w", err)
	}
	var list []Intent
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		i, err := readIntent(filepath.Join(dir, e.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errNoIntent):
			if err := i.Forget(); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		default:
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b Intent) int { return cmp.Or(a.TID.Compare(b.TID), cmp.Compare(a.path, b.path)) })
	return list, nil
}

// errNoIntent: the worker was killed before it had written the file, so before it connected.
var errNoIntent = errors.New("no complete intent")

func readIntent(path string) (Intent, error) {
	f, err := os.Open(path)
	if err != nil {
		return Intent{}, fmt.Errorf("cannot read a connect intent: %w", err)
	}
	defer func() { _ = f.Close() }()
	i := Intent{path: path}
	// Asking for a lock without taking it disturbs no worker that is about to.
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return i, fmt.Errorf("cannot read the lock of connect intent %s: %w", path, err)
	}
	i.Busy = lock.Type != unix.F_UNLCK
	text, err := io.ReadAll(io.LimitReader(f, maxIntent))
	if err != nil {
		return i, fmt.Errorf("cannot read connect intent %s: %w", path, err)
	}
	if json.Unmarshal(text, &i) != nil || i.TID == (tid.TID{}) {
		if i.Busy {
			return i, nil // it is being written
		}
		return i, errNoIntent
	}
	return i, nil
}

// Forget removes an intent that has been dealt with. One that a worker has taken up
// again stays, and that is no error.
func (i *Intent) Forget() error {
	f, err := os.OpenFile(i.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot remove a connect intent: %w", err)
	}
	defer func() { _ = f.Close() }()
	if lockFile(int(f.Fd())) != nil {
		return nil
	}
	if err := os.Remove(i.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove a connect intent: %w", err)
	}
	return nil
}

// lockFile takes the lock of an open intent, or fails at once. It belongs to the open
// file, not to the process, so that it holds against other goroutines too.
func lockFile(fd int) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock)
}

// heldIntent is an intent under work.
type heldIntent struct {
	fd   int
	path string
}

// note writes down an intent and takes its lock. The error is ErrBusy where another
// worker of this run directory is at the same connection. Beside any other error, such as
// that of a file system which is full, what is returned may be held all the same.
//
// It goes without the os package, which asks the poller about each file: every connect waits for it.
func (i Intent) note(runDir string) (*heldIntent, error) {
	text, err := json.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("cannot note a connect intent: %w", err)
	}
	path := filepath.Join(intentDir(runDir), i.file())
	for {
		fd, err := openIntent(path)
		if err != nil {
			return nil, fmt.Errorf("cannot note a connect intent: %w", err)
		}
		if err := lockFile(fd); err != nil {
			_ = unix.Close(fd)
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
				return nil, fmt.Errorf("%w: another worker connects the same", ErrBusy)
			}
			return nil, fmt.Errorf("cannot lock connect intent %s: %w", path, err)
		}
		var held, named unix.Stat_t
		// Forget may have removed the name between open and lock.
		if unix.Fstat(fd, &held) != nil || unix.Stat(path, &named) != nil || held.Dev != named.Dev || held.Ino != named.Ino {
			_ = unix.Close(fd)
			continue
		}
		h := &heldIntent{fd, path}
		if held.Size > 0 {
			err = unix.Ftruncate(fd, 0)
		}
		n := 0
		if err == nil {
			n, err = unix.Pwrite(fd, text, 0)
		}
		if err == nil && n < len(text) {
			err = unix.ENOSPC
		}
		if err != nil {
			// Its lock still keeps other workers away; empty, or a part, it means nothing once it is let go.
			return h, fmt.Errorf("cannot note a connect intent: %w", &fs.PathError{Op: "write", Path: path, Err: err})
		}
		return h, nil
	}
}

// openIntent opens the file of an intent, and makes it, and its directory, where they are missing.
func openIntent(path string) (int, error) {
	open := func() (int, error) {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, intentMode)
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
	fd, err := open()
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return -1, err
		}
		fd, err = open()
	}
	return fd, err
}

// done removes the intent: its connection is registered, or there is none. Like leave
// it may be called for an intent that could not be noted.
func (h *heldIntent) done() {
	if h != nil {
		_ = unix.Unlink(h.path)
		_ = unix.Close(h.fd)
	}
}

// leave keeps the intent for Adopt.
func (h *heldIntent) leave() {
	if h != nil {
		_ = unix.Close(h.fd)
	}
}
