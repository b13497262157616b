package ctl

import (
	"slices"
	"sort"

	"github.com/stas-go/stas/pkg/bus"
)

// keyOrder is the order in which dictionaries are shown. A dictionary of D-Bus loses
// its order on the way; this gives it back. Keys that are not here follow by name.
var keyOrder = []string{
	"traddr", "trsvcid", "transport", "subsysnqn", "host-iface", "host-traddr", "host-nqn", "device",
	"connect attempts", "retry connect timer", "origin",
	"trtype", "adrfam", "subnqn", "subtype", "treq", "portid", "cntlid", "asqsz", "eflags",
}

// entryOrder is that of a log page entry.
var entryOrder = []string{
	"trtype", "adrfam", "traddr", "trsvcid", "subnqn", "subtype", "treq", "portid", "cntlid", "asqsz", "eflags",
}

func ordered(dict map[string]string) bus.Object {
	order := keyOrder
	if _, ok := dict["subnqn"]; ok {
		order = entryOrder
	}
	rank := func(key string) int {
		if i := slices.Index(order, key); i >= 0 {
			return i
		}
		return len(order)
	}
	o := make(bus.Object, 0, len(dict))
	for k, v := range dict {
		o = append(o, bus.Member{Name: k, Value: v})
	}
	sort.Slice(o, func(i, j int) bool {
		if a, b := rank(o[i].Name), rank(o[j].Name); a != b {
			return a < b
		}
		return o[i].Name < o[j].Name
	})
	return o
}

func orderedAll(dicts []map[string]string) []bus.Object {
	list := make([]bus.Object, len(dicts))
	for i, d := range dicts {
		list[i] = ordered(d)
	}
	return list
}
