package bus

import (
	"context"
	"strings"
)

const (
	introspectable = "org.freedesktop.DBus.Introspectable"
	properties     = "org.freedesktop.DBus.Properties"
)

// standardInterfaces are those that each object has beside its own (D-Bus
// specification, "Standard Interfaces").
const standardInterfaces = `
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg direction="out" type="s" name="xml_data"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg direction="out" type="s" name="machine_uuid"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg direction="in" type="s" name="interface_name"/>
      <arg direction="in" type="s" name="property_name"/>
      <arg direction="out" type="v" name="value"/>
    </method>
    <method name="GetAll">
      <arg direction="in" type="s" name="interface_name"/>
      <arg direction="out" type="a{sv}" name="properties"/>
    </method>
    <method name="Set">
      <arg direction="in" type="s" name="interface_name"/>
      <arg direction="in" type="s" name="property_name"/>
      <arg direction="in" type="v" name="value"/>
    </method>
    <signal name="PropertiesChanged">
      <arg type="s" name="interface_name"/>
      <arg type="a{sv}" name="changed_properties"/>
      <arg type="as" name="invalidated_properties"/>
    </signal>
  </interface>
`

// withStandard adds the standard interfaces to the introspection XML of an object.
func withStandard(xml string) string {
	i := strings.LastIndex(xml, "</node>")
	return xml[:i] + standardInterfaces[1:] + xml[i:]
}

// introspection serves xml as the answer to Introspect.
func introspection(xml string) members {
	return members{"Introspect": {run: func(context.Context, *call) ([]any, error) {
		return []any{xml}, nil
	}}}
}
