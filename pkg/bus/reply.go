package bus

import (
	"github.com/godbus/dbus/v5"

	"github.com/stas-go/stas/pkg/nvme"
)

// dictionaries is an array of ordered dictionaries, aa{ss} on the bus. A dictionary
// entry is marshalled as a struct of its key and value is (D-Bus specification,
// "Marshalling"), so the library may take it for aa(ss) as long as the message says
// what it is. Go maps would lose the order.
type dictionaries [][]Field

// reply answers c. Should that fail, the caller gets an error or the connection ends.
func (c *call) reply(body []any) {
	if c.noReply {
		return
	}
	c.conn.Send(&dbus.Message{
		Type: dbus.TypeMethodReply,
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldDestination: dbus.MakeVariant(c.sender),
			dbus.FieldReplySerial: dbus.MakeVariant(c.serial),
			dbus.FieldSignature:   dbus.MakeVariant(bodySignature(body)),
		},
		Body: body,
	}, nil)
}

// stringOverhead is what a string costs on the bus besides its bytes: length, NUL and
// on average some padding.
const stringOverhead = 8

// size is about how many bytes fields take in a message.
func size(fields []Field) int {
	n := stringOverhead
	for _, f := range fields {
		n += len(f.Name) + len(f.Value) + 2*stringOverhead
	}
	return n
}

func tooLarge(what, instead string) error {
	return busError(errLimitsExceeded, "%s is larger than %d MiB: ask %s for one controller at a time", what, MaxReply>>20, instead)
}

// listReply makes the reply of list_controllers.
func listReply(list []Controller, detailed bool, instead string) ([]any, error) {
	dicts, total := make(dictionaries, len(list)), 0
	for i := range list {
		dicts[i] = list[i].dict(detailed, detailed)
		if total += size(dicts[i]); total > MaxReply {
			return nil, tooLarge("the list of controllers", instead)
		}
	}
	return []any{dicts}, nil
}

// entriesReply makes the reply of get_log_pages.
func entriesReply(entries []nvme.DiscoveryEntry) ([]any, error) {
	dicts, total := make(dictionaries, len(entries)), 0
	for i := range entries {
		dicts[i] = EntryFields(&entries[i])
		if total += size(dicts[i]); total > MaxReply {
			return nil, busError(errLimitsExceeded, "the log page is larger than %d MiB: ask %s.GetPage for it", MaxReply>>20, pagesInterface)
		}
	}
	return []any{dicts}, nil
}

// allPagesReply makes the reply of get_all_log_pages, a JSON text.
func allPagesReply(logs []ControllerLog, detailed bool) ([]any, error) {
	b := []byte{'['}
	for i := range logs {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, `{"discovery-controller": `...)
		b = appendJSONFields(b, logs[i].Controller.dict(detailed, detailed))
		b = append(b, `, "log-pages": [`...)
		for j := range logs[i].Entries {
			if j > 0 {
				b = append(b, ", "...)
			}
			b = appendJSONFields(b, EntryFields(&logs[i].Entries[j]))
			if len(b) > MaxReply {
				return nil, tooLarge("the list of all log pages", FinderName+".get_log_pages")
			}
		}
		b = append(b, "]}"...)
	}
	if len(b) >= MaxReply {
		return nil, tooLarge("the list of all log pages", FinderName+".get_log_pages")
	}
	return []any{string(append(b, ']'))}, nil
}
