package config

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stas-go/stas/pkg/exclusion"
	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// Text is a file that was made. It may hold secrets: write it with mode 0600 and show it to nobody.
type Text struct {
	Name  string // below /etc/nvme or /etc/stas
	bytes []byte
}

// Bytes gives the content.
func (t Text) Bytes() []byte { return t.bytes }

// String implements [fmt.Stringer] without the content.
func (t Text) String() string { return t.Name }

// GoString implements [fmt.GoStringer] without the content.
func (t Text) GoString() string { return t.Name }

// ToFabrics writes what 2.x files say about connections in the 3.x grammar: nvme-stas.conf, a
// drop-in per further host identity, and exclusions.conf. The notes tell what could not be taken over.
func ToFabrics(staf *Staf, stac *Stac) (files []Text, notes []string) {
	type group struct {
		host     string // NQN; empty is the system's
		scope    *Scope // of the file that has this host already, or nil
		sections bytes.Buffer
	}
	common := &Scope{Discovery: staf.Defaults, IO: stac.Defaults}
	groups := []*group{{}}
	for _, c := range append(staf.Controllers[:len(staf.Controllers):len(staf.Controllers)], stac.Controllers...) {
		host := cmp.Or(c.HostNQN, c.Scope.Host.NQN)
		var g *group
		for _, known := range groups {
			if known.host == host {
				g = known
			}
		}
		if g == nil {
			g = &group{host: host}
			groups = append(groups, g)
		}
		if c.Scope.Host.NQN != "" {
			g.scope = c.Scope
		} else if c.Kind == tid.Discovery && c.Scope.IO != (tid.Params{}) && c.Scope.IO != common.IO {
			notes = append(notes, fmt.Sprintf("%s: what is discovered through it gets the defaults of all, not those of %s", c.Where, c.Scope.File))
		}
	}
	for _, c := range append(staf.Controllers[:len(staf.Controllers):len(staf.Controllers)], stac.Controllers...) {
		for _, g := range groups {
			if g.host == cmp.Or(c.HostNQN, c.Scope.Host.NQN) {
				defaults := cmp.Or(g.scope, common)
				if c.Kind == tid.IO {
					writeSection(&g.sections, c, defaults.IO)
				} else {
					writeSection(&g.sections, c, defaults.Discovery)
				}
			}
		}
	}
	for i, g := range groups {
		var b bytes.Buffer
		name := "nvme-stas.conf"
		if i == 0 {
			persistent := ""
			if staf.Persistent != DefaultStaf().Persistent {
				persistent = fmt.Sprintf("%s = %s\n", persistentKey, staf.Persistent)
			}
			writeDefaults(&b, sectDCDefaults, persistent, staf.Defaults, tid.Params{})
			writeDefaults(&b, sectIODefaults, "", stac.Defaults, tid.Params{})
		} else {
			name = fmt.Sprintf("nvme-stas.conf.d/%02d-host.conf", i)
			fmt.Fprintf(&b, "[%s]\nhostnqn = %s\n", sectHost, g.host)
			if id := hostIDOf(g.host, staf, stac); id != "" {
				fmt.Fprintf(&b, "hostid = %s\n", id)
			} else {
				notes = append(notes, fmt.Sprintf("%s: %s needs a hostid of its own, which 2.x files cannot say", name, g.host))
			}
			if g.scope != nil {
				if g.scope.SymName != "" {
					fmt.Fprintf(&b, "hostsymname = %s\n", g.scope.SymName)
				}
				writeDefaults(&b, sectDCDefaults, "", g.scope.Discovery, common.Discovery)
				writeDefaults(&b, sectIODefaults, "", g.scope.IO, common.IO)
			}
		}
		b.Write(g.sections.Bytes())
		files = append(files, Text{name, b.Bytes()})
	}
	text, more := excludesText(append(staf.Excludes[:len(staf.Excludes):len(staf.Excludes)], stac.Excludes...))
	if text != nil {
		files = append(files, Text{"exclusions.conf", text})
	}
	return files, append(notes, more...)
}

func hostIDOf(nqn string, staf *Staf, stac *Stac) string {
	for _, list := range [][]Controller{staf.Controllers, stac.Controllers} {
		for _, c := range list {
			if c.Scope.Host.NQN == nqn {
				return c.Scope.Host.ID
			}
		}
	}
	if id := nvme.HostIDFor(nqn); !id.IsZero() {
		return id.String() // the one that the daemons use
	}
	return ""
}

// writeDefaults writes what p says other than the section of the same name that counts before this one.
func writeDefaults(b *bytes.Buffer, section, more string, p, before tid.Params) {
	keys := bytes.NewBufferString(more)
	for i := range params {
		if value := params[i].text3(&p); value != params[i].text3(&before) {
			fmt.Fprintf(keys, "%s = %s\n", params[i].name3(), value)
		}
	}
	if keys.Len() > 0 {
		fmt.Fprintf(b, "[%s]\n%s", section, keys.Bytes())
	}
}

// writeSection writes what c says itself, and what else its connection has other than by defaults, which stand above it: from a
// [Host], from the defaults of a drop-in, or as a reset.
func writeSection(b *bytes.Buffer, c Controller, defaults tid.Params) {
	section := sectSubsystem
	if c.Kind == tid.Discovery {
		section = sectDC
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "[%s]\n", section)
	if c.Kind != tid.Discovery || c.NQN != nvme.DiscoveryNQN {
		fmt.Fprintf(b, "nqn = %s\n", c.NQN)
	}
	path := c.address3()
	for i := range params {
		p := &params[i]
		value := p.text3(&c.Given)
		differs := value != "" || p.differ(&c.Params, &defaults)
		if value == "" {
			value = p.text3(&c.Params)
		}
		switch {
		case !differs:
		case p.security():
			fmt.Fprintf(b, "%s = %s\n", p.name3(), value)
		default:
			path += ";" + p.name3() + "=" + value
		}
	}
	if c.Persistent != PersistDefault {
		path += ";" + persistentKey + "=" + c.Persistent.String()
	}
	fmt.Fprintf(b, "controller = %s\n", path)
}

func (c Controller) address3() string {
	s := fmt.Sprintf("transport=%s;traddr=%s", c.Transport, cmp.Or(c.Traddr, "none"))
	for _, f := range []struct{ key, value string }{{"trsvcid", c.Trsvcid}, {"host-traddr", c.HostTraddr}, {"host-iface", c.HostIface}} {
		if f.value != "" {
			s += ";" + f.key + "=" + f.value
		}
	}
	return s
}

func (p *param) name3() string { return cmp.Or(p.other, p.key) }

// text3 spells the value with which p is set in from; empty where it is not.
func (p *param) text3(from *tid.Params) string {
	if p.secret != nil {
		return p.secret(from).Reveal()
	}
	return p.shown(from)
}

// excludesText writes exclude= lines as a host-wide list.
func excludesText(list []Exclude) (text []byte, notes []string) {
	var b bytes.Buffer
	for _, x := range list {
		e, err := exclusion.ParseOwn(x.Text)
		if err == nil {
			if _, err = exclusion.ParseEntry(e.String()); err == nil {
				fmt.Fprintf(&b, "exclusion = %s\n", e)
			}
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: cannot be written as a host-wide exclusion: %s", x.Where, tid.HideSecrets(err.Error())))
		}
	}
	if b.Len() == 0 {
		return nil, notes
	}
	notes = append(notes, "exclusions.conf: for all programs of this host, and live connections stay; exclude= of stafd.conf and stacd.conf also ends them")
	return append([]byte("[exclusions]\n"), b.Bytes()...), notes
}

// ToOwn writes what both kinds of files say about connections as stafd.conf and stacd.conf
// in the 2.x grammar. The notes tell what could not be taken over.
func ToOwn(staf *Staf, stac *Stac) (files []Text, notes []string) {
	for _, d := range []struct {
		name     string
		c        *Common
		usual    tid.Params // what holds without the file
		settings []setting
	}{
		{"stafd.conf", &staf.Common, DefaultStaf().Defaults, stafSettings(DefaultStaf(), &Scope{}, &oldStaf{})},
		{"stacd.conf", &stac.Common, DefaultStac().Defaults, stacSettings(DefaultStac(), &Scope{}, &oldStac{})},
	} {
		var b bytes.Buffer
		b.WriteString("[Global]\n")
		for i := range params {
			p := &params[i]
			known := slices.ContainsFunc(d.settings, func(s setting) bool { return s.section == "Global" && s.key == p.key })
			switch value := p.text3(&d.c.Defaults); {
			case value == "" && p.text3(&d.usual) != "":
				notes = append(notes, fmt.Sprintf("the kernel's default for %s cannot be said in %s", p.key, d.name))
			case value == "":
			case !known || p.set(&d.usual, value) != nil: // each line gets it, but not what is discovered
				notes = append(notes, fmt.Sprintf("%s for all cannot be said in %s", p.key, d.name))
			default:
				fmt.Fprintf(&b, "%s=%s\n", p.key, value)
			}
		}
		if p := staf.Persistent; d.c == &staf.Common && p != PersistDefault && p != DefaultStaf().Persistent {
			fmt.Fprintf(&b, "\n[%s]\n%s=%s\n", dcSection, persistentKey, p) // for what is discovered too
		}
		b.WriteString("\n[" + controllersSection + "]\n")
		for _, c := range d.c.Controllers {
			if strings.Contains(c.NQN+c.HostNQN+c.Scope.Host.NQN, ";") {
				notes = append(notes, fmt.Sprintf("%s: an NQN with a semicolon cannot be said in %s; the controller is left out", c.Where, d.name))
				continue
			}
			line, lost := c.line2(d.usual)
			fmt.Fprintf(&b, "controller=%s\n", line)
			for _, what := range lost {
				notes = append(notes, fmt.Sprintf("%s: %s cannot be said in %s", c.Where, what, d.name))
			}
		}
		for _, x := range d.c.Excludes {
			fmt.Fprintf(&b, "exclude=%s\n", x.Text)
		}
		files = append(files, Text{d.name, b.Bytes()})
	}
	return files, notes
}

// line2 spells c as a controller= line whose parameters differ from defaults.
func (c Controller) line2(defaults tid.Params) (line string, lost []string) {
	line = c.address3() + ";nqn=" + c.NQN
	if nqn := cmp.Or(c.HostNQN, c.Scope.Host.NQN); nqn != "" {
		line += ";host-nqn=" + nqn
		// For a host-nqn the daemons compute the ID.
		if id := c.Scope.Host.ID; id != "" && !strings.EqualFold(id, nvme.HostIDFor(nqn).String()) {
			lost = append(lost, "host ID "+c.Scope.Host.ID)
		}
	}
	if c.Kind == tid.Discovery && c.Scope.SymName != "" {
		lost = append(lost, "symbolic name "+c.Scope.SymName)
	}
	for i := range params {
		p := &params[i]
		value, usual := p.text3(&c.Params), p.text3(&defaults)
		switch {
		case p.key == "tls":
			// Whether a key alone means TLS depends on where it stands: it is said wherever there is any doubt.
			keyed := !c.Params.TLSKey.IsZero() || c.Params.TLSKeyIdentity != ""
			if want := c.Params.WantsTLS(); want && defaults.TLS != tid.On || !want && (keyed || defaults.TLS == tid.On) {
				line += ";" + p.key + "=" + strconv.FormatBool(want)
			}
		case value == usual:
		case value == "" && p.flag != nil:
			line += ";" + p.key + "=" + strconv.FormatBool(false)
		case value == "":
			lost = append(lost, "the kernel's default for "+p.key)
		case p.integer != nil && p.set(&tid.Params{}, value) != nil: // beyond the bounds of 2.x
			lost = append(lost, p.key+" "+value)
		default:
			line += ";" + p.key + "=" + value
		}
	}
	if c.Persistent != PersistDefault {
		line += ";" + persistentKey + "=" + c.Persistent.String()
	}
	return line, lost
}
