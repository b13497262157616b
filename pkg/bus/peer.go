package bus

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/godbus/dbus/v5"
)

// The library answers org.freedesktop.DBus.Peer by itself, and gives the ID of the bus
// for that of the machine. So calls of it are renamed before it sees them.
const (
	peer     = "org.freedesktop.DBus.Peer"
	peerHere = "org.nvmexpress.Peer"
)

// peerToTree is a [dbus.Interceptor].
func peerToTree(msg *dbus.Message) {
	if msg.Type == dbus.TypeMethodCall && msg.Headers[dbus.FieldInterface].Value() == peer {
		msg.Headers[dbus.FieldInterface] = dbus.MakeVariant(peerHere)
	}
}

var peerMembers = members{
	"Ping": {run: func(context.Context, *call) ([]any, error) { return nil, nil }},
	"GetMachineId": {run: func(context.Context, *call) ([]any, error) {
		id, err := machineID("/etc/machine-id", "/var/lib/dbus/machine-id")
		return []any{id}, err
	}},
}

// machineID reads the first of files that there is (machine-id(5)).
func machineID(files ...string) (string, error) {
	var first error
	for _, file := range files {
		b, err := os.ReadFile(file)
		if b = bytes.TrimSpace(b); err == nil && len(b) == 32 {
			return clean(string(b)), nil
		}
		if err == nil {
			err = fmt.Errorf("%s holds no machine ID", file)
		}
		if first == nil {
			first = err
		}
	}
	return "", fmt.Errorf("cannot tell the machine ID: %w", first)
}
