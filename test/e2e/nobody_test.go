//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
)

// asNobodyEnv has TestAsNobody do its work.
const asNobodyEnv = "STAS_AS_NOBODY"

// TestAsNobody is no test: run as nobody by TestSecrets it prints all that the daemons tell an unprivileged user on the bus.
func TestAsNobody(t *testing.T) {
	if os.Getenv(asNobodyEnv) == "" {
		t.Skip("part of TestSecrets")
	}
	if os.Getuid() != nobody {
		t.Fatalf("run as user %d", os.Getuid())
	}
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, name := range []string{"org.nvmexpress.staf", "org.nvmexpress.stac"} {
		v := visitor{conn: conn, name: name}
		v.learn(dbus.ObjectPath("/org/nvmexpress/" + filepath.Ext(name)[1:]))
		v.visit("/")
		fmt.Printf("visited %s: %d objects, %d calls\n", name, v.objects, v.calls)
	}
}

// visitor calls everything that a service offers.
type visitor struct {
	conn           *dbus.Conn
	name           string
	ids            []map[string]string // of the controllers
	keys           []string            // of the log pages
	objects, calls int
}

// learn asks for names that arguments can have.
func (v *visitor) learn(path dbus.ObjectPath) {
	o := v.conn.Object(v.name, path)
	_ = o.Call(v.name+".list_controllers", 0, false).Store(&v.ids)
	var pages [][]any
	_ = o.Call("org.nvmexpress.staf.pages1.ListPages", 0).Store(&pages)
	for _, p := range pages {
		if key, ok := p[0].(string); ok {
			v.keys = append(v.keys, key)
		}
	}
	v.ids = append(v.ids, map[string]string{})
}

func (v *visitor) visit(path dbus.ObjectPath) {
	o := v.conn.Object(v.name, path)
	node, err := introspect.Call(o)
	if err != nil {
		fmt.Println(path, "introspection:", err)
		return
	}
	v.objects++
	for _, i := range node.Interfaces {
		for _, p := range i.Properties {
			value, err := o.GetProperty(i.Name + "." + p.Name)
			fmt.Printf("%s %s.%s = %+v %v\n", path, i.Name, p.Name, value, err)
			fmt.Println("set:", o.SetProperty(i.Name+"."+p.Name, value))
			v.calls += 2
		}
		for _, m := range i.Methods {
			v.call(o, i.Name, m)
		}
	}
	for _, c := range node.Children {
		v.visit(dbus.ObjectPath(filepath.Join(string(path), c.Name)))
	}
}

// call calls a method for each controller, both truth values and each page, as far as its arguments depend on them.
func (v *visitor) call(o dbus.BusObject, iface string, m introspect.Method) {
	seen := map[string]bool{}
	for _, id := range v.ids {
		for _, flag := range []bool{false, true} {
			for _, key := range append(v.keys, "") {
				args := arguments(m, id, flag, key, iface)
				text := fmt.Sprint(args...)
				if seen[text] {
					continue
				}
				seen[text] = true
				c := o.Call(iface+"."+m.Name, 0, args...)
				v.calls++
				fmt.Printf("%s %s.%s(%v) = %+v, error %+v\n", o.Path(), iface, m.Name, args, c.Body, c.Err)
			}
		}
	}
}

func arguments(m introspect.Method, id map[string]string, flag bool, key, iface string) []any {
	var args []any
	for _, a := range m.Args {
		if a.Direction == "out" {
			continue
		}
		switch a.Type {
		case "s":
			text := key
			for _, name := range []string{"transport", "traddr", "trsvcid", "subsysnqn", "host-traddr", "host-iface", "host-nqn"} {
				if a.Name == dashless(name) {
					text = id[name]
				}
			}
			if m.Name == "GetAll" || m.Name == "Get" || m.Name == "Set" {
				text = iface
			}
			args = append(args, text)
		case "b":
			args = append(args, flag)
		case "u":
			args = append(args, uint32(0))
		case "t":
			args = append(args, uint64(0))
		case "i":
			args = append(args, int32(0))
		case "o":
			args = append(args, dbus.ObjectPath("/"))
		case "v":
			args = append(args, dbus.MakeVariant(flag))
		case "as":
			args = append(args, []string{key})
		case "a{sv}":
			args = append(args, map[string]dbus.Variant{})
		default:
			fmt.Printf("no argument of type %s for %s.%s\n", a.Type, iface, m.Name)
			return nil
		}
	}
	return args
}

// dashless is the name of an argument for a key of an ID.
func dashless(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c == '-' {
			b[i] = '_'
		}
	}
	return string(b)
}
