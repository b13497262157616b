package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
)

// SetKey writes key=value into [section] of the 2.x file at path, replacing the value that
// counts there. Everything else stays as it is: comments, order, spacing, line ends, mode. The file and its
// directory are made where they do not exist; readers see the old file or the new one.
func SetKey(path, section, key, value string) error {
	if strings.ContainsAny(value, "\n\r\x00") || strings.TrimSpace(value) != value || value == "" {
		return fmt.Errorf("cannot write %s to %s: the value does not fit into a line", key, path)
	}
	if fault := keyLine(key + "=" + value).fault; fault != "" {
		return fmt.Errorf("cannot write %s to %s: %s", key, path, fault)
	}
	return editFile(path, func(text []byte, entries []entry) []byte {
		return setLine(text, entries, section, key, value)
	})
}

// ClearKey takes every line with key out of [section] of the 2.x file at path.
func ClearKey(path, section, key string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return editFile(path, func(text []byte, entries []entry) []byte {
		lines := bytes.SplitAfter(text, []byte("\n"))
		for _, e := range entries {
			if e.section == section && e.key == key {
				lines[e.line-1] = nil
			}
		}
		return bytes.Join(lines, nil)
	})
}

func setLine(text []byte, entries []entry, section, key, value string) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	end := "\n"
	if bytes.HasSuffix(lines[0], []byte("\r\n")) {
		end = "\r\n"
	}
	replace, after := -1, -1
	for _, e := range entries {
		if e.section != section {
			continue
		}
		if e.key == key {
			replace = e.line - 1 // the last one counts
		} else {
			after = e.line - 1
		}
	}
	line := []byte(key + "=" + value + end)
	switch {
	case replace >= 0:
		old := lines[replace]
		if at := bytes.IndexByte(old, '='); at >= 0 {
			spelled := bytes.TrimLeft(old[at+1:], " \t")
			line = append(bytes.Clone(old[:len(old)-len(spelled)]), value+end...)
		}
		lines[replace] = line
	case after >= 0:
		if !bytes.HasSuffix(lines[after], []byte("\n")) {
			lines[after] = append(bytes.Clone(lines[after]), end...)
		}
		lines[after] = append(bytes.Clone(lines[after]), line...)
	default:
		if last := lines[len(lines)-1]; len(last) > 0 {
			lines[len(lines)-1] = append(bytes.Clone(last), end...)
		}
		lines = append(lines, []byte("["+section+"]"+end), line)
	}
	return bytes.Join(lines, nil)
}

// editFile replaces a file by what edit makes of it, while nobody else that locks does so.
func editFile(path string, edit func(text []byte, entries []entry) []byte) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make a directory for %s: %w", path, cause(err))
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return fmt.Errorf("cannot change %s: %w", path, err)
	}
	defer unlock()
	mode := fs.FileMode(0o644)
	text, err := readText(path, maxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	entries, err := parseINI(path, text)
	if err != nil {
		return err
	}
	changed := edit(text, entries)
	if bytes.Equal(changed, text) && err == nil {
		return nil
	}
	if err := renameio.WriteFile(path, changed, mode, renameio.WithStaticPermissions(mode)); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, cause(err))
	}
	return nil
}

// WriteWord writes the one-word file that a "file://" value refers to, whole or not at all.
func WriteWord(path, word string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot make a directory for %s: %w", path, cause(err))
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if err := renameio.WriteFile(path, []byte(word+"\n"), 0o644, renameio.WithStaticPermissions(0o644)); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, cause(err))
	}
	return nil
}

// FirstWord reads the one-word file that a "file://" value refers to. That there is none is
// fs.ErrNotExist.
func FirstWord(path string) (string, error) { return firstWord(path) }

// lockDir holds all other writers off that lock the directory, as stasadm does.
func lockDir(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, cause(err)
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return func() { _ = d.Close() }, nil
}

// KeyOf gives the value that counts for key in [section] of the 2.x file at path, without
// its drop-ins; empty where there is none.
func KeyOf(path, section, key string) (string, error) {
	text, err := readText(path, maxFile)
	if err != nil {
		return "", err
	}
	entries, err := parseINI(path, text)
	if err != nil {
		return "", err
	}
	value := ""
	for _, e := range entries {
		if e.section == section && e.key == key && e.fault == "" {
			value = e.value
		}
	}
	return value, nil
}

// DropInWith gives the place, FILE:LINE, in the drop-ins of the 2.x file at path where key of [section] gets the value that
// counts, and that value; no place where none of them has the key. They come after the file itself.
func DropInWith(path, section, key string) (where, value string, err error) {
	files, err := dropIns(path + ".d")
	for _, file := range files {
		text, readErr := readText(file, maxFile)
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		entries, readErr := parseINI(file, text)
		err = errors.Join(err, readErr)
		for _, e := range entries {
			if e.section == section && e.key == key {
				where, value = e.where(), e.value
			}
		}
	}
	return where, value, err
}
