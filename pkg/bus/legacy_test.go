package bus

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

func TestDict(t *testing.T) {
	for want, o := range map[string]Object{
		`{}`: {},
		`{'fail count': 2, 'completed': False, 'alive': True, 'error': "it's", 'x': None}`: {
			{"fail count", 2}, {"completed", false}, {"alive", true}, {"error", "it's"}, {"x", nil},
		},
		`{'e': 'a\'b"c\\\n\x1b'}`: {{"e", "a'b\"c\\\n\x1b"}},
	} {
		if got := Dict(o); got != want {
			t.Errorf("Dict is %s, want %s", got, want)
		}
	}
}

func TestTimer(t *testing.T) {
	for want, got := range map[string]string{
		"60.0s [off]":      Timer(time.Minute, -1),
		"1.5s [0.25s]":     Timer(1500*time.Millisecond, 250*time.Millisecond),
		"259200.0s [3.0s]": Timer(72*time.Hour, 3*time.Second),
		"60.0s [59.877s]":  Timer(time.Minute, 59877123*time.Microsecond),
	} {
		if got != want {
			t.Errorf("Timer is %s, want %s", got, want)
		}
	}
}

func TestEntryWithNumbersOnly(t *testing.T) {
	e := nvme.DiscoveryEntry{Transport: 99, AddrFamily: 99, Subtype: 99, TReq: 5, EFlags: 4}
	want := "{'trtype': '99', 'adrfam': '99', 'traddr': '', 'trsvcid': '', 'subnqn': '', 'subtype': '99', 'treq': '5', " +
		"'portid': '0', 'cntlid': '0', 'asqsz': '0', 'eflags': '4'}"
	if got := EntryDict(&e); got != want {
		t.Errorf("EntryDict is %s, want %s", got, want)
	}
}

func TestOutboxSendsOncePerKey(t *testing.T) {
	o := newOutbox()
	o.put("a", signal{name: "lost, as there is no bus"})
	o.reset(true)
	for i := range 1000 {
		o.put("a", signal{name: "a", body: []any{i}})
		o.put("b", signal{name: "b", body: []any{i}})
	}
	queue, overflow := o.take()
	if overflow || len(queue) != 2 || queue[0].name != "a" || queue[0].body[0] != 999 || queue[1].body[0] != 999 {
		t.Errorf("queue %v, overflow %v", queue, overflow)
	}
	o.reset(true)
	for i := range maxPending + 1 {
		o.put(time.Duration(i).String(), signal{})
	}
	if queue, overflow := o.take(); !overflow || len(queue) != maxPending {
		t.Errorf("%d waiting, overflow %v", len(queue), overflow)
	}
}

func FuzzJSONString(f *testing.F) {
	f.Add("a\"\\\x00\x1f\x7f\xff\u2028 é")
	f.Fuzz(func(t *testing.T, s string) {
		b := appendJSONString(nil, s)
		var got string
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if got != clean(s) {
			t.Errorf("%q came back as %q", clean(s), got)
		}
	})
}
