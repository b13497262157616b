package registry

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TC-18, TC-33
func TestRemoveIfOursNeedsOwnerAndStamp(t *testing.T) {
	h := newHost(t)
	seqnum, err := h.Create("nvme3", Stas, nil)
	h.must(err)
	for _, c := range []struct{ owner, seqnum string }{
		{Stas, "99"}, {Discoverd, seqnum}, {Stas, ""}, {Stas, "0100"},
	} {
		if removed, err := h.RemoveIfOurs("nvme3", c.owner, c.seqnum); removed || err != nil {
			t.Errorf("%v: removed %v, %v", c, removed, err)
		}
	}
	h.owner("nvme3", OwnedBy(Stas))

	// The name was recycled by a connection of our own: another stamp.
	h.seqnum("200")
	_, err = h.Create("nvme3", Stas, nil)
	h.must(err)
	if removed, _ := h.RemoveIfOurs("nvme3", Stas, seqnum); removed {
		t.Error("removed the entry of the next connection")
	}
	if removed, err := h.RemoveIfOurs("nvme3", Stas, "200"); !removed || err != nil {
		t.Errorf("removed %v, %v", removed, err)
	}
	if removed, err := h.RemoveIfOurs("nvme3", Stas, "200"); removed || err != nil {
		t.Errorf("second time: removed %v, %v", removed, err)
	}
	if left := h.all(); left != nil {
		t.Errorf("left: %v", left)
	}
}

func TestRemoveIfPutsBackWhatIsNotOurs(t *testing.T) {
	h := newHost(t)
	h.file("nvme3", "owner", "discoverd\n")
	asked := 0
	removed, err := h.removeIf("nvme3", func(string) bool { asked++; return asked == 1 })
	if removed || err != nil || asked != 2 {
		t.Errorf("removed %v, %v, asked %d times", removed, err, asked)
	}
	h.owner("nvme3", OwnedBy(Discoverd))
	if diff := cmp.Diff([]string{"nvme3"}, h.all()); diff != "" {
		t.Error(diff)
	}
}

func TestRemoveIsQuietAboutAbsence(t *testing.T) {
	h := newHost(t)
	h.must(h.Remove("nvme3"))
	h.file("nvme3", "owner", "discoverd\n")
	h.must(h.Remove("nvme3"))
	h.must(h.Remove("nvme3"))
	if left := h.all(); left != nil {
		t.Errorf("left: %v", left)
	}
}
