package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// Identity is who this host is towards controllers that no file gives an identity of its own.
type Identity struct {
	Host        tid.Host // both parts or none
	SymName     string   // for registration with discovery controllers; often empty
	HostKey     tid.Secret
	HostCtrlKey tid.Secret

	// Missing says, where Host is zero, why, and what to run; without an identity nothing can be connected.
	Missing string
}

// Params are the secrets as the base of a connection's parameters.
func (i Identity) Params() tid.Params {
	return tid.Params{DHCHAPSecret: i.HostKey, DHCHAPCtrl: i.HostCtrlKey}
}

// maxSymName is the size of the symbolic name in a registration (Base 2.1, figure 549: the
// extended attribute holds up to 256 bytes).
const maxSymName = 256

// maxIdentityFile bounds files that hold one word.
const maxIdentityFile = 4096

// LoadIdentity reads sys.conf with its drop-ins, and what it refers to: values that begin
// with "file://" are the first word of that file, and what is absent is taken from the files
// hostnqn, hostid and hostkey in etcNVMe. It reads each file once.
func LoadIdentity(sysConf, etcNVMe string) (Identity, []Problem) {
	entries, problems, err := readSet(sysConf)
	if err != nil {
		for _, e := range unjoin(err) {
			problems = append(problems, fileProblem(e))
		}
		// The unreadable file may name another identity than the default one.
		return Identity{Missing: fmt.Sprintf("no host identity: %v", err)}, problems
	}
	r := &report{problems: problems}
	if len(problems) > 0 && problems[0].Line == 0 {
		r.problems = nil // sys.conf is optional
	}
	s := &sysFile{dir: etcNVMe, sysConf: sysConf}
	apply(s.settings(), entries, r)
	return s.identity(r), r.problems
}

// sysFile is sys.conf while it is read.
type sysFile struct {
	dir, sysConf               string
	nqn, id, key, ctrl, symbol string
}

func (s *sysFile) settings() []setting {
	text := func(key, usual string, secret bool, dst *string) setting {
		return setting{section: "Host", key: key, usual: usual, secret: secret,
			allowed: "are a value and file:// with the path of a file that holds it",
			set: func(v string) error {
				*dst = v
				return nil
			}}
	}
	file := func(name string) string { return "file://" + filepath.Join(s.dir, name) }
	return []setting{
		text("nqn", file("hostnqn"), false, &s.nqn),
		text("id", file("hostid"), false, &s.id),
		text("key", file("hostkey"), true, &s.key),
		text("ctrl-key", "none", true, &s.ctrl),
		text("symname", "none", false, &s.symbol),
	}
}

func (s *sysFile) identity(r *report) Identity {
	var i Identity
	var nqn, id string
	var err error
	if nqn, err = s.word("nqn", s.nqn, "hostnqn", nvme.CheckNQN, r); err != nil {
		i.Missing = fmt.Sprintf("no host NQN: %v; run: stasadm hostnqn -f %s", err, filepath.Join(s.dir, "hostnqn"))
	}
	if nqn != "" {
		if id, err = s.hostID(nqn, r); err != nil {
			i.Missing = fmt.Sprintf("no host ID: %v; run: stasadm hostid -f %s", err, filepath.Join(s.dir, "hostid"))
		} else {
			i.Host = tid.Host{NQN: nqn, ID: id}
		}
	}
	i.SymName = s.symName(r)
	if key, err := s.word("key", s.key, "hostkey", checkDHCHAP, r); err == nil {
		i.HostKey = tid.NewSecret(key)
	}
	if s.ctrl != "" {
		if key, err := s.word("ctrl-key", s.ctrl, "", checkDHCHAP, r); err == nil {
			i.HostCtrlKey = tid.NewSecret(key)
		}
	}
	return i
}

// hostID is the ID that goes with nqn: what is configured, or else the UUID that the NQN is made of.
func (s *sysFile) hostID(nqn string, r *report) (string, error) {
	id, err := s.word("id", s.id, "hostid", nvme.CheckHostID, r)
	if err == nil {
		s.warnPair(nqn, r)
		return id, nil
	}
	if uuid, ok := nvme.HostIDFromNQN(nqn); ok && errors.Is(err, fs.ErrNotExist) && s.id == "" {
		return uuid.String(), nil
	}
	return "", err
}

// warnPair tells of an ID that goes with two NQNs, which the kernel refuses since 6.5
// (drivers/nvme/host/fabrics.c, nvmf_host_add).
func (s *sysFile) warnPair(nqn string, r *report) {
	path := filepath.Join(s.dir, "hostnqn")
	if s.nqn == "" || s.id != "" && s.id != "file://"+filepath.Join(s.dir, "hostid") {
		return
	}
	other, err := firstWord(path)
	if err == nil && other != nqn && nvme.CheckNQN(other) == nil {
		r.problems = append(r.problems, Problem{File: s.sysConf, Section: "Host", Key: "id", Message: fmt.Sprintf(
			"the host ID of %s is used with the NQN of this file and with that of %s; kernels from 6.5 refuse to connect with both; give this NQN an id of its own",
			filepath.Join(s.dir, "hostid"), path)})
	}
}

func (s *sysFile) symName(r *report) string {
	if s.symbol == "" {
		return ""
	}
	name := s.symbol
	if strings.HasPrefix(name, "file://") {
		var err error
		if name, err = s.word("symname", s.symbol, "", func(string) error { return nil }, r); err != nil {
			return ""
		}
	}
	if err := CheckSymName(name); err != nil {
		s.problem("symname", "", fmt.Sprintf("%v; using none", err), r)
		return ""
	}
	return name
}

// CheckSymName tells why name cannot be a symbolic name.
func CheckSymName(name string) error {
	if name == "" {
		return errors.New("the symbolic name is empty")
	}
	if len(name) > maxSymName {
		return fmt.Errorf("the symbolic name has %d bytes, allowed are %d", len(name), maxSymName)
	}
	if strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		return errors.New("the symbolic name has a character that does not print")
	}
	return nil
}

// word gives the value of key: as it stands, of the file that it names, or of the default
// file. Errors are reported here, except that a default file does not exist; their text never
// has the value of a secret.
func (s *sysFile) word(key, value, file string, check func(string) error, r *report) (string, error) {
	path, named := strings.CutPrefix(value, "file://")
	given := value != ""
	secret := key == "key" || key == "ctrl-key"
	switch {
	case !given:
		path = filepath.Join(s.dir, file)
	case !named:
		if err := check(value); err != nil {
			s.problem(key, showUnless(secret, value), fmt.Sprintf("%v; it is not used", err), r)
			return "", err
		}
		if secret {
			warnReadable(s.sysConf, r)
		}
		return value, nil
	}
	word, err := firstWord(path)
	if err == nil {
		if err = check(word); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		} else if secret {
			warnReadable(path, r)
		}
	}
	if err != nil && (given || !errors.Is(err, fs.ErrNotExist)) {
		s.problem(key, value, fmt.Sprintf("%v; it is not used", err), r)
	}
	if err != nil {
		return "", err
	}
	return word, nil
}

func (s *sysFile) problem(key, value, message string, r *report) {
	r.problems = append(r.problems, Problem{File: s.sysConf, Section: "Host", Key: key, Value: value, Message: message, Severity: Error})
}

func showUnless(secret bool, value string) string {
	if secret {
		return "[redacted]"
	}
	return shown(value)
}

// firstWord reads the first word of the first line, as 2.x and nvme-cli do.
func firstWord(path string) (string, error) {
	text, err := readText(path, maxIdentityFile)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s does not exist%w", path, quiet{fs.ErrNotExist})
		}
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	words := strings.Fields(line)
	if len(words) == 0 {
		return "", fmt.Errorf("the first line of %s is empty", path)
	}
	return words[0], nil
}

// quiet wraps an error that the text names already.
type quiet struct{ error }

func (quiet) Error() string   { return "" }
func (q quiet) Unwrap() error { return q.error }

// warnReadable tells of a file with a secret that others than its owner may read.
func warnReadable(path string, r *report) {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return
	}
	for _, p := range r.problems {
		if p.File == path && p.Line == 0 && p.Key == "" {
			return
		}
	}
	r.problems = append(r.problems, Problem{File: path, Message: fmt.Sprintf(
		"the file has a secret and its mode %04o lets others than its owner read it; run: chmod 0600 %s", info.Mode().Perm(), path)})
}

func fileProblem(err error) Problem {
	var f *FileError
	if errors.As(err, &f) {
		text := f.Reason
		if f.Err != nil {
			text += ": " + f.Err.Error()
		}
		return Problem{File: f.File, Line: f.Line, Message: text + "; the file is not used", Severity: Error}
	}
	return Problem{Message: err.Error(), Severity: Error}
}

func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // exactly what errors.Join made
		return j.Unwrap()
	}
	return []error{err}
}
