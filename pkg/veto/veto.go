// Package veto answers whether the administrator forbids a connection: by exclude= in a
// daemon's own file, or by the exclusion list that all orchestrators of the host share.
package veto

import (
	"github.com/stas-go/stas/pkg/config"
	"github.com/stas-go/stas/pkg/exclusion"
	"github.com/stas-go/stas/pkg/tid"
)

// Where the host-wide exclusion list is.
const (
	MainFile  = "/etc/nvme/exclusions.conf"
	DropinDir = "/etc/nvme/exclusions.conf.d"
)

// Connection gives what exclusion entries are held against: the values that the kernel
// is about to be given.
func Connection(t tid.TID, host tid.Host) exclusion.Connection {
	return exclusion.Connection{Transport: string(t.Transport), Traddr: t.Traddr, Trsvcid: t.Trsvcid, NQN: t.NQN,
		HostTraddr: t.HostTraddr, HostIface: t.HostIface, HostNQN: t.HostNQN, HostID: host.ID}
}

// Own compiles the exclude= lines of a daemon's configuration. What is wrong with one was told when the file was
// read; one that makes no sense matches nothing.
func Own(lines []config.Exclude) *exclusion.List {
	var entries []exclusion.Entry
	for _, l := range lines {
		if e, err := exclusion.ParseOwn(l.Text); err == nil {
			entries = append(entries, e)
		}
	}
	return exclusion.NewList(entries...)
}

// Matches says whether list names the connection.
func Matches(list *exclusion.List, t tid.TID, host tid.Host) bool {
	_, ok := list.Match(Connection(t, host))
	return ok
}

// HostWide is the shared list. It reads its files anew whenever they have changed, so that it
// may be asked right before each attempt. Safe for concurrent use.
type HostWide struct{ *exclusion.Files }

// NewHostWide gives the list in the given places.
func NewHostWide(mainFile, dropinDir string) HostWide {
	return HostWide{exclusion.NewFiles(mainFile, dropinDir)}
}

// Excluded says whether the list names the connection.
func (h HostWide) Excluded(t tid.TID, host tid.Host) bool {
	return Matches(h.Current(), t, host)
}
