package config

import (
	"errors"
	"fmt"

	"github.com/stas-go/stas/pkg/exclusion"
	"github.com/stas-go/stas/pkg/tid"
)

// globalSettings are the keys of [Global] that both daemons have.
func (c *Common) globalSettings(kato string) []setting {
	list := []setting{
		boolSetting("Global", "tron", "false", &c.Tron),
		boolSetting("Global", "ignore-iface", "false", &c.IgnoreIface),
		{section: "Global", key: "ip-family", allowed: "are ipv4, ipv6, ipv4+ipv6, ipv6+ipv4", usual: "the default ipv4+ipv6",
			set: func(v string) error { return store(&c.Families)(parseFamilies(v)) }},
	}
	for i := range params {
		p := &params[i]
		s := setting{section: "Global", key: p.key, allowed: p.allowed(), usual: "the kernel's default", secret: p.secret != nil,
			set: func(v string) error { return p.set(&c.Defaults, v) }}
		switch p.key {
		case "nr-io-queues", "nr-write-queues", "nr-poll-queues", "duplicate-connect", "dhchap-secret", "dhchap-ctrl-secret":
			continue
		case "hdr-digest", "data-digest", "disable-sqflow":
			s.usual = "the default false"
		case "tls", "concat", "keyring", "tls-key", "tls-key-identity":
			s.strict = true
		case "kato":
			s.usual = kato
		}
		list = append(list, s)
	}
	return list
}

// controllerSettings are the keys of [Controllers].
func (c *Common) controllerSettings(kind tid.Kind, scope *Scope) []setting {
	exclude := func(e entry, r *report) { c.exclude(e, r) }
	return []setting{
		{section: controllersSection, key: "controller", add: func(e entry, r *report) { c.controller(kind, scope, e, r) }},
		{section: controllersSection, key: "exclude", add: exclude},
		{section: controllersSection, key: "blacklist", deprecated: "write exclude=", add: func(e entry, r *report) {
			r.add(e, DeprecatedKey, "", "deprecated; write exclude=").Remedy = fmt.Sprintf("sed -i '%ds/blacklist/exclude/I' %s", e.line, quote(e.file))
			exclude(e, r)
		}},
	}
}

func (c *Common) controller(kind tid.Kind, scope *Scope, e entry, r *report) {
	if e.fault != "" {
		r.add(e, LostController, "", "%s; the line is ignored", e.fault)
		r.incomplete = true
		return
	}
	if e.value == "" {
		r.add(e, EmptyLine, "", "names no controller; the line is ignored")
		return
	}
	ctrl, ok := parseController(kind, e, r)
	if !ok {
		r.incomplete = true
		return
	}
	if hasSecret(ctrl.Given) {
		warnReadable(e.file, r)
	}
	ctrl.Scope = scope
	c.Controllers = append(c.Controllers, ctrl)
}

func (c *Common) exclude(e entry, r *report) {
	if e.fault != "" {
		r.add(e, BadExclude, "", "%s; the line excludes nothing", e.fault)
		return
	}
	x, err := exclusion.ParseOwn(e.value)
	switch {
	case errors.Is(err, exclusion.ErrEmpty):
		r.add(e, EmptyLine, "", "names nothing; the line excludes nothing")
		return
	case err != nil:
		r.add(e, BadExclude, "", "%s; the line excludes nothing", tid.HideSecrets(err.Error()))
		return
	}
	if x.LooksCommented() {
		r.add(e, TrailingComment, shown(e.value), "a comment cannot follow a value; \"#\" and what follows are part of the value").Remedy =
			fmt.Sprintf("sed -i '%ds/[ \\t]#.*//' %s", e.line, quote(e.file))
	}
	if x.HasName() && !x.LooksCommented() {
		r.add(e, BadExclude, shown(e.value), "a host name stands for no connection, only numeric addresses are compared; the line excludes nothing")
	}
	c.Excludes = append(c.Excludes, Exclude{Text: e.value, Where: e.where()})
}

// boolSetting is a key that is true or false.
func boolSetting(section, key, usual string, dst *bool) setting {
	return setting{section: section, key: key, allowed: "are true and false", usual: "the default " + usual,
		set: func(v string) error { return store(dst)(parseBool(v)) }}
}

// store keeps the result of a parser where there is no error.
func store[T any](dst *T) func(T, error) error {
	return func(v T, err error) error {
		if err == nil {
			*dst = v
		}
		return err
	}
}
