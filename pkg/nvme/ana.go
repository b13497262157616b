package nvme

import (
	"encoding/binary"
	"fmt"
)

// ANAState is how a controller reaches the namespaces of a group (Base 2.1, section 8.1.1.3).
// Its String is what Linux shows as ana_state.
type ANAState uint8

// Values of ANAState.
const (
	ANAOptimized      ANAState = 0x01
	ANANonOptimized   ANAState = 0x02
	ANAInaccessible   ANAState = 0x03
	ANAPersistentLoss ANAState = 0x04
	ANAChange         ANAState = 0x0F
)

var anaNames = map[ANAState]string{ANAOptimized: "optimized", ANANonOptimized: "non-optimized", ANAInaccessible: "inaccessible",
	ANAPersistentLoss: "persistent-loss", ANAChange: "change"}

func (s ANAState) String() string {
	if name, ok := anaNames[s]; ok {
		return name
	}
	return fmt.Sprintf("0x%x", uint8(s))
}

// ParseANAState reads what String gives.
func ParseANAState(s string) (ANAState, error) {
	for state, name := range anaNames {
		if s == name {
			return state, nil
		}
	}
	return 0, fmt.Errorf("%q is neither optimized, non-optimized, inaccessible, persistent-loss nor change", s)
}

// Status is what a command gets that would have to reach a namespace: success in the
// states in which it does (Base 2.1, figure "Path Related Status Definition").
func (s ANAState) Status() Status {
	switch s {
	case ANAPersistentLoss:
		return StatusANAPersistentLoss
	case ANAInaccessible:
		return StatusANAInaccessible
	case ANAChange:
		return StatusANATransition
	}
	return StatusSuccess
}

// ANACapabilities says in ANACAP that each of the states occurs.
const ANACapabilities = 0x1F

// ANAGroup is a group of namespaces in log page 0Ch.
type ANAGroup struct {
	ID      uint32
	Changes uint64 // how often State has changed
	State   ANAState
	NSIDs   []uint32
}

// EncodeANALog gives log page 0Ch (Base 2.1, section 5.1.12.1.13); groupsOnly leaves the
// NSIDs out (RGO, bit 0 of LSP).
func EncodeANALog(changes uint64, groups []ANAGroup, groupsOnly bool) []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(nil, changes)
	b = le.AppendUint16(b, uint16(len(groups)))
	b = append(b, make([]byte, 6)...)
	for _, g := range groups {
		nsids := g.NSIDs
		if groupsOnly {
			nsids = nil
		}
		b = le.AppendUint32(b, g.ID)
		b = le.AppendUint32(b, uint32(len(nsids)))
		b = le.AppendUint64(b, g.Changes)
		b = append(b, byte(g.State))
		b = append(b, make([]byte, 15)...)
		for _, id := range nsids {
			b = le.AppendUint32(b, id)
		}
	}
	return b
}
