package bus

import (
	"hash/maphash"
	"time"

	"github.com/godbus/dbus/v5"
)

// property is one D-Bus property of a T: how it is called and where it is. One table
// serves the daemon, which sends values, and the tools, which read them.
type property[T any] struct {
	name string
	sig  dbus.Signature
	get  func(*T) any
	set  func(*T, any) bool // false when the value is of another type
}

// kind is an interface whose properties describe a T.
type kind[T any] struct {
	iface      string
	key        func(*T) string
	properties []property[T]
}

var (
	signatureString  = dbus.ParseSignatureMust("s")
	signatureStrings = dbus.ParseSignatureMust("as")
	signatureBool    = dbus.ParseSignatureMust("b")
	signatureUint32  = dbus.ParseSignatureMust("u")
	signatureUint64  = dbus.ParseSignatureMust("t")
)

func plain[T, V any](name string, sig dbus.Signature, at func(*T) *V) property[T] {
	return property[T]{name, sig, func(o *T) any { return *at(o) }, func(o *T, v any) bool { return assign(at(o), v) }}
}

func assign[V any](to *V, v any) bool {
	value, ok := v.(V)
	if ok {
		*to = value
	}
	return ok
}

func textProperty[T any](name string, at func(*T) *string) property[T] {
	p := plain(name, signatureString, at)
	p.get = func(o *T) any { return clean(*at(o)) }
	return p
}

// textsProperty is a list of texts, which is never changed by either side.
func textsProperty[T any](name string, at func(*T) *[]string) property[T] {
	p := plain(name, signatureStrings, at)
	p.get = func(o *T) any {
		list := make([]string, len(*at(o)))
		for i, s := range *at(o) {
			list[i] = clean(s)
		}
		return list
	}
	return p
}

func flagProperty[T any](name string, at func(*T) *bool) property[T] {
	return plain(name, signatureBool, at)
}

func countProperty[T any](name string, at func(*T) *uint32) property[T] {
	return plain(name, signatureUint32, at)
}

func numberProperty[T any](name string, at func(*T) *uint64) property[T] {
	return plain(name, signatureUint64, at)
}

// timeProperty is a time as microseconds of CLOCK_REALTIME, 0 for none.
func timeProperty[T any](name string, at func(*T) *time.Time) property[T] {
	return property[T]{
		name, signatureUint64,
		func(o *T) any {
			if at(o).IsZero() {
				return uint64(0)
			}
			return uint64(max(0, at(o).UnixMicro()))
		},
		func(o *T, v any) bool {
			usec, ok := v.(uint64)
			*at(o) = time.Time{}
			if ok && usec != 0 {
				*at(o) = time.UnixMicro(int64(min(usec, 1<<62)))
			}
			return ok
		},
	}
}

// idProperties are the identity of a connection.
func idProperties[T any](at func(*T) *ID, hostID func(*T) *string) []property[T] {
	field := func(name string, of func(*ID) *string) property[T] {
		return textProperty(name, func(o *T) *string { return of(at(o)) })
	}
	return []property[T]{
		field("Transport", func(id *ID) *string { return &id.Transport }),
		field("Traddr", func(id *ID) *string { return &id.Traddr }),
		field("Trsvcid", func(id *ID) *string { return &id.Trsvcid }),
		field("SubsysNQN", func(id *ID) *string { return &id.SubsysNQN }),
		field("HostTraddr", func(id *ID) *string { return &id.HostTraddr }),
		field("HostIface", func(id *ID) *string { return &id.HostIface }),
		field("HostNQN", func(id *ID) *string { return &id.HostNQN }),
		textProperty("HostID", hostID),
	}
}

// propertyNamed finds one property.
func (k *kind[T]) propertyNamed(name string) (int, bool) {
	for i := range k.properties {
		if k.properties[i].name == name {
			return i, true
		}
	}
	return 0, false
}

func (k *kind[T]) value(o *T, i int) dbus.Variant {
	return dbus.MakeVariantWithSignature(k.properties[i].get(o), k.properties[i].sig)
}

// values gives all properties of o, in the order of the table.
func (k *kind[T]) values(o *T) propertyList {
	list := make(propertyList, len(k.properties))
	for i := range k.properties {
		list[i] = namedValue{k.properties[i].name, k.value(o, i)}
	}
	return list
}

// object gives all properties of o as a JSON object, with the values that D-Bus has.
func (k *kind[T]) object(o *T) Object {
	list := make(Object, len(k.properties))
	for i := range k.properties {
		list[i] = Member{k.properties[i].name, k.properties[i].get(o)}
	}
	return list
}

// fill sets those properties of o that are in values. Names that are not known are for
// later versions; a value of another type is no answer of such a daemon.
func (k *kind[T]) fill(o *T, values map[string]dbus.Variant) error {
	for name, v := range values {
		if i, ok := k.propertyNamed(name); ok && !k.properties[i].set(o, v.Value()) {
			return busError(errFailed, "property %s is a %T", name, v.Value())
		}
	}
	return nil
}

var digestSeed = maphash.MakeSeed()

// digests is all that is kept of what was sent of an object: 8 bytes a property, with
// which a change is told from none.
func (k *kind[T]) digests(o *T, into []uint64) []uint64 {
	into = into[:0]
	for i := range k.properties {
		into = append(into, digest(k.properties[i].get(o)))
	}
	return into
}

func digest(v any) uint64 {
	if list, ok := v.([]string); ok {
		var h maphash.Hash
		h.SetSeed(digestSeed)
		for _, s := range list {
			_, _ = h.WriteString(s)
			_ = h.WriteByte(0)
		}
		return h.Sum64()
	}
	return maphash.Comparable(digestSeed, v)
}
