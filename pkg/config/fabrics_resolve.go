package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/tid"
)

// checkPersonas refuses identities that the kernel could not keep apart. files[0] is the main file.
func checkPersonas(files []*fabricsFile) error {
	var errs []error
	fail := func(e entry, f *fabricsFile, format string, args ...any) {
		// Its controllers are another host's; without its identity they would be connected as this one.
		errs = append(errs, &FileError{File: f.path, Line: e.line, Reason: tid.HideSecrets(fmt.Sprintf(format, args...)), mend: setAside(f.path)})
	}
	for i, f := range files {
		if !f.hasHost {
			continue
		}
		nqn, id := f.hostNQN.value, f.hostID.value
		if i > 0 && nqn == "" {
			fail(f.hostNQN, f, "[Host] of a drop-in needs a hostnqn")
			continue
		}
		for _, o := range files[:i] {
			switch {
			case nqn == "" || o.hostNQN.value == "":
			case nqn == o.hostNQN.value:
				fail(f.hostNQN, f, "hostnqn %s is already the identity of %s", shown(nqn), o.hostNQN.where())
			case id != "" && strings.EqualFold(id, o.hostID.value):
				fail(f.hostID, f, "hostid %s already belongs to another hostnqn in %s; kernels from 6.5 refuse that", shown(id), o.hostID.where())
			}
		}
	}
	return errors.Join(errs...)
}

// fabricsSet is what all files of the 3.x grammar say, resolved.
type fabricsSet struct {
	controllers []Controller // in the order of the files
	top         *Scope       // for discovered controllers that no file's controller led to
	layers      map[tid.Kind][]layer
	persistent  Persistence // of discovery controllers, from the main file's defaults
}

// resolve applies the precedence, lowest to highest: defaults of the main file, of the
// drop-in (for itself), the [Host] of the same file, the endpoint's section, the controller line.
func resolve(files []*fabricsFile, r *report) *fabricsSet {
	main := files[0]
	set := &fabricsSet{layers: map[tid.Kind][]layer{
		tid.Discovery: {main.discovery, main.host},
		tid.IO:        {main.io, main.host},
	}}
	set.persistent = persistence(main.discovery)
	for i, f := range files {
		discovery, io := []layer{main.discovery}, []layer{main.io}
		if i > 0 {
			discovery, io = append(discovery, f.discovery), append(io, f.io)
		}
		discovery, io = append(discovery, f.host), append(io, f.host)
		scope := &Scope{File: f.path, Persistent: persistence(discovery...)}
		ok := f.identity(scope, r)
		ok = f.params(&scope.Discovery, dcBase, discovery, r) && ok
		ok = f.params(&scope.IO, tid.Params{}, io, r) && ok
		if i == 0 {
			set.top = scope
		}
		for _, ep := range f.endpoints {
			for _, p := range ep.paths {
				base, layers := tid.Params{}, io
				if ep.kind == tid.Discovery {
					base, layers = dcBase, discovery
				}
				c, good := f.connection(ep, p, scope, base, append(layers[:len(layers):len(layers)], ep.own, p.own), r)
				if !ok || !good {
					r.incomplete = true
					continue
				}
				set.controllers = append(set.controllers, c)
			}
		}
	}
	return set
}

// dcBase is the keep-alive time that discovery controllers get where no file says otherwise:
// one with an NQN of its own would get the 5 s of an I/O controller from the kernel.
var dcBase = tid.Params{KeepAliveTmo: tid.SetInt(30)}

// identity takes the file's persona. It is whole or absent: an NQN without an ID gets the UUID
// that it is made of, never the system's ID.
func (f *fabricsFile) identity(s *Scope, r *report) bool {
	nqn, id := f.hostNQN.value, f.hostID.value
	if name := f.hostSymName.value; name != "" {
		if err := nvme.CheckSymbolicName(name); err != nil {
			r.add(f.hostSymName, BadValue, shown(name), "%v; using none", err)
		} else {
			s.SymName = name
		}
	}
	switch {
	case nqn == "" && id == "":
		return true
	case nqn == "":
		r.add(f.hostID, LostController, "", "hostid without hostnqn is no identity; the controllers of this file are not connected")
		return false
	case id == "":
		uuid, ok := nvme.HostIDFromNQN(nqn)
		if !ok {
			r.add(f.hostNQN, LostController, "", "hostnqn without hostid, and it is not made of a UUID; the controllers of this file are not connected").Remedy =
				fmt.Sprintf("sed -i '%dahostid = %s' %s", f.hostNQN.line, nvme.HostIDFor(nqn), quote(f.hostNQN.file))
			return false
		}
		id = uuid.String()
	}
	s.Host = tid.Host{NQN: nqn, ID: id}
	return true
}

func persistence(layers ...layer) Persistence {
	result := PersistDefault
	for _, l := range layers {
		if e, ok := l[persistentKey]; ok {
			result, _ = parsePersistence(e.value) // an empty value is the default
		}
	}
	return result
}

// params resolves layers, lowest first. It is false where a secret or TLS setting is unusable:
// nothing may be connected less securely than it says.
func (f *fabricsFile) params(dst *tid.Params, base tid.Params, layers []layer, r *report) bool {
	*dst = base
	ok := true
	for _, l := range layers {
		l.choose(dst)
		for i := range params {
			p := &params[i]
			for _, key := range []string{p.key, p.other} {
				e, given := l[key]
				if !given || key == "" {
					continue
				}
				if err := p.override(dst, e.value); err != nil {
					value := "[redacted]"
					if p.secret == nil {
						value = shown(e.value)
					}
					lost := r.add(e, LostController, value, "%v; allowed %s; controllers that this counts for are not connected", err, p.allowed())
					if ep := f.endpointAt(e); ep != nil {
						lost.Remedy = commentOut(e.file, ep.at.line, ep.last) // and not without what was to secure them
					}
					ok = false
				} else if p.secret != nil && e.value != "" {
					warnReadable(e.file, r)
				}
			}
		}
	}
	return ok
}

// endpointAt gives the section of a discovery controller or a subsystem that e stands in.
func (f *fabricsFile) endpointAt(e entry) *endpoint {
	for _, ep := range f.endpoints {
		if e.file == f.path && ep.at.line < e.line && e.line <= ep.last {
			return ep
		}
	}
	return nil
}

// choose undoes what lower layers say of TLS where l means something else: a connection has one of TLS with a key of
// its own and secure concatenation. A key is for TLS, unless its own section says otherwise.
func (l layer) choose(dst *tid.Params) {
	says := func(key string) tid.Flag {
		v, err := parseCBool(l[key].value)
		if err != nil {
			return tid.Unset
		}
		return tid.SetFlag(v)
	}
	tls, concat := says("tls"), says("concat")
	switch keyed := l["tls-key"].value != "" || l["tls-key-identity"].value != ""; {
	case concat == tid.On && tls == tid.Unset:
		dst.TLS = tid.Unset
	case keyed && tls == tid.Unset, tls == tid.On:
		if dst.TLS == tid.Off {
			dst.TLS = tid.Unset
		}
		dst.Concat = tid.Unset
	}
}

// override sets value in the spelling of the 3.x grammar, or undoes what was set where it is empty.
func (p *param) override(dst *tid.Params, value string) error {
	switch {
	case p.integer != nil:
		*p.integer(dst) = tid.Int{}
		if value == "" {
			return nil
		}
		v, err := parseCInt(value)
		if err != nil {
			return err
		}
		*p.integer(dst) = tid.SetInt(v)
	case p.flag != nil:
		*p.flag(dst) = tid.Unset
		if value == "" {
			return nil
		}
		v, err := parseCBool(value)
		if err != nil {
			return err
		}
		*p.flag(dst) = tid.SetFlag(v)
	case value == "" && p.text != nil:
		*p.text(dst) = ""
	case value == "":
		*p.secret(dst) = tid.Secret{}
	default:
		return p.setText(dst, value)
	}
	return nil
}

func (f *fabricsFile) connection(ep *endpoint, p path, scope *Scope, base tid.Params, layers []layer, r *report) (Controller, bool) {
	c := Controller{Kind: ep.kind, Transport: nvme.Transport(strings.ToLower(p.transport)), Traddr: p.traddr, Trsvcid: p.trsvcid,
		NQN: ep.nqn, HostTraddr: p.hostTraddr, HostIface: p.hostIface, Scope: scope, Where: p.at.where(), at: p.at}
	ok := f.params(&c.Params, base, layers, r)
	ok = f.params(&c.Given, tid.Params{}, []layer{ep.own, p.own}, &report{}) && ok
	if c.Kind == tid.Discovery {
		c.Persistent = persistence(layers...)
	}
	if err := c.normalise(func(key, text string) {
		r.add(p.at, OddField, "", "%s", text).Remedy = dropField(p.at, p.fields[key])
	}); err != nil {
		r.add(p.at, LostController, "", "%v; the line is ignored", err)
		ok = false
	}
	return c, ok
}

// over applies the main file's defaults to p, which the 2.x file gave.
func (s *fabricsSet) over(kind tid.Kind, p tid.Params) tid.Params {
	for _, l := range s.layers[kind] {
		for i := range params {
			for _, key := range []string{params[i].key, params[i].other} {
				if e, ok := l[key]; ok && key != "" {
					_ = params[i].override(&p, e.value) // told when the scope was resolved
				}
			}
		}
	}
	return p
}
