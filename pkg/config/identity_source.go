package config

import "fmt"

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
	s.last = i
	return i, problems
}

// Format implements [fmt.Formatter]: what was read has secrets.
func (s IdentitySource) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "identity of ", s.SysConf) }
