package kernel

import (
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// Kind is what sort of controller one is. The zero value: not known, or none of the two.
type Kind struct {
	Kind  tid.Kind // meaningless unless Known
	Known bool
}

// kindOf goes by the attribute cntrltype (drivers/nvme/host/sysfs.c). Before the first connect is through
// it reads "reserved"; before Linux 5.18 it is not there. Then the well-known NQN tells, and else, once Identify has told
// an NQN, the number of queues: none but the admin queue is a discovery controller's, and no I/O controller
// is connected with that alone (drivers/nvme/host/fabrics.c, nvmf_parse_options; tcp.c, nvme_tcp_alloc_io_queues),
// though one that is made anew may have no other for a moment.
func kindOf(cntrlType, nqn, state string, queues int) Kind {
	switch {
	case cntrlType == TypeIO:
		return Kind{tid.IO, true}
	case cntrlType == TypeDiscovery, settled(cntrlType) == "" && nqn == nvme.DiscoveryNQN:
		return Kind{tid.Discovery, true}
	case cntrlType != "" || nqn == "":
	case queues > 1:
		return Kind{tid.IO, true}
	case queues == 1 && Live(state):
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

// kindAt reads no more than what tells the kind of the controller with this directory.
func kindAt(dir int) (Kind, error) {
	var buf [attrSize]byte
	var shortage error
	text := func(attr int) string {
		n, err := readAt(dir, attrCNames[attr], buf[:])
		if err != nil && short(err) {
			shortage = err
		}
		return known(strings.Trim(string(buf[:n]), " \n\x00"))
	}
	cntrlType, nqn, state, queues := text(attrCntrlType), "", "", 0
	if settled(cntrlType) == "" {
		nqn = text(attrSubsysNQN)
	}
	if cntrlType == "" {
		state, queues = text(attrState), number(text(attrQueueCount))
	}
	// What could not be read must not pass for a type that is not known.
	return kindOf(cntrlType, nqn, state, queues), shortage
}
