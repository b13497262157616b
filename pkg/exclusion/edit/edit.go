// Package edit changes host-wide exclusion lists on the word of an administrator. It is
// for command-line tools only: the lists are never written by a daemon, and for that
// reason this is not part of package exclusion, which the daemons use.
//
// Writers hold a lock on the directory and replace files by rename, so that readers
// see the old list or the new one, and two writers with the same file in hand cannot undo
// each other's work. The protocol is that of libnvme 3 (libnvme/src/nvme/exclusion.c).
package edit

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/stas-go/stas/pkg/exclusion"
)

// Errors that callers tell apart with errors.Is. That a list exists already (Create) is
// fs.ErrExist, that it does not (Delete, Remove) is fs.ErrNotExist.
var (
	// ErrStale: somebody changed the list since it was read. Read it again.
	ErrStale = errors.New("list was changed meanwhile")
	// ErrInvalid: the text would not do what it says; readers would ignore some of it.
	ErrInvalid = errors.New("invalid")
)

const (
	fileMode = 0o644
	dirMode  = 0o755

	// maxFile is what readers take in of one list.
	maxFile = 1 << 20
)

// Token stands for the content of a list: its FNV-1a hash of 64 bits. 0 stands for a
// list that does not exist.
type Token uint64

func tokenOf(content []byte) Token {
	h := fnv.New64a()
	_, _ = h.Write(content) // never fails
	if sum := h.Sum64(); sum != 0 {
		return Token(sum)
	}
	return 1
}

// header begins every new list.
const header = `# NVMe-oF connections that nothing on this host opens by itself, see stas-coexistence(7).
# One per line: exclusion = key=value;key=value...  A comment needs a line of its own.
# Keys: transport traddr trsvcid nqn host-traddr host-iface hostnqn hostid

[exclusions]
`

// Path is the file of a list: the main file for the empty name, else the drop-in of that
// name, which consists of letters, digits, "_" and "-".
func Path(mainFile, dropinDir, name string) (string, error) {
	if name == "" {
		return mainFile, nil
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	if strings.Trim(name, letters) != "" {
		return "", fmt.Errorf("%w list name %q: only letters, digits, \"_\" and \"-\"", ErrInvalid, name)
	}
	return filepath.Join(dropinDir, name+".conf"), nil
}

// Read gives the content of a list and the token that Write and Delete want. A list that
// does not exist is empty and has the token 0; that is no error.
func Read(path string) ([]byte, Token, error) {
	content, token, err := read(path)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read exclusion list %s: %w", path, err)
	}
	return content, token, nil
}

func read(path string) ([]byte, Token, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	case info.Mode()&fs.ModeSymlink != 0:
		// A rename would put a file in the place of the link.
		return nil, 0, errors.New("it is a symbolic link: name the file it leads to")
	case !info.Mode().IsRegular():
		return nil, 0, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, 0, err
	}
	if len(content) > maxFile {
		return nil, 0, fmt.Errorf("longer than %d bytes", maxFile)
	}
	return content, tokenOf(content), nil
}

// Check says whether readers would take in the whole content: no entry outside of
// [exclusions], no malformed header, no invalid entry. The error names file and line.
func Check(path string, content []byte) error {
	if len(content) > maxFile {
		return fmt.Errorf("%w list %s: longer than %d bytes", ErrInvalid, path, maxFile)
	}
	_, problems := exclusion.Parse(bytes.NewReader(content), path)
	for i, p := range problems {
		if p.Kind != exclusion.Suspicious || i == exclusion.MaxProblems-1 {
			return fmt.Errorf("%w list: %w", ErrInvalid, p)
		}
	}
	return nil
}

// Write replaces a list whose content still is what token stands for, else it fails with
// ErrStale. The token 0 makes a list that does not exist.
func Write(path string, content []byte, token Token) error {
	err := locked(path, true, func() error { return write(path, content, token) })
	if err != nil {
		return fmt.Errorf("cannot write exclusion list %s: %w", path, err)
	}
	return nil
}

// Create makes an empty list; fs.ErrExist when there is one.
func Create(path string) error {
	err := locked(path, true, func() error {
		if _, token, err := read(path); err != nil || token != 0 {
			return errors.Join(err, fs.ErrExist)
		}
		return write(path, []byte(header), 0)
	})
	if err != nil {
		return fmt.Errorf("cannot create exclusion list %s: %w", path, err)
	}
	return nil
}

// Delete removes a list whose content still is what token stands for; ErrStale if not,
// fs.ErrNotExist when there is none.
func Delete(path string, token Token) error {
	err := locked(path, false, func() error {
		_, now, err := read(path)
		switch {
		case err != nil:
			return err
		case now == 0:
			return fs.ErrNotExist
		case now != token:
			return ErrStale
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		return syncDir(filepath.Dir(path))
	})
	if err != nil {
		return fmt.Errorf("cannot delete exclusion list %s: %w", path, err)
	}
	return nil
}

// locked runs do while no other writer changes the directory of path. It waits for its
// turn, which is short: nobody holds the lock while a person thinks.
func locked(path string, makeDir bool, do func() error) error {
	dir := filepath.Dir(path)
	if makeDir {
		if err := mkdir(dir); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0) // a FIFO in its place does not hold us up
	if err != nil {
		return err
	}
	defer f.Close() // gives the lock back
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	return do()
}

// mkdir makes a missing directory readable by everybody, whatever the umask.
func mkdir(dir string) error {
	err := os.Mkdir(dir, dirMode)
	switch {
	case err == nil:
		return os.Chmod(dir, dirMode)
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir):
		if err := mkdir(filepath.Dir(dir)); err != nil {
			return err
		}
		return mkdir(dir)
	}
	return err
}

// write is Write under the lock.
func write(path string, content []byte, token Token) error {
	if err := Check(path, content); err != nil {
		return err
	}
	if _, now, err := read(path); err != nil {
		return err
	} else if now != token {
		return ErrStale
	}
	f, err := os.CreateTemp(filepath.Dir(path), exclusion.TempPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing there any more once it was renamed
	_, err = f.Write(content)
	for _, step := range []func() error{
		func() error { return f.Chmod(fileMode) },
		f.Sync,
	} {
		if err == nil {
			err = step()
		}
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	// Some file systems cannot sync a directory; that is no reason to fail.
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
