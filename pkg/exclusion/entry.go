// Package exclusion holds the host-wide lists of NVMe-oF connections that no
// orchestrator may open by itself: /etc/nvme/exclusions.conf and the drop-ins in
// /etc/nvme/exclusions.conf.d. The daemons' own exclude= lines use the same matcher.
//
// The package reads and matches, and never writes: the lists belong to the
// administrator (package edit is for tools that act on an administrator's word). It
// promises that what cannot be read or understood excludes nothing and stops nobody,
// and that a broken entry is dropped as a whole instead of matching more than was meant.
//
// Files, grammar and comparison are those of libnvme 3 (libnvme/design/EXCLUSIONS.md,
// libnvme/src/nvme/exclusion.c and tid.c).
package exclusion

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stas-go/stas/pkg/tid"
)

// Connection is what is about to be opened, with the values that the kernel will get:
// addresses resolved, default service filled in, host identity included, interface and
// host address only where they are really pinned. An empty field is an absent one.
type Connection struct {
	Transport, Traddr, Trsvcid, NQN, HostTraddr, HostIface, HostNQN, HostID string
}

// Entry is one valid exclusion. It matches a connection when every field it sets equals
// the connection's; an entry that sets none matches nothing. Entries are immutable.
type Entry struct {
	fields         Connection
	traddr, host   address
	own            bool
	looksCommented bool

	// File and Line say where the entry stands; "" and 0 for one that came alone.
	File string
	Line int
}

// Errors about the text of an entry, for errors.Is.
var (
	// ErrEmpty: the entry sets no field, and so matches nothing.
	ErrEmpty = errors.New("sets no field, and matches nothing")
	// ErrMalformed: unknown key, missing "=" or value, or an invalid address.
	ErrMalformed = errors.New("malformed")
)

// key is one word of an entry and the field it sets.
type key struct {
	name  string
	field func(c *Connection) *string
}

// keys in the order in which entries are written.
var keys = []key{
	{"transport", func(c *Connection) *string { return &c.Transport }},
	{"traddr", func(c *Connection) *string { return &c.Traddr }},
	{"trsvcid", func(c *Connection) *string { return &c.Trsvcid }},
	{"nqn", func(c *Connection) *string { return &c.NQN }},
	{"host-traddr", func(c *Connection) *string { return &c.HostTraddr }},
	{"host-iface", func(c *Connection) *string { return &c.HostIface }},
	{"hostnqn", func(c *Connection) *string { return &c.HostNQN }},
	{"hostid", func(c *Connection) *string { return &c.HostID }},
}

// ownAliases are the spellings that exclude= of nvme-stas 2.x has besides.
var ownAliases = map[string]string{"subsysnqn": "nqn", "host-nqn": "hostnqn"}

// ParseEntry reads one entry of a host-wide list: key=value pairs separated by ";".
// White space around keys, values and pairs does not count, empty pairs are skipped, the
// last of several equal keys wins. Keys and values are case-sensitive.
func ParseEntry(text string) (Entry, error) { return parse(text, false) }

// ParseOwn reads the value of an exclude= line of stafd.conf or stacd.conf. It knows the
// keys of ParseEntry except hostid, and subsysnqn and host-nqn besides. Host names may
// stand for addresses; they are compared as text.
func ParseOwn(text string) (Entry, error) { return parse(text, true) }

func parse(text string, own bool) (Entry, error) {
	e := Entry{own: own, looksCommented: strings.Contains(text, " #") || strings.Contains(text, "\t#")}
	for n, token := range strings.Split(text, ";") {
		if token = trim(token); token == "" {
			continue
		}
		name, value, ok := strings.Cut(token, "=")
		if !ok {
			return Entry{}, fmt.Errorf("%w entry: field %d has no \"=\"", ErrMalformed, n+1) // it may be a secret
		}
		name, value = trim(name), trim(value)
		field := fieldOf(&e.fields, name, own)
		if field == nil {
			return Entry{}, fmt.Errorf("%w entry: unknown key %q", ErrMalformed, tid.HideSecrets(name))
		}
		if value == "" {
			return Entry{}, fmt.Errorf("%w entry: %s has no value", ErrMalformed, name)
		}
		if strings.ContainsAny(value, "\x00\n") { // a line break can only come from a command line, and ends the entry in a file
			return Entry{}, fmt.Errorf("%w entry: %s holds a NUL byte or a line break", ErrMalformed, name)
		}
		*field = value
	}
	if e.fields == (Connection{}) {
		return Entry{}, fmt.Errorf("entry %w", ErrEmpty)
	}
	if err := e.setAddresses(); err != nil {
		return Entry{}, err
	}
	return e, nil
}

func fieldOf(c *Connection, name string, own bool) *string {
	if own {
		if alias, ok := ownAliases[name]; ok {
			name = alias
		} else if name == "hostid" {
			return nil
		}
	}
	for _, k := range keys {
		if k.name == name {
			return k.field(c)
		}
	}
	return nil
}

func (e *Entry) setAddresses() error {
	for _, a := range []struct {
		key   string
		text  *string
		value *address
	}{
		{"traddr", &e.fields.Traddr, &e.traddr},
		{"host-traddr", &e.fields.HostTraddr, &e.host},
	} {
		if *a.text == "" {
			continue
		}
		if e.fields.Transport == "fc" {
			*a.text = strings.Replace(*a.text, ",", ":", 1)
		}
		*a.value = parseAddress(*a.text)
		switch e.fields.Transport {
		case "tcp", "rdma":
			if !a.value.ip.IsValid() && !e.own {
				return fmt.Errorf("%w entry: %s %q is not a numeric IP address", ErrMalformed, a.key, tid.HideSecrets(*a.text))
			}
		case "fc":
			if !a.value.isFC {
				return fmt.Errorf("%w entry: %s %q is not of the form nn-0x<hex>:pn-0x<hex>", ErrMalformed, a.key, tid.HideSecrets(*a.text))
			}
		}
	}
	return nil
}

// Fields are what the entry sets, in its own spelling; what it does not set is empty.
func (e Entry) Fields() Connection { return e.fields }

// HasName says that an address of the entry is not numeric although its transport wants it so: it is compared as
// text, and what is about to be connected has numeric ones.
func (e Entry) HasName() bool {
	named := func(text string, a address) bool { return text != "" && !a.ip.IsValid() && !a.isFC }
	return e.fields.Transport != "fc" && e.fields.Transport != "loop" && (named(e.fields.Traddr, e.traddr) || named(e.fields.HostTraddr, e.host))
}

// LooksCommented says that " #" occurs in the text. Comments do not end a line here, so
// it is part of a value that most likely will never match: worth a warning.
func (e Entry) LooksCommented() bool { return e.looksCommented }

// String gives the entry in the grammar of the lists.
func (e Entry) String() string {
	var s []string
	for _, k := range keys {
		if value := *k.field(&e.fields); value != "" {
			s = append(s, k.name+"="+value)
		}
	}
	return strings.Join(s, ";")
}

// Where is "file:line", or "" for an entry that came alone.
func (e Entry) Where() string {
	if e.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", e.File, e.Line)
}

// Equal says whether both set the same fields to the same values, addresses in any spelling.
func (e Entry) Equal(o Entry) bool {
	return e.textFields() == o.textFields() &&
		sameField(e.fields.Traddr, o.fields.Traddr, e.traddr, o.traddr) &&
		sameField(e.fields.HostTraddr, o.fields.HostTraddr, e.host, o.host)
}

func (e Entry) textFields() Connection {
	c := e.fields
	c.Traddr, c.HostTraddr = "", ""
	return c
}

// trim removes what isspace() of the C locale knows as white space.
func trim(s string) string { return strings.Trim(s, " \t\n\v\f\r") }
