package bus

import "github.com/godbus/dbus/v5"

// Dictionaries of objects, as slices: maps would cost many times the memory and lose
// the order. See [dictionaries] for why that is the same on the bus.
type (
	namedValue struct {
		Name  string
		Value dbus.Variant
	}
	propertyList []namedValue // a{sv}

	namedProperties struct {
		Interface  string
		Properties propertyList
	}
	interfaceList []namedProperties // a{sa{sv}}

	managedObject struct {
		Path       dbus.ObjectPath
		Interfaces interfaceList
	}
	managedObjects []managedObject // a{oa{sa{sv}}}
)

// bodySignature is the signature of a message with this body.
func bodySignature(body []any) dbus.Signature {
	sig := ""
	for _, v := range body {
		switch v.(type) {
		case dictionaries:
			sig += "aa{ss}"
		case propertyList:
			sig += "a{sv}"
		case interfaceList:
			sig += "a{sa{sv}}"
		case managedObjects:
			sig += "a{oa{sa{sv}}}"
		default:
			sig += dbus.SignatureOf(v).String()
		}
	}
	return dbus.ParseSignatureMust(sig)
}

// emit sends a signal whose body may have the types above. That the connection has
// ended is told by the connection.
func emit(conn *dbus.Conn, path dbus.ObjectPath, iface, member string, body ...any) {
	msg := &dbus.Message{
		Type: dbus.TypeSignal,
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath:      dbus.MakeVariant(path),
			dbus.FieldInterface: dbus.MakeVariant(iface),
			dbus.FieldMember:    dbus.MakeVariant(member),
		},
		Body: body,
	}
	if len(body) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(bodySignature(body))
	}
	conn.Send(msg, nil)
}

// size is about how many bytes p takes in a message.
func (p propertyList) size() int {
	n := stringOverhead
	for i := range p {
		n += len(p[i].Name) + 2*stringOverhead
		switch v := p[i].Value.Value().(type) {
		case string:
			n += len(v) + stringOverhead
		case []string:
			for _, s := range v {
				n += len(s) + stringOverhead
			}
		default:
			n += stringOverhead
		}
	}
	return n
}

// Paths of children end in the key of their controller, in which what a path cannot
// hold (D-Bus specification, "Valid Object Paths") is written as "_" and two digits.
func pathElement(key string) string {
	b := make([]byte, 0, len(key)+2)
	for i := range len(key) {
		c := key[i]
		if '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			b = append(b, c)
		} else {
			b = append(b, '_', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	if len(b) == 0 {
		return "_"
	}
	return string(b)
}

// keyOfElement is the inverse of pathElement. What no key leads to is a key that
// nobody has.
func keyOfElement(e string) string {
	digit := func(c byte) int {
		for i := range len(hexDigits) {
			if hexDigits[i] == c {
				return i
			}
		}
		return -1
	}
	if e == "_" {
		return ""
	}
	b := make([]byte, 0, len(e))
	for i := 0; i < len(e); i++ {
		if e[i] == '_' && i+2 < len(e) && digit(e[i+1]) >= 0 && digit(e[i+2]) >= 0 {
			b = append(b, byte(digit(e[i+1])<<4|digit(e[i+2])))
			i += 2
			continue
		}
		b = append(b, e[i])
	}
	return string(b)
}
