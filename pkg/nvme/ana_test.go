package nvme

import (
	"encoding/hex"
	"testing"
)

func TestANALog(t *testing.T) {
	groups := []ANAGroup{{ID: 1, Changes: 5, State: ANAInaccessible, NSIDs: []uint32{1, 258}}}
	const head = "0700000000000000" + "0100" + "000000000000"
	const rest = "0500000000000000" + "03" + "000000000000000000000000000000"
	for only, want := range map[bool]string{
		false: head + "01000000" + "02000000" + rest + "01000000" + "02010000",
		true:  head + "01000000" + "00000000" + rest,
	} {
		if got := hex.EncodeToString(EncodeANALog(7, groups, only)); got != want {
			t.Errorf("groups only %t:\n%s, want\n%s", only, got, want)
		}
	}
}

func TestANAState(t *testing.T) {
	for _, s := range []ANAState{ANAOptimized, ANANonOptimized, ANAInaccessible, ANAPersistentLoss, ANAChange} {
		if back, err := ParseANAState(s.String()); err != nil || back != s {
			t.Errorf("%v comes back as %v, %v", s, back, err)
		}
		if reached := s.Status() == StatusSuccess; reached != (s == ANAOptimized || s == ANANonOptimized) {
			t.Errorf("%v answers %v", s, s.Status())
		}
	}
	if _, err := ParseANAState("0x1"); err == nil {
		t.Error("a number is a state")
	}
}
