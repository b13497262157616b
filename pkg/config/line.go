package config

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// parseController reads the value of a controller= line: "key=value" pairs with ";" between
// them. What cannot be used is reported; ok is false where no connection can be made of the rest.
// A line that is misunderstood in what decides whom to connect, or how securely, is dropped
// rather than connected otherwise than it says.
func parseController(kind tid.Kind, e entry, r *report) (c Controller, ok bool) {
	c = Controller{Kind: kind, Where: e.where(), at: e}
	c.at.value = "" // it may have secrets
	f := lineFields{seen: make(map[string]int)}
	ok = true
	for i, token := range strings.Split(e.value, ";") {
		if token = strings.TrimSpace(token); token == "" {
			continue
		}
		key, value, equals := strings.Cut(token, "=")
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		if !equals {
			r.add(e, BadField, "", "field %d has no \"=\"; the field is ignored", i+1).Remedy = dropField(e, i+1)
			continue
		}
		if old := f.seen[key]; old > 0 {
			r.add(e, OddField, "", "%s is given twice; the later one counts", shownKey(key)).Remedy = dropField(e, old)
		}
		f.seen[key] = i + 1
		ok = f.field(&c, e, key, value, r) && ok
	}
	if !ok {
		return c, false
	}
	if err := f.finish(&c, e, r); err != nil {
		r.add(e, LostController, "", "%v; the line is ignored", err)
		return c, false
	}
	return c, true
}

// lineFields is a controller= line while it is read.
type lineFields struct {
	seen map[string]int // position of each key, from 1
}

// field takes one pair. It is false where the line must not be used.
func (f *lineFields) field(c *Controller, e entry, key, value string, r *report) bool {
	if text := addressField(c, key); text != nil {
		*text = value
		return true
	}
	if key == "transport" {
		c.Transport = nvme.Transport(strings.ToLower(value))
		return true
	}
	if key == "persistent" && c.Kind == tid.Discovery {
		p, err := parsePersistence(value)
		if err != nil {
			r.add(e, BadField, "", "persistent=%s: %v; allowed are force, auto, no; using the default", shown(value), err).Remedy = dropField(e, f.seen[key])
			return true
		}
		c.Persistent = p
		return true
	}
	p := paramNamed(key)
	if p == nil {
		r.add(e, BadField, "", "unknown key %s; the field is ignored", shownKey(key)).Remedy = dropField(e, f.seen[key])
		return true
	}
	if key == "duplicate-connect" {
		effect := "it is passed on"
		if c.Kind == tid.Discovery {
			effect = "it has no effect on a discovery controller"
		}
		r.add(e, OddField, "", "duplicate-connect is deprecated; %s", effect).Remedy = dropField(e, f.seen[key])
	}
	err := p.set(&c.Given, value)
	if err == nil {
		return true
	}
	if p.secret != nil || p.flag != nil && (key == "tls" || key == "concat") || p.text != nil {
		r.add(e, LostController, "", "%s: %v; allowed %s; the line is ignored", key, err, p.allowed())
		return false
	}
	r.add(e, BadField, "", "%s=%s: %v; allowed %s; the field is ignored", key, shown(value), err, p.allowed()).Remedy = dropField(e, f.seen[key])
	return true
}

func addressField(c *Controller, key string) *string {
	switch key {
	case "traddr":
		return &c.Traddr
	case "trsvcid":
		return &c.Trsvcid
	case "nqn", "subsysnqn":
		return &c.NQN
	case "host-traddr":
		return &c.HostTraddr
	case "host-iface":
		return &c.HostIface
	case "host-nqn", "hostnqn":
		return &c.HostNQN
	}
	return nil
}

// finish checks what was read as a whole and normalises it by the rules of [tid.New].
func (f *lineFields) finish(c *Controller, e entry, r *report) error {
	switch c.Transport {
	case nvme.TCP, nvme.RDMA, nvme.FC, nvme.Loop:
	case "":
		return fmt.Errorf("transport is missing; allowed are tcp, rdma, fc, loop")
	default:
		hint := ""
		if strings.ContainsAny(string(c.Transport), "=, \t") {
			hint = ", with \";\" before the next field"
		}
		return fmt.Errorf("transport %q is unknown; allowed are tcp, rdma, fc, loop%s", shown(string(c.Transport)), hint)
	}
	if c.Traddr == "" && c.Transport != nvme.Loop {
		return fmt.Errorf("traddr is missing")
	}
	if c.NQN == "" && c.Kind == tid.IO {
		return fmt.Errorf("nqn is missing; an I/O controller needs one")
	}
	return c.normalise(func(key, text string) { r.add(e, OddField, "", "%s", text).Remedy = dropField(e, f.seen[key]) })
}

// normalise gives c's address fields their canonical spelling. What the transport has no use
// for is dropped and told to warn.
func (c *Controller) normalise(warn func(key, text string)) error {
	t := tid.TID{Transport: c.Transport, Traddr: c.Traddr, Trsvcid: c.Trsvcid, NQN: c.NQN,
		HostTraddr: c.HostTraddr, HostIface: c.HostIface, HostNQN: c.HostNQN}
	if c.Transport.IP() {
		if _, err := tid.ParseIP(c.Traddr); err != nil {
			if err := checkHostName(c.Traddr); err != nil {
				return err
			}
			c.HostName, t.Traddr = true, netip.IPv4Unspecified().String()
		}
	}
	if len(c.HostIface) > maxIface || strings.ContainsAny(c.HostIface, "/ \t") {
		return fmt.Errorf("host-iface %q cannot be the name of an interface", shown(c.HostIface))
	}
	if c.Transport == nvme.FC { // the form of log pages
		t.Traddr, t.HostTraddr = strings.Replace(t.Traddr, ",", ":", 1), strings.Replace(t.HostTraddr, ",", ":", 1)
	}
	n, err := tid.New(c.Kind, t)
	if err != nil {
		return err
	}
	if n.HostNQN != "" {
		if err := nvme.CheckNQN(n.HostNQN); err != nil {
			return fmt.Errorf("host-nqn: %w", err)
		}
	}
	for _, f := range []struct{ key, was, is string }{
		{"trsvcid", t.Trsvcid, n.Trsvcid}, {"host-traddr", t.HostTraddr, n.HostTraddr}, {"host-iface", t.HostIface, n.HostIface},
	} {
		if f.was != "" && f.was != "none" && f.is == "" {
			warn(f.key, fmt.Sprintf("%s has no meaning for transport %s; the field is ignored", f.key, n.Transport))
		}
	}
	c.Transport, c.Trsvcid, c.NQN = n.Transport, n.Trsvcid, n.NQN
	c.HostTraddr, c.HostIface, c.HostNQN = n.HostTraddr, n.HostIface, n.HostNQN
	if !c.HostName {
		c.Traddr = n.Traddr
	}
	return nil
}

// maxIface is the longest interface name (include/uapi/linux/if.h, IFNAMSIZ with its NUL).
const maxIface = 15

// checkHostName accepts the names that a resolver is worth asking for (RFC 1123, section 2.1).
func checkHostName(s string) error {
	if strings.HasPrefix(s, "[") {
		return fmt.Errorf("traddr %q is no IP address; it is written without brackets", shown(s))
	}
	name := strings.TrimSuffix(s, ".")
	bad := fmt.Errorf("traddr %q is neither an IP address nor a host name", shown(s))
	if name == "" || len(name) > 253 || strings.Trim(name, "0123456789.") == "" {
		return bad
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return bad
		}
		for _, c := range label {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return bad
			}
		}
	}
	return nil
}

// shownKey repeats the key of a field where it can only be a key.
func shownKey(key string) string {
	if len(key) > 32 || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz-_") != "" {
		return "(not shown)"
	}
	return key
}

func parsePersistence(s string) (Persistence, error) {
	return oneOf(strings.ToLower(s), []string{"force", "auto", "no"}, []Persistence{PersistHold, PersistAuto, PersistNo})
}
