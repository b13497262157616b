package config

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// maxFabricsFile bounds a file of the 3.x grammar (libnvme, shared/ini-util.c).
const maxFabricsFile = 1 << 20

// layer is what one section, or one controller line, says of connection parameters, by key. An
// empty value undoes what lower layers say: the kernel's default is used.
type layer map[string]entry

// fabricsFile is one file of the 3.x grammar (libnvme, design/CONFIG.md).
type fabricsFile struct {
	path          string
	discovery, io layer // the two sections of defaults
	hasHost       bool
	host          layer
	hostNQN       entry
	hostID        entry
	hostSymName   entry
	endpoints     []*endpoint
}

// endpoint is one [Discovery Controller] or [Subsystem] section.
type endpoint struct {
	at    entry // its header
	last  int   // its last line
	kind  tid.Kind
	nqn   string
	own   layer
	paths []path
}

// path is one controller line.
type path struct {
	at                                                entry
	transport, traddr, trsvcid, hostTraddr, hostIface string
	own                                               layer
	fields                                            map[string]int // position of each key, from 1
}

// Sections of the 3.x grammar.
const (
	sectDCDefaults = "Discovery Controller Defaults"
	sectIODefaults = "I/O Controller Defaults"
	sectHost       = "Host"
	sectDC         = "Discovery Controller"
	sectSubsystem  = "Subsystem"
)

// persistentKey is a parameter of discovery controllers only.
const persistentKey = "persistent"

// loadFabrics reads the main file and its drop-ins. Any error in any of them rejects all:
// half of a configuration may be the wrong half.
func loadFabrics(main string, r *report) ([]*fabricsFile, error) {
	texts, err := readTexts(main, maxFabricsFile)
	files := []*fabricsFile{{path: main}}
	for i, t := range texts {
		readErr := t.err
		if errors.Is(readErr, fs.ErrNotExist) {
			continue
		}
		var f *fabricsFile
		if readErr == nil {
			f, readErr = parseFabrics(t.path, t.text, r)
		}
		switch {
		case readErr != nil:
			err = errors.Join(err, readErr)
		case i == 0:
			files[0] = f
		default:
			files = append(files, f)
		}
	}
	if err == nil {
		err = checkPersonas(files)
	}
	return files, err
}

// fabricsParser is a file while it is read.
type fabricsParser struct {
	text    []byte
	file    *fabricsFile
	section string // trimmed; empty before the first header
	known   bool   // section is one of the grammar's
	last    *endpoint
	r       *report
	errs    []error
	seen    map[string]bool
	header  entry // of the unknown section that the parser is in
	report  *draft
}

// parseFabrics reads one file. The errors in it are told, up to maxProblems.
func parseFabrics(file string, text []byte, r *report) (*fabricsFile, error) {
	p := fabricsParser{text: text, file: &fabricsFile{path: file, discovery: layer{}, io: layer{}, host: layer{}}, r: r, seen: make(map[string]bool)}
	number := 0
	for line := range strings.Lines(string(text)) {
		if number++; p.full(number) {
			break
		}
		e := entry{file: file, line: number, section: p.section}
		line = trimC(line)
		if p.last != nil && line != "" && line[0] != '[' {
			p.last.last = number
		}
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			name, rest, ok := strings.Cut(line[1:], "]")
			if name = trimC(name); !ok || name == "" || trimC(rest) != "" {
				p.fail(e, "%v", errHeader).mend = mendHeader(file, text, number, line)
				p.section, p.known, p.last = "", true, nil
				continue
			}
			e.section = name
			p.enter(name, e)
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok || key == "" {
				p.fail(e, "the line is not of the form key = value")
				continue
			}
			e.key, e.value = trimC(key), trimC(value)
			p.take(e)
		}
	}
	for _, ep := range p.file.endpoints {
		if ep.kind == tid.IO && ep.nqn == "" && !p.full(ep.at.line) {
			p.fail(ep.at, "[Subsystem] without an nqn").mend = p.commentSection(ep.at)
		}
	}
	return p.file, errors.Join(p.errs...)
}

// trimC removes what isspace() of the C locale knows as white space.
func trimC(s string) string { return strings.Trim(s, " \t\n\v\f\r") }

func (p *fabricsParser) fail(e entry, format string, args ...any) *failure {
	f := &FileError{File: e.file, Line: e.line, Reason: tid.HideSecrets(fmt.Sprintf(format, args...))}
	p.errs = append(p.errs, f)
	return (*failure)(f)
}

// full says whether so many errors were told that the rest of the file, from line, is not looked at.
func (p *fabricsParser) full(line int) bool {
	if len(p.errs) == maxProblems {
		last := (*FileError)(p.fail(entry{file: p.file.path, line: line}, "there are too many errors; from here on the file is not looked at"))
		var before *FileError
		if errors.As(p.errs[maxProblems-1], &before) {
			last.mend = before.remedy()
		}
	}
	return len(p.errs) > maxProblems
}

// failure is a FileError that can still be changed; it is no error that must be looked at.
type failure FileError

// commentSection is the command that takes the section out that begins at header.
func (p *fabricsParser) commentSection(header entry) string {
	return commentOut(header.file, header.line, beforeHeader(p.text, header.line))
}

func (p *fabricsParser) enter(name string, e entry) {
	repeated := p.seen[name]
	p.seen[name], p.section, p.known, p.last = true, name, true, nil
	switch name {
	case sectDCDefaults, sectIODefaults:
		if repeated {
			p.r.add(e, RepeatedSection, "", "the section is there twice; both count")
		}
	case sectHost:
		if repeated {
			p.fail(e, "a second [Host] section; a file has one identity").mend = p.commentSection(e)
		}
		p.file.hasHost = true
	case sectDC, sectSubsystem:
		p.last = &endpoint{at: e, last: e.line, kind: tid.IO, own: layer{}}
		if name == sectDC {
			p.last.kind, p.last.nqn = tid.Discovery, nvme.DiscoveryNQN
		}
		p.file.endpoints = append(p.file.endpoints, p.last)
	default:
		p.known = false
		p.header, p.report = e, p.r.add(e, UnknownSection, "", "unknown section; everything in it is ignored")
	}
}

// take routes a key by its section. A known key in a section where it does not belong is an
// error, an unknown one is ignored.
func (p *fabricsParser) take(e entry) {
	switch {
	case p.section == "" && p.known:
		return // after a broken header, which was told
	case p.section == "":
		p.fail(e, "there is a key before the first section header").mend = p.commentSection(e)
		return
	case !p.known:
		p.report.Remedy = commentOut(p.header.file, p.header.line, e.line)
		p.r.incomplete = p.r.incomplete || e.key == "controller"
		return
	}
	switch e.key {
	case "controller":
		if p.last != nil {
			p.controller(e)
			return
		}
	case "nqn":
		if p.last != nil {
			if err := nvme.CheckNQN(e.value); err != nil {
				p.fail(e, "nqn: %v", err)
				return
			}
			p.last.nqn = e.value
			return
		}
	case "hostnqn", "hostid", "hostsymname":
		if p.section == sectHost {
			p.identity(e)
			return
		}
	case persistentKey:
		if p.section == sectDC || p.section == sectDCDefaults {
			p.param(e, p.layer())
			return
		}
	default:
		if fabricsParam(e.key) == nil {
			p.r.incomplete = p.r.incomplete || p.last != nil
			e.odd = len(e.key) > 32
			unknownFabricsKey(e, p.r)
			return
		}
		p.param(e, p.layer())
		return
	}
	p.fail(e, "%s does not belong in [%s]", e.key, p.section)
}

func unknownFabricsKey(e entry, r *report) {
	if e.odd {
		e.key = ""
	}
	e.key = tid.HideSecrets(e.key)
	r.add(e, UnknownKey, "", "unknown key; the line is ignored")
}

func (p *fabricsParser) layer() layer {
	switch p.section {
	case sectDCDefaults:
		return p.file.discovery
	case sectIODefaults:
		return p.file.io
	case sectHost:
		return p.file.host
	}
	return p.last.own
}

func (p *fabricsParser) identity(e entry) {
	var err error
	var into *entry
	switch e.key {
	case "hostnqn":
		into = &p.file.hostNQN
		if e.value != "" {
			err = nvme.CheckNQN(e.value)
		}
	case "hostid":
		into = &p.file.hostID
		if e.value != "" {
			err = nvme.CheckHostID(e.value)
		}
	default:
		into = &p.file.hostSymName
	}
	if err != nil {
		p.fail(e, "%s: %v", e.key, err)
		return
	}
	*into = e
}

// param checks a parameter and puts it into l, where the last one wins.
func (p *fabricsParser) param(e entry, l layer) {
	if err := checkFabricsValue(e.key, e.value); err != nil {
		p.fail(e, "%s: %v", e.key, err)
		return
	}
	l[e.key] = e
}

// fabricsParam finds a parameter under its name in the 3.x grammar.
func fabricsParam(key string) *param {
	p := paramNamed(key)
	if p == nil || p.other != "" && key == p.key && key == "kato" {
		return nil
	}
	return p
}

// checkFabricsValue checks a value by the rules of the grammar alone; an empty one is a reset.
func checkFabricsValue(key, value string) error {
	if value == "" {
		return nil
	}
	if key == persistentKey {
		_, err := parsePersistence(value)
		if err != nil {
			err = fmt.Errorf("%q is not one of force, auto, no", shown(value))
		}
		return err
	}
	p := fabricsParam(key)
	switch {
	case p.integer != nil:
		if _, err := parseCInt(value); err != nil {
			return fmt.Errorf("%q is %w; allowed are whole numbers of 32 bits: 10, 0xa, 012", shown(value), err)
		}
	case p.flag != nil:
		if _, err := parseCBool(value); err != nil {
			return fmt.Errorf("%q is %w; allowed are yes, no, true, false, on, off, 1, 0", shown(value), err)
		}
	}
	return nil
}

// parseCInt reads an integer as C's strtol with base 0 does.
func parseCInt(s string) (int32, error) {
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || strings.ContainsAny(s, "_") ||
		len(digits) > 1 && digits[0] == '0' && strings.ContainsAny(digits[1:2], "bBoO") {
		return 0, errNotNumber
	}
	v, err := strconv.ParseInt(s, 0, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && (v < math.MinInt32 || v > math.MaxInt32):
		return 0, errors.New("out of range")
	case err != nil:
		return 0, errNotNumber
	}
	return int32(v), nil
}

func parseCBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return true, nil
	case "0", "no", "n", "false", "f", "off":
		return false, nil
	}
	return false, errors.New("neither true nor false")
}
