// Package recording has what nvme-stas 2.4.1 answered on D-Bus, to compare our answers with: on Debian 13, with one discovery
// controller at 127.0.0.1:8009 (kato=20) that lists one subsystem, nqn.2026-01.test:a.
package recording

import (
	_ "embed"
	"strings"
)

//go:embed nvme-stas-2.4.1.txt
var text string

// Call is a method call with its reply.
type Call struct {
	Name, Path, Interface, Member string
	Args                          []string // signature and arguments, as busctl takes them
	Type                          string   // signature of the reply
	Reply                         string   // as JSON; where the reply is a string of JSON, what that says
}

// Calls are the recorded calls.
func Calls() []Call {
	calls, _, _ := strings.Cut(text, "\n# Introspection of ")
	var all []Call
	for _, block := range strings.Split(calls, "\n## ")[1:] {
		head, body, _ := strings.Cut(block, "\n")
		typ, reply, _ := strings.Cut(body, "\n")
		w := strings.Split(head, " ")
		all = append(all, Call{w[0], w[1], w[2], w[3], w[4:], strings.TrimPrefix(typ, "type "), strings.TrimSpace(reply)})
	}
	return all
}

// Introspection is, for each bus name, what busctl introspect printed.
func Introspection() map[string]string {
	_, tables, _ := strings.Cut(text, "\n# Introspection of ")
	all := make(map[string]string)
	for part := range strings.SplitSeq(tables, "# Introspection of ") {
		name, table, _ := strings.Cut(part, "\n")
		all[name] = table
	}
	return all
}
