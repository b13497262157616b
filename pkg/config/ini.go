package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"gopkg.in/ini.v1"
)

// Bounds on what is read. The largest file seen in the field names a few thousand controllers.
const (
	maxFile = 16 << 20
	maxLine = 64 << 10
)

// entry is one line of an INI file that is not a comment; a section header has no key.
type entry struct {
	file     string
	line     int
	section  string
	key      string // lower case
	value    string
	fault    string // why the line has no usable value
	odd      bool   // the key has characters that no key has
	indented bool   // further than the key before it
}

func (e entry) where() string { return fmt.Sprintf("%s:%d", e.file, e.line) }

// readText reads a configuration file whole. A file that does not exist is nil with the
// error fs.ErrNotExist; everything else that is not plain text is a [*FileError].
func readText(path string, limit int64) ([]byte, error) {
	// A FIFO in the place of a file must not stop the daemon.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if _, linkErr := os.Lstat(path); linkErr == nil {
			return nil, &FileError{File: path, Reason: "cannot be opened", Err: errDangling}
		}
		return nil, err
	}
	if err != nil {
		return nil, &FileError{File: path, Reason: "cannot be opened", Err: cause(err)}
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, &FileError{File: path, Reason: "it is not a regular file", Err: cause(err)}
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, &FileError{File: path, Reason: "reading failed", Err: cause(err)}
	case int64(len(text)) > limit:
		return nil, &FileError{File: path, Reason: fmt.Sprintf("it is larger than %d bytes", limit)}
	}
	return text, checkText(path, text)
}

func checkText(path string, text []byte) error {
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return &FileError{File: path, Line: lineOf(text, i), Reason: "it has a NUL byte, so it is not a text file", mend: deleteBytes(path, 0, `\x00`)}
	}
	if !utf8.Valid(text) {
		line := lineOf(text, firstInvalid(text))
		return &FileError{File: path, Line: line, Reason: "it is not UTF-8 text", mend: deleteBytes(path, line, `\x80-\xff`)}
	}
	return nil
}

// errDangling: what it leads to may be there later, once it is mounted.
var errDangling = errors.New("it is a symbolic link that leads nowhere")

// cause leaves out the path that the messages name already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func lineOf(text []byte, offset int) int { return 1 + bytes.Count(text[:offset], []byte{'\n'}) }

func firstInvalid(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return 0
}

// dropIns lists the files of a drop-in directory in the order in which they count: by name.
// The last extension of a name must be ".conf" with something before it. No directory is no files.
func dropIns(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &FileError{File: dir, Reason: "cannot list the directory", Err: cause(err)}
	}
	var names []string
	for _, e := range list {
		if name := e.Name(); len(name) > len(".conf") && filepath.Ext(name) == ".conf" {
			names = append(names, filepath.Join(dir, name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// fileText is one file of a set as it was read.
type fileText struct {
	path string
	text []byte
	err  error // fs.ErrNotExist for the main file only
}

// readTexts reads a main file and its drop-ins. A drop-in that is gone when it is opened may have got another name since the
// directory was listed: that is looked at again, so that nothing is taken for removed which is only moved.
func readTexts(main string, limit int64) ([]fileText, error) {
	const tries = 5
	for range tries {
		paths, err := dropIns(main + ".d")
		list, moved := make([]fileText, 0, 1+len(paths)), false
		for i, p := range append([]string{main}, paths...) {
			text, readErr := readText(p, limit)
			moved = moved || i > 0 && errors.Is(readErr, fs.ErrNotExist)
			list = append(list, fileText{p, text, readErr})
		}
		if !moved {
			return list, err
		}
	}
	return nil, &FileError{File: main + ".d", Reason: "its files are changed while they are read", mend: "stasadm check"}
}

// parseINI reads the grammar of the 2.x files: sections, key=value with the first "="
// deciding, whole-line comments that begin with "#" or ";", no inline comments, no
// continuation lines, keys in any case. Keys may repeat and come in the order of the file.
func parseINI(file string, text []byte) ([]entry, error) {
	entries, clean, err := locate(file, text)
	if err != nil {
		return nil, err
	}
	parsed, err := ini.LoadSources(ini.LoadOptions{
		AllowShadows:               true,
		AllowDuplicateShadowValues: true,
		IgnoreInlineComment:        true,
		IgnoreContinuation:         true,
		PreserveSurroundedQuote:    true,
		KeyValueDelimiters:         "=",
		InsensitiveKeys:            true,
	}, clean)
	if err != nil {
		return nil, &FileError{File: file, Reason: "it does not parse", Err: errors.New(shown(err.Error()))}
	}
	type name struct{ section, key string }
	values := make(map[name][]string)
	for i, e := range entries {
		if e.key == "" || e.odd || e.fault != "" || e.value == "" {
			continue
		}
		n := name{e.section, e.key}
		rest, seen := values[n]
		if !seen {
			rest = parsed.Section(e.section).Key(e.key).ValueWithShadows()
		}
		if len(rest) == 0 {
			return nil, &FileError{File: file, Line: e.line, Reason: "the line is ambiguous"}
		}
		entries[i].value, values[n] = rest[0], rest[1:]
	}
	return entries, nil
}

// locate finds every key with its line, since ini.v1 tells no line numbers, and gives the text
// that is left for ini.v1: without the lines that it would take for something else than they are.
func locate(file string, text []byte) (entries []entry, clean []byte, err error) {
	out := bytes.NewBuffer(make([]byte, 0, len(text)+1))
	section, number, indent := "", 0, 0
	for raw := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		number++
		line := strings.TrimSpace(string(raw))
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case len(line) > maxLine:
			return nil, nil, &FileError{File: file, Line: number, Reason: fmt.Sprintf("the line has more than %d bytes", maxLine)}
		case line[0] == '[':
			var fault string
			if section, fault, err = header(line); err != nil {
				return nil, nil, &FileError{File: file, Line: number, Reason: err.Error(), mend: mendHeader(file, text, number, line)}
			}
			indent = 0
			entries = append(entries, entry{file: file, line: number, section: section, fault: fault})
			out.WriteString("[" + section + "]\n")
		case section == "":
			return nil, nil, &FileError{File: file, Line: number, Reason: "there is text before the first section header",
				mend: commentOut(file, number, beforeHeader(text, number))}
		case line[0] == '=':
			return nil, nil, &FileError{File: file, Line: number, Reason: "there is no key before \"=\""}
		default:
			e := keyLine(line)
			e.file, e.line, e.section = file, number, section
			at := len(raw) - len(bytes.TrimLeft(raw, " \t")) + 1
			e.indented = indent > 0 && at > indent
			if !e.indented {
				indent = at
			}
			entries = append(entries, e)
			if !e.odd && e.fault == "" && e.value != "" {
				out.WriteString(e.key + "=" + e.value + "\n")
			}
		}
	}
	return entries, out.Bytes(), nil
}

// keyLine splits "key=value" at the first "=".
func keyLine(line string) entry {
	key, value, equals := strings.Cut(line, "=")
	e := entry{key: strings.ToLower(strings.TrimSpace(key)), value: strings.TrimSpace(value)}
	switch {
	case !equals:
		e.fault = "there is no \"=\""
	case strings.HasPrefix(e.value, "`") || strings.HasPrefix(e.value, `"""`):
		e.fault = "a value cannot begin with this quote"
	}
	e.odd = e.key == "-" || strings.Trim(e.key, "abcdefghijklmnopqrstuvwxyz0123456789-_") != ""
	return e
}

var errHeader = errors.New("the section header is not of the form [name]")

// header reads "[name]". A comment may follow; anything else that does counts for nothing, as in 2.x.
func header(line string) (name, fault string, err error) {
	var rest string
	var closed bool
	name, rest, closed = strings.Cut(line[1:], "]")
	rest = strings.TrimSpace(rest)
	if !closed || strings.TrimSpace(name) == "" || strings.ContainsAny(name, "[") {
		return "", "", errHeader
	}
	if rest != "" && rest[0] != '#' && rest[0] != ';' {
		fault = "what follows the section header on its line is ignored"
	}
	return name, fault, nil
}
