package nvme

import "testing"

func TestHostID(t *testing.T) {
	const text = "f8e78f19-a131-45ab-b1f6-3a4fc8e093ea"
	id, err := ParseHostID("F8E78F19-a131-45ab-b1f6-3a4fc8e093ea")
	if err != nil {
		t.Fatal(err)
	}
	want := HostID{0xf8, 0xe7, 0x8f, 0x19, 0xa1, 0x31, 0x45, 0xab, 0xb1, 0xf6, 0x3a, 0x4f, 0xc8, 0xe0, 0x93, 0xea}
	if id != want || id.String() != text {
		t.Errorf("%x, %s", id[:], id)
	}
	if id.NQN() != "nqn.2014-08.org.nvmexpress:uuid:"+text {
		t.Errorf("NQN %s", id.NQN())
	}
	if got, ok := HostIDFromNQN(id.NQN()); !ok || got != id {
		t.Errorf("from NQN: %s, %t", got, ok)
	}
	if err := CheckNQN(id.NQN()); err != nil {
		t.Error(err)
	}
	for _, nqn := range []string{"", text, "nqn.2014-08.org.nvmexpress:uuid:", "nqn.2026-01.test:uuid:" + text,
		id.NQN() + "x", HostID{}.NQN()} {
		if got, ok := HostIDFromNQN(nqn); ok {
			t.Errorf("%q gives %s", nqn, got)
		}
	}
}

func TestCheckHostID(t *testing.T) {
	for s, ok := range map[string]bool{
		"f8e78f19-a131-45ab-b1f6-3a4fc8e093ea": true, "00000000-0000-0000-0000-000000000000": false, "": false,
		"f8e78f19a13145abb1f63a4fc8e093ea": false, "{8e78f19-a131-45ab-b1f6-3a4fc8e093e}": false,
		"f8e78f19-a131-45ab-b1f6-3a4fc8e093eg": false, "f8e78f19-a131-45ab-b1f6-3a4fc8e093e": false,
		"f8e78f1-9a131-45ab-b1f6-3a4fc8e093ea": false, "f8e78f19-a131-45ab-b1f6-3a4fc8e093ea ": false,
	} {
		if err := CheckHostID(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestHostIDFor(t *testing.T) {
	const uuid = "f8e78f19-a131-45ab-b1f6-3a4fc8e093ea"
	if id := HostIDFor(uuidNQNPrefix + uuid); id.String() != uuid {
		t.Errorf("of a UUID: %s", id)
	}
	a, b := HostIDFor("nqn.2026-01.test:a"), HostIDFor("nqn.2026-01.test:b")
	if a == b || a != HostIDFor("nqn.2026-01.test:a") || CheckHostID(a.String()) != nil {
		t.Errorf("of names: %s, %s", a, b)
	}
	// Once given out it must never change: the storage knows the host by it.
	if a.String() != "25248c5e-cf00-8e2b-8032-75fe77f48645" || !HostIDFor("").IsZero() {
		t.Errorf("of a name: %s", a)
	}
}
