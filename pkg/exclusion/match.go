package exclusion

import "strings"

// List is a set of entries; any that matches excludes. A list is immutable and may be
// shared. The nil list excludes nothing.
type List struct {
	entries    []Entry
	generation uint64
}

// NewList makes a list of entries that come from elsewhere, such as exclude= lines.
func NewList(entries ...Entry) *List { return &List{entries: entries} }

// Len is the number of valid entries.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.entries)
}

// Entries are all valid entries, in the order of files and lines. The slice belongs to
// the caller.
func (l *List) Entries() []Entry {
	if l == nil {
		return nil
	}
	return append([]Entry(nil), l.entries...)
}

// Generation changes whenever Files found other content; 0 for a list not from there.
// It lets a caller warn once per version of the files.
func (l *List) Generation() uint64 {
	if l == nil {
		return 0
	}
	return l.generation
}

// Match gives the first entry that excludes c. Host-wide lists know numeric
// addresses only, so a tcp or rdma connection whose names are not resolved yet is not
// excluded by them: resolve first, ask then.
func (l *List) Match(c Connection) (Entry, bool) {
	if l == nil || len(l.entries) == 0 {
		return Entry{}, false
	}
	p := probe(c)
	for i := range l.entries {
		if l.entries[i].matches(&p) {
			return l.entries[i], true
		}
	}
	return Entry{}, false
}

// Matches says whether this one entry excludes c.
func (e Entry) Matches(c Connection) bool {
	p := probe(c)
	return e.matches(&p)
}

// probed is a connection with its addresses worked out.
type probed struct {
	Connection
	traddr, host address
	unresolved   bool
}

func probe(c Connection) probed {
	if c.Transport == "fc" {
		// As for every Fibre Channel address that libnvme takes in.
		c.Traddr = strings.Replace(c.Traddr, ",", ":", 1)
		c.HostTraddr = strings.Replace(c.HostTraddr, ",", ":", 1)
	}
	p := probed{Connection: c, traddr: parseAddress(c.Traddr), host: parseAddress(c.HostTraddr)}
	if c.Transport == "tcp" || c.Transport == "rdma" {
		p.unresolved = c.Traddr != "" && !p.traddr.ip.IsValid() || c.HostTraddr != "" && !p.host.ip.IsValid()
	}
	return p
}

// matches compares every field that the entry sets; a field that the connection lacks is
// different. Everything but addresses is compared byte for byte.
func (e *Entry) matches(c *probed) bool {
	f := &e.fields
	return *f != (Connection{}) &&
		(e.own || !c.unresolved) &&
		same(f.Transport, c.Transport) &&
		same(f.Trsvcid, c.Trsvcid) &&
		same(f.NQN, c.NQN) &&
		same(f.HostIface, c.HostIface) &&
		same(f.HostNQN, c.HostNQN) &&
		same(f.HostID, c.HostID) &&
		(f.Traddr == "" || c.Traddr != "" && e.traddr.equalOver(c.Transport, c.traddr)) &&
		(f.HostTraddr == "" || c.HostTraddr != "" && e.host.equalOver(c.Transport, c.host))
}

func same(entry, connection string) bool { return entry == "" || entry == connection }
