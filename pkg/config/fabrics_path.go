package config

import (
	"fmt"
	"strings"

	"github.com/stas-go/stas/pkg/tid"
)

// controller reads a controller line of the 3.x grammar: addresses, and parameters that are
// meant for this path only.
func (p *fabricsParser) controller(e entry) {
	c := path{at: e, own: layer{}, fields: make(map[string]int)}
	c.at.value = ""
	for i, token := range strings.Split(e.value, ";") {
		if token = trimC(token); token == "" {
			continue
		}
		key, value, ok := strings.Cut(token, "=")
		key, value = trimC(key), trimC(value)
		if !ok || key == "" {
			p.fail(e, "the controller line has a field without key or \"=\"")
			return
		}
		c.fields[key] = i + 1
		if err := c.field(p.last.kind, entry{file: e.file, line: e.line, section: e.section, key: key, value: value}); err != nil {
			p.fail(e, "%v", err)
			return
		}
	}
	if c.transport == "" || c.traddr == "" {
		p.fail(e, "the controller line needs transport and traddr")
		return
	}
	p.last.paths = append(p.last.paths, c)
}

func (c *path) field(kind tid.Kind, e entry) error {
	if slot := c.slot(e.key); slot != nil {
		switch {
		case e.value == "":
			return fmt.Errorf("%s is empty", e.key)
		case *slot != "":
			return fmt.Errorf("%s is given twice", e.key)
		}
		*slot = e.value
		return nil
	}
	switch e.key {
	case "nqn", "controller", "hostnqn", "hostid", "hostsymname":
		return fmt.Errorf("%s does not belong on a controller line", e.key)
	case persistentKey:
		if kind != tid.Discovery {
			return fmt.Errorf("persistent is for discovery controllers only")
		}
	default:
		p := fabricsParam(e.key)
		switch {
		case p == nil:
			return fmt.Errorf("unknown key %s on a controller line", shownKey(e.key))
		case p.security():
			return fmt.Errorf("%s belongs to the section, not to one path", e.key)
		}
	}
	if err := checkFabricsValue(e.key, e.value); err != nil {
		return fmt.Errorf("%s: %w", e.key, err)
	}
	c.own[e.key] = e
	return nil
}

func (c *path) slot(key string) *string {
	switch key {
	case "transport":
		return &c.transport
	case "traddr":
		return &c.traddr
	case "trsvcid":
		return &c.trsvcid
	case "host-traddr":
		return &c.hostTraddr
	case "host-iface":
		return &c.hostIface
	}
	return nil
}

// security says whether the parameter belongs to a pair of host and subsystem.
func (p *param) security() bool {
	return p.text != nil || p.secret != nil || p.key == "tls" || p.key == "concat"
}
