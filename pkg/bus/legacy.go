package bus

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stas-go/stas/pkg/nvme"
)

// dict gives the dictionary of c in the order of nvme-stas 2.x: the identity, the
// tunables, the host NQN, the device, and as much of the rest as is asked for.
func (c *Controller) dict(info, details bool) []Field {
	n := 8 + len(c.Tunables)
	if info {
		n += len(c.Info)
	}
	if details {
		n += len(c.Details)
	}
	d := make([]Field, 0, n)
	d = append(d,
		Field{"traddr", c.ID.Traddr},
		Field{"trsvcid", c.ID.Trsvcid},
		Field{"transport", c.ID.Transport},
		Field{"subsysnqn", c.ID.SubsysNQN},
		Field{"host-iface", c.ID.HostIface},
		Field{"host-traddr", c.ID.HostTraddr},
	)
	d = appendPublic(d, c.Tunables)
	d = append(d, Field{"host-nqn", c.ID.HostNQN}, Field{"device", c.Device})
	if info {
		d = appendPublic(d, c.Info)
	}
	if details {
		d = appendPublic(d, c.Details)
	}
	return cleanFields(d)
}

func appendPublic(d, fields []Field) []Field {
	for _, f := range fields {
		if !secret(f.Name) {
			d = append(d, f)
		}
	}
	return d
}

// EntryFields gives e as the legacy interfaces spell an entry of a log page.
func EntryFields(e *nvme.DiscoveryEntry) []Field {
	return cleanFields([]Field{
		{"trtype", e.Transport.String()},
		{"adrfam", e.AddrFamily.String()},
		{"traddr", e.Traddr},
		{"trsvcid", e.Trsvcid},
		{"subnqn", e.SubNQN},
		{"subtype", e.Subtype.String()},
		{"treq", e.TReq.String()},
		{"portid", strconv.Itoa(int(e.PortID))},
		{"cntlid", strconv.Itoa(int(e.CntlID))},
		{"asqsz", strconv.Itoa(int(e.ASQSize))},
		{"eflags", e.EFlags.String()},
	})
}

// True spells a truth value as 2.x does inside its dictionaries.
func True(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// Dict spells a nested dictionary as 2.x does: {'fail count': 0, 'alive': True}.
// Values are strings, bools, integers or nil.
func Dict(members Object) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoted(m.Name))
		b.WriteString(": ")
		switch v := m.Value.(type) {
		case nil:
			b.WriteString("None")
		case bool:
			b.WriteString(True(v))
		case string:
			b.WriteString(quoted(v))
		default:
			fmt.Fprint(&b, v)
		}
	}
	b.WriteByte('}')
	return b.String()
}

// EntryDict spells e as the dlpe value of a controller.
func EntryDict(e *nvme.DiscoveryEntry) string {
	fields := EntryFields(e)
	o := make(Object, len(fields))
	for i, f := range fields {
		o[i] = Member{f.Name, f.Value}
	}
	return Dict(o)
}

// quoted gives s between single quotes, or between double quotes when it has single
// ones only; the way the clients of 2.x expect strings inside dictionary values.
func quoted(s string) string {
	q := byte('\'')
	if strings.IndexByte(s, '\'') >= 0 && strings.IndexByte(s, '"') < 0 {
		q = '"'
	}
	var b strings.Builder
	b.WriteByte(q)
	for _, r := range clean(s) {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte(q)
	return b.String()
}

// Timer spells a timer as 2.x does: "60.0s [off]", or "60.0s [12.3s]" with the time
// that is left. A negative left means off.
func Timer(interval, left time.Duration) string {
	if left < 0 {
		return seconds(interval) + " [off]"
	}
	return seconds(interval) + " [" + seconds(left.Round(time.Millisecond)) + "]"
}

// seconds always has a decimal point: 60.0s, 1.5s.
func seconds(d time.Duration) string {
	s := strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s + "s"
}
