package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	Remedy  string // the command in Missing, where there is one

	id, key origin
}

// origin says where a part of the identity that need not be there was looked for.
type origin uint8

const (
	configured origin = iota
	inDefault         // read from the default file
	noDefault         // nothing is configured, and the default file does not exist
)

// Params are the secrets as the base of a connection's parameters.
func (i Identity) Params() tid.Params {
	return tid.Params{DHCHAPSecret: i.HostKey, DHCHAPCtrl: i.HostCtrlKey}
}

// maxIdentityFile bounds files that hold one word.
const maxIdentityFile = 4096

// LoadIdentity reads sys.conf with its drop-ins, and what it refers to: values that begin
// with "file://" are the first word of that file, and what is absent is taken from the files
// hostnqn, hostid and hostkey in etcNVMe. It reads each file once. An empty sysConf is none.
func LoadIdentity(sysConf, etcNVMe string) (Identity, []Problem) {
	return LoadIdentityBelow("", sysConf, etcNVMe)
}

// LoadIdentityBelow is LoadIdentity for another root directory: "file://" values are
// looked up below root. The other paths are taken as they are.
func LoadIdentityBelow(root, sysConf, etcNVMe string) (Identity, []Problem) {
	i, problems, _ := loadIdentity(root, sysConf, etcNVMe)
	return i, problems
}

// loadIdentity also gives the files that decided, whether or not they exist.
func loadIdentity(root, sysConf, etcNVMe string) (Identity, []Problem, []string) {
	var entries []entry
	var problems []Problem
	var err error
	if sysConf != "" {
		entries, problems, err = readSet(sysConf)
	}
	if err != nil {
		for _, e := range unjoin(err) {
			problems = append(problems, fileProblem(e))
		}
		// The unreadable file may name another identity than the default one.
		return Identity{Missing: fmt.Sprintf("no host identity: %v", err)}, problems, nil
	}
	r := &report{problems: problems}
	if len(problems) > 0 && problems[0].Line == 0 {
		r.problems = nil // sys.conf is optional
	}
	s := &sysFile{root: root, dir: etcNVMe, path: sysConf, given: make(map[string]entry)}
	apply(s.settings(), entries, r)
	i := s.identity(r)
	return i, r.all(), s.files
}

// sysFile is sys.conf while it is read.
type sysFile struct {
	root, dir, path string
	given           map[string]entry
	files           []string // that were looked into for single values
}

func (s *sysFile) settings() []setting {
	key := func(key, usual string, secret bool) setting {
		return setting{section: "Host", key: key, usual: usual, secret: secret,
			allowed: "are a value and file:// with the path of a file that holds it",
			set:     func(string) error { return nil },
			took:    func(e entry) { s.given[key] = e }}
	}
	file := func(name string) string { return "file://" + filepath.Join(s.dir, name) }
	return []setting{
		key("nqn", file("hostnqn"), false), key("id", file("hostid"), false), key("key", file("hostkey"), true),
		key("ctrl-key", "none", true), key("symname", "none", false),
	}
}

func (s *sysFile) identity(r *report) Identity {
	var i Identity
	nqn, err := s.word("nqn", "hostnqn", nvme.CheckNQN, r)
	if err != nil {
		i.Missing, i.Remedy = s.missing("no host NQN", err, "nqn", "hostnqn")
	} else if id, err := s.hostID(nqn, &i, r); err != nil {
		i.Missing, i.Remedy = s.missing("no host ID", err, "id", "hostid")
	} else {
		i.Host = tid.Host{NQN: nqn, ID: id}
	}
	i.SymName = s.symName(r)
	i.HostKey, err = s.secret("key", "hostkey", r)
	if _, given := s.given["key"]; !given {
		i.key = inDefault
		if i.HostKey.IsZero() {
			i.key = noDefault
		}
	}
	if _, given := s.given["ctrl-key"]; given && err == nil {
		i.HostCtrlKey, err = s.secret("ctrl-key", "", r)
	}
	if err != nil {
		// Without it connections would be less secure than was asked for.
		i = Identity{SymName: i.SymName, Missing: tid.HideSecrets(fmt.Sprintf("the secret of this host cannot be used: %v", err)), Remedy: asRoot(err)}
	}
	return i
}

// missing says why a part of the identity is missing, and which command makes it.
func (s *sysFile) missing(what string, cause error, key, command string) (missing, remedy string) {
	err := tid.HideSecrets(cause.Error()) // a secret may stand in the wrong place
	e, given := s.given[key]
	path, named := strings.CutPrefix(e.value, "file://")
	switch {
	case errors.Is(cause, errDangling):
		return fmt.Sprintf("%s: %s", what, err), "" // another identity is not what is missing
	case !given:
		path = s.below(filepath.Join(s.dir, command))
	case !named:
		return fmt.Sprintf("%s: %s; correct %s= in %s", what, err, key, e.where()), s.stasadm(command + " --force")
	case !strings.HasPrefix(path, "/"):
		path = "/" + path
	}
	remedy = s.stasadm(command + " -f " + quote(path))
	return fmt.Sprintf("%s: %s; run: %s", what, err, remedy), remedy
}

// stasadm is a command of that program for the same root and file.
func (s *sysFile) stasadm(command string) string {
	program := "stasadm"
	if s.root != "" && s.root != "/" {
		program += " --root " + quote(s.root)
	}
	if file := s.below(s.path); file != usualSysConf {
		program += " -c " + quote(file)
	}
	return program + " " + command
}

// usualSysConf is the file that stasadm works on where none is given.
const usualSysConf = "/etc/stas/sys.conf"

// below gives a path as it is below the root.
func (s *sysFile) below(path string) string {
	if rest, ok := strings.CutPrefix(path, s.root); ok && s.root != "" && s.root != "/" {
		return rest
	}
	return path
}

// asRoot is the command that finds nothing wrong where the cause is who runs this one. Nothing else ends the trouble with a
// secret but another secret: to do without one is for the administrator to decide.
func asRoot(cause error) string {
	if errors.Is(cause, fs.ErrPermission) {
		return "sudo stasadm check"
	}
	return ""
}

// secret is the zero Secret where none is configured.
func (s *sysFile) secret(key, file string, r *report) (tid.Secret, error) {
	text, err := s.word(key, file, nvme.CheckDHCHAPSecret, r)
	if _, given := s.given[key]; !given && errors.Is(err, fs.ErrNotExist) {
		return tid.Secret{}, nil
	}
	return tid.NewSecret(text), err
}

// hostID is the ID that goes with nqn: what is configured, or else the UUID that the NQN is made of.
func (s *sysFile) hostID(nqn string, i *Identity, r *report) (string, error) {
	id, err := s.word("id", "hostid", nvme.CheckHostID, r)
	_, given := s.given["id"]
	if err == nil {
		s.warnPair(nqn, id, r)
		if !given {
			i.id = inDefault
		}
		return id, nil
	}
	if !given && errors.Is(err, fs.ErrNotExist) {
		i.id = noDefault
		if uuid, ok := nvme.HostIDFromNQN(nqn); ok {
			return uuid.String(), nil
		}
	}
	return "", err
}

// warnPair tells of an ID that goes with two NQNs, which the kernel refuses since 6.5
// (drivers/nvme/host/fabrics.c, nvmf_host_add): this one, and that of other tools.
func (s *sysFile) warnPair(nqn, id string, r *report) {
	e, given := s.given["nqn"]
	if !given {
		return
	}
	nqnFile, idFile := filepath.Join(s.dir, "hostnqn"), filepath.Join(s.dir, "hostid")
	otherNQN, errNQN := firstWord(nqnFile)
	otherID, errID := firstWord(idFile)
	if errNQN == nil && errID == nil && otherNQN != nqn && nvme.CheckNQN(otherNQN) == nil && strings.EqualFold(otherID, id) {
		r.add(e, SharedHostID, shown(e.value), "the host ID %s is also that of the NQN in %s; kernels from 6.5 refuse to connect with one host ID for two NQNs",
			shown(id), nqnFile).Remedy = s.stasadm("hostid --force")
	}
}

func (s *sysFile) symName(r *report) string {
	e, ok := s.given["symname"]
	if !ok {
		return ""
	}
	name := e.value
	if strings.HasPrefix(name, "file://") {
		var err error
		if name, err = s.word("symname", "", nvme.CheckSymbolicName, r); err != nil {
			return ""
		}
	} else if err := nvme.CheckSymbolicName(name); err != nil {
		r.add(e, BadValue, shown(name), "%v; using none", err)
		return ""
	}
	return name
}

// word gives the value of key: as it stands, of the file that it names, or of the default
// file. Errors are reported here, except that a default file does not exist; their text never
// has the value of a secret.
func (s *sysFile) word(key, file string, check func(string) error, r *report) (string, error) {
	e, given := s.given[key]
	secret := key == "key" || key == "ctrl-key"
	path, named := strings.CutPrefix(e.value, "file://")
	if given && !named {
		if err := check(e.value); err != nil {
			value := "[redacted]"
			if !secret {
				value = shown(e.value)
			}
			if p := r.add(e, BadIdentity, value, "%v; it is not used", err); secret {
				p.Remedy = ""
			}
			return "", err
		}
		if secret {
			warnReadable(e.file, r)
		}
		return e.value, nil
	}
	if given {
		if !strings.HasPrefix(path, "/") {
			path = "/" + path // as it is for daemons, whose working directory is the root
			r.add(e, OddValue, shown(e.value), "the path does not begin with \"/\"; taken as %s", path).Remedy = rewrite(e, key+"=file://"+path)
		}
		path = filepath.Join(s.root, path)
	} else {
		path = filepath.Join(s.dir, file)
		e = entry{file: path}
	}
	s.files = append(s.files, path)
	word, err := firstWord(path)
	if err == nil {
		if err = check(word); err == nil {
			if secret {
				warnReadable(path, r)
			}
			return word, nil
		}
		if given {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	if given || !errors.Is(err, fs.ErrNotExist) {
		r.add(e, BadIdentity, shown(e.value), "%v; it is not used", err).Remedy = s.mendWord(key, e, path, err)
	}
	return "", err
}

// mendWord is the command after which the file of a part of the identity is no problem any more.
func (s *sysFile) mendWord(key string, e entry, path string, err error) string {
	command := map[string]string{"nqn": "hostnqn", "id": "hostid"}[key]
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, errDangling), key == "key", key == "ctrl-key":
		return asRoot(err)
	case command != "":
		return s.stasadm(command + " -f " + quote(s.below(path)))
	case e.line > 0:
		return commentOut(e.file, e.line, e.line)
	}
	return setAside(path)
}

// firstWord reads the first word of the first line, as 2.x and nvme-cli do.
func firstWord(path string) (string, error) {
	text, err := readText(path, maxIdentityFile)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", absentError{path}
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

// absentError is fs.ErrNotExist in words for an administrator.
type absentError struct{ path string }

func (e absentError) Error() string { return e.path + " does not exist" }
func (absentError) Unwrap() error   { return fs.ErrNotExist }

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
	r.problems = append(r.problems, Problem{ID: ReadableSecret, File: path, Remedy: "chmod 0600 " + quote(path), Message: fmt.Sprintf(
		"the file has a secret and its mode %04o lets others than its owner read it; run: chmod 0600 %s", info.Mode().Perm(), path)})
}

func fileProblem(err error) Problem {
	var f *FileError
	if errors.As(err, &f) {
		text := f.Reason
		if f.Err != nil {
			text += ": " + f.Err.Error()
		}
		return Problem{File: f.File, Line: f.Line, Message: text + "; the file is not used", Severity: Error,
			ID: UnusableFile, Remedy: f.remedy()}
	}
	return Problem{ID: UnusableFile, Message: err.Error(), Severity: Error}
}

// unjoin gives the errors of all files and lines, however often they were joined.
func unjoin(err error) []error {
	j, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range j.Unwrap() {
		all = append(all, unjoin(e)...)
	}
	return all
}
