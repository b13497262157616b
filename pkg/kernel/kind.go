package kernel

import (
	"fmt"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
	"golang.org/x/sys/unix"
)

// Kind is what sort of controller one is. The zero value: not known, or none of the two.
type Kind struct {
	Kind  tid.Kind // meaningless unless Known
	Known bool
}

// kindOf goes by the attribute cntrltype (drivers/nvme/host/sysfs.c). Before the first connect is through
// it reads "reserved"; before Linux 5.18 it is not there, and then only the well-known NQN tells.
func kindOf(cntrlType, nqn string) Kind {
	switch {
	case cntrlType == TypeIO:
		return Kind{tid.IO, true}
	case cntrlType == TypeDiscovery, settled(cntrlType) == "" && nqn == nvme.DiscoveryNQN:
		return Kind{tid.Discovery, true}
	}
	return Kind{}
}

// settled maps what the kernel prints for a type that it does not know yet to "".
func settled(value string) string {
	if value == "reserved" {
		return ""
	}
	return value
}

// Kind reads no more of a controller than what tells its kind. The error is [ErrGone] where it does not
// exist or goes while it is read.
func (s Sysfs) Kind(name string) (Kind, error) {
	dir, err := s.openController(name)
	if err != nil {
		return Kind{}, err
	}
	defer func() { _ = unix.Close(dir) }()
	var buf [attrSize]byte
	var shortage error
	text := func(attr int) string {
		n, err := readAt(dir, attrCNames[attr], buf[:])
		if err != nil && short(err) {
			shortage = err
		}
		return known(strings.Trim(string(buf[:n]), " \n\x00"))
	}
	cntrlType, nqn := text(attrCntrlType), ""
	if settled(cntrlType) == "" {
		nqn = text(attrSubsysNQN)
	}
	if shortage != nil { // must not pass for a type that is not known
		return Kind{}, fmt.Errorf("cannot read controller %s: %w", name, shortage)
	}
	return kindOf(cntrlType, nqn), nil
}
