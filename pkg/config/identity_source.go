package config

import (
	"fmt"
	"path/filepath"
)

// IdentitySource reads the identity again and again and keeps the last good one: an identity
// file that vanishes or breaks while the host has connections changes nothing.
type IdentitySource struct {
	SysConf string // path of sys.conf
	Dir     string // directory of hostnqn, hostid and hostkey
	last    Identity
}

// Load gives the identity in force. It belongs to one goroutine.
func (s *IdentitySource) Load() (Identity, []Problem) {
	i, problems := LoadIdentity(s.SysConf, s.Dir)
	if i.Missing != "" && s.last.Host.NQN != "" {
		problems = append(problems, Problem{ID: BadIdentity, File: s.SysConf, Severity: Error,
			Message: fmt.Sprintf("%s; the identity that was read before stays in force", i.Missing)})
		return s.last, problems
	}
	if i.Host.NQN != "" && i.Host.NQN == s.last.Host.NQN {
		problems = append(problems, s.keep(&i)...)
	}
	s.last = i
	return i, problems
}

// keep leaves in force what stood in default files that are gone: without hostid the ID would become another one, without hostkey
// the secret would be missing.
func (s *IdentitySource) keep(i *Identity) (problems []Problem) {
	stays := func(name, what string) {
		file := filepath.Join(s.Dir, name)
		problems = append(problems, Problem{ID: BadIdentity, File: file, Severity: Error,
			Message: fmt.Sprintf("the file is gone; %s that was read from it stays in force until the daemon is restarted", what)})
	}
	if s.last.id == inDefault && i.id == noDefault {
		stays("hostid", "the host ID")
		i.Host.ID, i.id = s.last.Host.ID, inDefault
	}
	if s.last.key == inDefault && i.key == noDefault {
		stays("hostkey", "the secret")
		i.HostKey, i.key = s.last.HostKey, inDefault
	}
	return problems
}

// Format implements [fmt.Formatter]: what was read has secrets.
func (s IdentitySource) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "identity of ", s.SysConf) }
